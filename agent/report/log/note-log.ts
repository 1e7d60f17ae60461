// Logs the notes of a status: each when it comes, and not on every turn. Only report.ts has one.

import type { Note } from "../../../shared/state/note.ts";
import type { ReportLogger } from "./log-events.ts";

/** What was logged of one node. */
export class NoteLog {
  readonly #logger: ReportLogger;
  #logged: ReadonlySet<string> = new Set();

  constructor(logger: ReportLogger) {
    this.#logger = logger;
  }

  /** Logs those that are new; times in a note count down and make it no new one. */
  look(notes: readonly Note[]): void {
    for (const { name, text } of notes) if (!this.#logged.has(name)) this.#logger.warn({ note: text }, "note");
    this.#logged = new Set(notes.map(({ name }) => name));
  }
}
