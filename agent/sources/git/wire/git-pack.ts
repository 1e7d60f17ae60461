// Takes the pack out of a server's answer while it comes in, and writes it to a file: packet lines, side bands, the
// checksum at the pack's end. What is not whole is told by name and never comes near a store. Used by the child.

import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

import { brokenAnswer, GitFailure } from "./git-failure.ts";
import { shorten } from "./git-packets.ts";

/** What a pack begins with: its magic, version 2, and the number of its objects. */
const HEADER_BYTES = 12;
const CHECKSUM_BYTES = 20;
const BAND = { pack: 1, progress: 2, error: 3 } as const;

/** A pack as received. */
export interface ReceivedPack {
  checksum: string;
  objects: number;
}

/** Receives one pack into a file. */
export class PackReceiver {
  readonly #file: FileHandle;
  readonly #hash = createHash("sha1");
  #rest: Buffer = Buffer.alloc(0);
  #header: Buffer = Buffer.alloc(0);
  /** The newest bytes, which are the checksum when nothing follows. */
  #tail: Buffer = Buffer.alloc(0);
  #ended = false;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string): Promise<PackReceiver> {
    return new PackReceiver(await open(path, "w", 0o600));
  }

  /** Takes a piece of the answer. */
  async push(piece: Buffer): Promise<void> {
    let data = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (data.length >= 4) {
      const head = data.toString("latin1", 0, 4);
      if (!/^[0-9a-fA-F]{4}$/.test(head)) throw brokenAnswer("no-packet-lines");
      const length = Number.parseInt(head, 16);
      this.#ended = length < 4;
      if (length >= 4 && data.length < length) break;
      if (length > 4) await this.#take(data.subarray(4, length));
      data = data.subarray(Math.max(4, length));
    }
    this.#rest = Buffer.from(data);
  }

  /** The answer is over. Throws where the pack is not whole. */
  async finish(): Promise<ReceivedPack> {
    await this.#file.close();
    if (this.#rest.length > 0 || !this.#ended) throw brokenAnswer("cut-pack");
    if (this.#tail.length === 0) throw brokenAnswer("no-pack");
    const checksum = this.#tail.toString("hex");
    if (this.#header.toString("latin1", 0, 4) !== "PACK" || this.#header.readUInt32BE(4) !== 2)
      throw brokenAnswer("not-a-pack");
    if (this.#hash.digest("hex") !== checksum) throw brokenAnswer("damaged-pack");
    return { checksum, objects: this.#header.readUInt32BE(8) };
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => undefined);
  }

  async #take(packet: Buffer): Promise<void> {
    switch (packet[0]) {
      case BAND.pack:
        return this.#write(packet.subarray(1));
      case BAND.progress:
        return undefined;
      case BAND.error:
        throw new GitFailure({ code: "server-said", message: shorten(packet.toString("utf8", 1)) });
      default: {
        const line = packet.toString("utf8");
        if (line.startsWith("ERR ")) throw new GitFailure({ code: "server-said", message: shorten(line.slice(4)) });
        return undefined;
      }
    }
  }

  async #write(content: Buffer): Promise<void> {
    if (this.#header.length < HEADER_BYTES)
      this.#header = Buffer.concat([this.#header, content.subarray(0, HEADER_BYTES - this.#header.length)]);
    const joined = Buffer.concat([this.#tail, content]);
    const end = Math.max(0, joined.length - CHECKSUM_BYTES);
    this.#hash.update(joined.subarray(0, end));
    this.#tail = joined.subarray(end);
    await this.#file.writeFile(content);
  }
}
