// Which stored objects a listing names: a packed text of their names, sizes and digests, in the order of names, without any key and never
// encrypted. Retention and copies read it without what opens the listing.

import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";

import { makeDirectory } from "../../host/files/make-directory.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { Meter } from "../dump-gate.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { ListingFault, POOL_NAME, unpackLines } from "./object-listing.ts";
import { shardOf, SHARDS } from "./object-pool.ts";

/** A stored object as it lies in the repository. */
export interface Reference {
  file: string;
  stored: { bytes: number; sha256: string };
}

/** So many wait in memory before they go to disk. */
const BUFFERED = 4_096;

/** Puts references in order: by their folders on disk, and within one in memory. */
export class ReferenceSorter {
  readonly #directory: string;
  #lines = new Map<string, string[]>();
  #buffered = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** @param spool this user's own directory, which is swept before each run */
  static async open(spool: string): Promise<ReferenceSorter> {
    await makeDirectory(spool, 0o700);
    return new ReferenceSorter(await mkdtemp(join(spool, "references-")));
  }

  async add({ file, stored }: Reference): Promise<void> {
    const shard = shardOf(file);
    const lines = this.#lines.get(shard) ?? [];
    this.#lines.set(shard, lines);
    lines.push(`${file} ${stored.bytes} ${stored.sha256}\n`);
    this.#buffered += 1;
    if (this.#buffered >= BUFFERED) await this.#flush();
  }

  /** The packed text; once, at the end. */
  async *pack(): AsyncIterable<Uint8Array> {
    await this.#flush();
    const gzip = Readable.from(this.#readSorted(), { objectMode: false }).compose(createGzip());
    for await (const piece of gzip) yield piece as Buffer;
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  async *#readSorted(): AsyncIterable<Buffer> {
    for (const shard of SHARDS) {
      const text = await readFile(join(this.#directory, shard), "latin1").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return "";
        throw error;
      });
      const lines = text.split("\n").filter((line) => line !== "");
      if (lines.length > 0) yield Buffer.from(`${[...new Set(lines)].toSorted().join("\n")}\n`);
    }
  }

  async #flush(): Promise<void> {
    for (const [shard, lines] of this.#lines) await appendFile(join(this.#directory, shard), lines.join(""));
    this.#lines = new Map();
    this.#buffered = 0;
  }
}

/** What a listing names, in the order of names. Throws where that is not what was written. */
export async function* readReferences(
  repository: Repository,
  folder: StoreFolder,
  record: Pick<BackupRecord, "name" | "files">,
): AsyncGenerator<Reference, void> {
  const named = record.files.find(({ kind }) => kind === "references");
  if (named === undefined) throw new ListingFault(`${record.name} has no references`);
  const meter = new Meter();
  const source = repository.read(folder, named.file);
  async function* watch(): AsyncIterable<Uint8Array> {
    for await (const piece of source) {
      meter.take(piece);
      yield piece;
    }
  }
  let before = "";
  for await (const line of unpackLines(watch())) {
    const [file = "", size = "", sha256 = ""] = line.split(" ");
    if (!POOL_NAME.test(file) || file <= before || !/^\d+$/.test(size))
      throw new ListingFault(`${named.file} is no list of references`);
    before = file;
    yield { file, stored: { bytes: Number(size), sha256 } };
  }
  const found = meter.read();
  if (found.bytes !== named.stored.bytes || found.sha256 !== named.stored.sha256)
    throw new ListingFault(`${named.file} is not what was written: its digest is another one`);
}

/** The same, one folder after the other, also those that it names nothing of. */
export async function* readByShard(
  repository: Repository,
  folder: StoreFolder,
  record: Pick<BackupRecord, "name" | "files">,
): AsyncGenerator<{ shard: string; references: Reference[] }, void> {
  const all = readReferences(repository, folder, record);
  try {
    let next = await all.next();
    for (const shard of SHARDS) {
      const references: Reference[] = [];
      for (; next.done !== true && next.value.file.startsWith(shard); next = await all.next())
        references.push(next.value);
      yield { shard, references };
    }
  } finally {
    await all.return();
  }
}
