// What is taken back, in reverse, when an installation fails: everything that can be, and what cannot is told.

import { readMessage } from "../../shared/text/read-message.ts";

/** The steps that were done. */
export class UndoList {
  readonly #steps: { what: string; undo: () => Promise<void> }[] = [];

  /** @param what is taken back, for people */
  add(what: string, undo: () => Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  /** Takes everything back, the newest first; answers what could not be. */
  async undo(): Promise<string[]> {
    const troubles: string[] = [];
    for (const { what, undo } of this.#steps.splice(0).toReversed())
      await undo().catch((error: unknown) => troubles.push(`${what}: ${readMessage(error)}`));
    return troubles;
  }
}
