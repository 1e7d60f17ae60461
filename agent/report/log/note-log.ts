// Logs the notes of a status: each when it comes, and not on every turn. Only report.ts has one.

import type { ReportLogger } from "./log-events.ts";
import { nameNote } from "../text/public-text.ts";

/** What was logged of one node. */
export class NoteLog {
  readonly #logger: ReportLogger;
  #logged: ReadonlySet<string> = new Set();

  constructor(logger: ReportLogger) {
    this.#logger = logger;
  }

  /** Logs those that are new; times in a note count down and make it no new one. */
  look(notes: readonly string[]): void {
    const keys = notes.map(nameNote);
    for (const [index, note] of notes.entries())
      if (!this.#logged.has(keys[index] ?? "")) this.#logger.warn({ note }, "note");
    this.#logged = new Set(keys);
  }
}
