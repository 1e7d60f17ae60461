// The counter of this node's starts, on disk: it is raised before anything is signed, so that no life repeats another's numbers.
// Losing it costs a moment: peers say how far it had come, and the protocol goes above that.

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { writeWhole } from "./identity.ts";

/** The counter in a state directory. */
export class BootCounter {
  readonly #directory: string;
  /** Why it could not be written, in words. */
  trouble: string | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Raises the counter for this start; answers its value. */
  async raise(): Promise<number> {
    const text = await readFile(this.#path, "utf8").catch(() => "");
    const before = /^\d{1,15}\n$/.test(text) ? Number(text) : 0;
    await this.store(before + 1);
    return before + 1;
  }

  /** Writes a value. A disk that takes nothing is told; the next start is then put right by the peers. */
  async store(boot: number): Promise<void> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeWhole(this.#path, `${boot}\n`, 0o600);
      this.trouble = undefined;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      this.trouble = `the counter of starts was not saved (${reason}): peers put the next start right`;
    }
  }

  get #path(): string {
    return join(this.#directory, "gossip-boot");
  }
}
