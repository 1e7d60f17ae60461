// The takeovers that count, on disk: a node that starts knows them before it has heard anybody. Read by the gossip's shell at each
// start, written by it and by `orca recover`. A file that cannot be read is said and left alone; peers say again what stood in it.

import { readFileSync } from "node:fs";

import * as z from "zod";

import { signedTakeover, type SignedTakeover } from "../../shared/fleet/takeover.ts";
import { setDamagedAside } from "../host/newer-document.ts";
import { statePath } from "../host/state-layout.ts";
import { writeWhole } from "./node-identity.ts";
import { makeDirectory } from "../host/files/make-directory.ts";

const document = z.object({ version: z.literal(1), takeovers: z.array(signedTakeover) });

/** The file in a state directory. */
export class TakeoverFile {
  readonly #directory: string;
  #writing: Promise<void> = Promise.resolve();
  /** What could not be read or written, in words. */
  trouble: string | undefined;
  /** What lies there is none that this version can use. */
  #isDamaged = false;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Those that count; none where nothing was ever taken over. */
  read(): SignedTakeover[] {
    try {
      return document.parse(JSON.parse(readFileSync(this.#path, "utf8"))).takeovers;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      this.#isDamaged = code === undefined;
      if (code !== "ENOENT")
        this.trouble = `${this.#path} cannot be read (${code ?? "it is no list of takeovers"}): what peers say of takeovers counts`;
      return [];
    }
  }

  /** Writes them whole, one write after the other. A disk that takes nothing is told. */
  store(takeovers: readonly SignedTakeover[]): void {
    const text = `${JSON.stringify({ version: 1, takeovers })}\n`;
    const before = this.#writing;
    this.#writing = this.#write(text, before);
  }

  async #write(text: string, before: Promise<void>): Promise<void> {
    await before;
    try {
      await makeDirectory(this.#directory, 0o700);
      if (this.#isDamaged) setDamagedAside(this.#path);
      this.#isDamaged = false;
      await writeWhole(this.#path, text, 0o600);
      this.trouble = undefined;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      this.trouble = `takeovers were not saved (${reason}): after a restart, peers must say them again`;
    }
  }

  /** Resolves when everything that was to be written is. */
  get written(): Promise<void> {
    return this.#writing;
  }

  get #path(): string {
    return statePath(this.#directory, "takeovers");
  }
}
