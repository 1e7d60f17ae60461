// Where the objects lie that listings name: each by itself, in one of 256 folders, under a name that says nothing of its key. Written once,
// never changed; removed only by retain-objects.ts.

import { createHash, randomBytes } from "node:crypto";

import { readBack } from "../copy-backup.ts";
import { Meter } from "../dump-gate.ts";
import { decryptStream, encryptStream } from "../encrypt.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { POOL_NAME } from "./object-listing.ts";

/** What went into a stored object, and what lies there. */
export interface PutObject {
  file: string;
  plain: { bytes: number; sha256: string; md5: string };
  stored: { bytes: number; sha256: string };
}

const RANDOM_BYTES = 12;
/** As much as eight letters hold: the year 2106. */
const LAST_SECOND = 0xffff_ffff;
const SHARD_LETTERS = 2;
const AGE_ENDING = ".age";

/** The folders, in their order. */
export const SHARDS: readonly string[] = Array.from({ length: 256 }, (_, at) =>
  at.toString(16).padStart(SHARD_LETTERS, "0"),
);

/** The folder of a stored object. */
export function shardOf(file: string): string {
  return file.slice(0, SHARD_LETTERS);
}

/** When a stored object was written, in milliseconds, to the second. */
export function readPoolTime(file: string): number {
  return Number.parseInt(file.slice(RANDOM_BYTES * 2, 32), 16) * 1_000;
}

function nameObject(nowMs: number, isEncrypted: boolean): string {
  // A clock that is a century ahead must not make a name that nobody takes for one.
  const seconds = Math.min(LAST_SECOND, Math.max(0, Math.floor(nowMs / 1_000)))
    .toString(16)
    .padStart(8, "0");
  return `${randomBytes(RANDOM_BYTES).toString("hex")}${seconds}${isEncrypted ? AGE_ENDING : ""}`;
}

/** The stored objects of one store in one repository. */
export class ObjectPool {
  readonly repository: Repository;
  readonly #folder: StoreFolder;

  constructor(repository: Repository, { node, service, store }: StoreFolder) {
    this.repository = repository;
    this.#folder = { node, service, store };
  }

  /** Takes away what a run that was killed has left half written. */
  sweep(): Promise<void> {
    return this.repository.sweep({ ...this.#folder, shard: "" });
  }

  /** The names in one folder. */
  async list(shard: string): Promise<string[]> {
    const names = await this.repository.list({ ...this.#folder, shard });
    return names.filter((name) => POOL_NAME.test(name) && shardOf(name) === shard);
  }

  /** Stores an object, and reads it back. Throws, and leaves nothing then. */
  async put(
    content: AsyncIterable<Uint8Array>,
    { recipients, nowMs }: { recipients: readonly string[]; nowMs: number },
  ): Promise<PutObject> {
    const file = nameObject(nowMs, recipients.length > 0);
    const plain = new Meter();
    const md5 = createHash("md5");
    async function* watch(): AsyncIterable<Uint8Array> {
      for await (const piece of content) {
        plain.take(piece);
        md5.update(piece);
        yield piece;
      }
    }
    const stored = await this.#write(file, encryptStream(watch(), recipients).pieces());
    return { file, plain: { ...plain.read(), md5: md5.digest("hex") }, stored };
  }

  /** Takes a stored object over from another repository as it lies there. Throws where that is not what was written once. */
  async take(from: ObjectPool, file: string, stored: PutObject["stored"]): Promise<void> {
    await this.#write(file, from.readStored(file), stored);
  }

  readStored(file: string): AsyncIterable<Uint8Array> {
    return this.repository.read({ ...this.#folder, shard: shardOf(file) }, file);
  }

  /** What was copied once; measures what lies there on the way. */
  read(file: string, identities: readonly string[], stored: Meter): AsyncIterable<Uint8Array> {
    const source = this.readStored(file);
    async function* watch(): AsyncIterable<Uint8Array> {
      for await (const piece of source) {
        stored.take(piece);
        yield piece;
      }
    }
    return file.endsWith(AGE_ENDING) ? decryptStream(watch(), identities) : watch();
  }

  remove(file: string): Promise<void> {
    return this.repository.remove({ ...this.#folder, shard: shardOf(file) }, file);
  }

  async #write(
    file: string,
    content: AsyncIterable<Uint8Array>,
    expected?: PutObject["stored"],
  ): Promise<PutObject["stored"]> {
    const folder = { ...this.#folder, shard: shardOf(file) };
    const pending = await this.repository.create(folder, file);
    try {
      const meter = new Meter();
      for await (const piece of content) {
        meter.take(piece);
        await pending.write(piece);
      }
      const stored = meter.read();
      if (expected !== undefined && (stored.bytes !== expected.bytes || stored.sha256 !== expected.sha256))
        throw new Error(`the stored object ${file} is not what was written once`);
      await pending.publish();
      await readBack({ repository: this.repository, folder, file: { file, stored } });
      return stored;
    } catch (error) {
      await pending.abandon().catch(() => undefined);
      throw error;
    }
  }
}
