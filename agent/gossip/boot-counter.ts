// The counter of this node's starts, on disk: it is raised before anything is signed, so that no life repeats another's numbers.
// Losing it costs a moment: peers say how far it had come, and the protocol goes above that.

import { readFile } from "node:fs/promises";

import { makeDirectory } from "../host/files/make-directory.ts";
import { statePath } from "../host/state-layout.ts";
import { writeWhole } from "./node-identity.ts";

/** The counter in a state directory. */
export class BootCounter {
  readonly #directory: string;
  readonly #nowMs: () => number;
  /** Why it could not be written, in words. */
  trouble: string | undefined;

  /** @param nowMs the wall clock, asked only where the file cannot be read */
  constructor(directory: string, nowMs: () => number) {
    this.#directory = directory;
    this.#nowMs = nowMs;
  }

  /** Raises the counter for this start; answers its value. */
  async raise(): Promise<number> {
    const before = await this.#read();
    await this.store(before + 1);
    return before + 1;
  }

  /** Writes a value. A disk that takes nothing is told; the next start is then put right by the peers. */
  async store(boot: number): Promise<void> {
    try {
      await makeDirectory(this.#directory, 0o700);
      await writeWhole(this.#path, `${boot}\n`, 0o600);
      this.trouble = undefined;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      this.trouble = `the counter of starts was not saved (${reason}): peers put the next start right`;
    }
  }

  /**
   * How far it had come. What a later version may have written behind the number is passed over. A file that holds no number
   * must not begin at one again: the seconds since 1970 lie above anything that starts have counted.
   */
  async #read(): Promise<number> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ENOENT" ? 0 : this.#floor;
    }
    const [number] = /^\d{1,15}(?=\s)/.exec(text) ?? [];
    return number === undefined ? this.#floor : Number(number);
  }

  get #floor(): number {
    return Math.floor(this.#nowMs() / 1_000);
  }

  get #path(): string {
    return statePath(this.#directory, "gossipBoot");
  }
}
