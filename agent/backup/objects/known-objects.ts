// What a repository has of a bucket already: the objects of its newest complete listing, and those that a run which was killed had listed.
// Both are read beside the bucket's own listing, in one order, so that no more than one entry of each is in memory.

import { type BackupRecord, isComplete } from "../core/backup-record.ts";
import { isBackupName, RECORD_ENDING } from "../core/backup-name.ts";
import { Meter } from "../dump-gate.ts";
import type { Repository, StoreFolder } from "../repository/repository-port.ts";
import { compareKeys, type ListedObject, type ListingHead, readListing } from "./object-listing.ts";
import { type ObjectPool, readPoolTime } from "./object-pool.ts";
import { readByShard } from "./object-references.ts";

/** Which store in which repository, and what opens it. */
export interface KnownPlace {
  repository: Repository;
  pool: ObjectPool;
  folder: StoreFolder;
  /** The newest first. */
  records: readonly BackupRecord[];
  /** All that is published in its folder. */
  names: readonly string[];
}

/** What the run itself does. */
export interface KnownFor {
  recipients: readonly string[];
  identities: readonly string[];
  nowMs: number;
}

/** What a killed run had stored is removed a day later: what is a little younger is still there when this run has ended. */
const LEFT_MS = 16 * 3_600_000;
/** More than that, and the pool is not to be counted on: everything is copied anew. */
const MOST_MISSING = 100_000;
const LISTING = /^(objects_\d{8}_\d{4,6})\.(\d+)\.listing\.gz(?:\.age)?$/;

/** The engine whose records these are. */
export const OBJECTS = "objects";

/** The files of a listing, in the order of their keys. */
function listListing({ files }: Pick<BackupRecord, "files">): BackupRecord["files"] {
  return files.filter(({ kind }) => kind === "listing");
}

/** Finds what is known of each key; asked in the order of keys. */
export class KnownObjects {
  readonly #sources: SortedEntries[];
  readonly #missing: ReadonlySet<string>;

  constructor(sources: SortedEntries[], missing: ReadonlySet<string>) {
    this.#sources = sources;
    this.#missing = missing;
  }

  /** The stored object of this version of a key; undefined where it has to be copied. */
  async find(key: string, etag: string, bytes: number): Promise<ListedObject | undefined> {
    let found: ListedObject | undefined;
    for (const source of this.#sources) {
      const entry = await source.seek(key);
      if (entry !== undefined && entry.etag === etag && entry.bytes === bytes && !this.#missing.has(entry.file))
        found ??= entry;
    }
    return found;
  }

  /** Lets go of what is open. */
  async close(): Promise<void> {
    for (const source of this.#sources) await source.close();
  }
}

/** Opens what is known. What cannot be read is not known: it is copied again. */
export async function openKnown(place: KnownPlace, run: KnownFor): Promise<KnownObjects> {
  const record = await findOwnListing(place);
  const sources: SortedEntries[] = [];
  const missing = new Set(place.records.flatMap(({ damaged = [] }) => damaged));
  const identities = run.recipients.length > 0 ? run.identities : undefined;
  const isSame = ({ recipients }: Pick<ListingHead, "recipients">): boolean =>
    recipients.toSorted().join() === run.recipients.toSorted().join();
  if (record !== undefined && isSame(record) && (await addMissing(place, record, missing)))
    sources.push(new SortedEntries(readRecord(place, record, identities), () => true));
  // A run of another machine that is cut off may be going on.
  const left = place.repository.terms === undefined ? findLeft(place) : [];
  if (left.length > 0) {
    const isYoung = ({ file }: ListedObject): boolean => run.nowMs - readPoolTime(file) < LEFT_MS;
    const entries = readFiles(place, left, identities);
    sources.push(new SortedEntries(entries, ({ head, entry }) => isSame(head) && isYoung(entry)));
  }
  return new KnownObjects(sources, missing);
}

/** The newest complete one. Of another machine it is none: its retention may take away what that one names. */
async function findOwnListing({ repository, folder, records }: KnownPlace): Promise<BackupRecord | undefined> {
  const record = records.find((entry) => entry.engine === OBJECTS && isComplete(entry));
  if (record === undefined || repository.terms === undefined) return record;
  const place = await repository.terms.locate(folder, `${record.name}${RECORD_ENDING}`);
  return (await repository.terms.findEndMs(place)) === Number.POSITIVE_INFINITY ? record : undefined;
}

/** The entries of a whole listing; each file is what was written, or it throws. */
export async function* readRecord(
  { repository, folder }: Pick<KnownPlace, "repository" | "folder">,
  record: BackupRecord,
  identities: readonly string[] | undefined,
): AsyncIterable<{ head: ListingHead; entry: ListedObject }> {
  for (const { file, stored } of listListing(record)) {
    const meter = new Meter();
    const source = repository.read(folder, file);
    async function* watch(): AsyncIterable<Uint8Array> {
      for await (const piece of source) {
        meter.take(piece);
        yield piece;
      }
    }
    yield* readListing(watch(), identities);
    const found = meter.read();
    if (found.bytes !== stored.bytes || found.sha256 !== stored.sha256)
      throw new Error(`${file} is not what was written: its digest is another one`);
  }
}

async function* readFiles(
  { repository, folder }: KnownPlace,
  names: readonly string[],
  identities: readonly string[] | undefined,
): AsyncIterable<{ head: ListingHead; entry: ListedObject }> {
  for (const name of names) yield* readListing(repository.read(folder, name), identities);
}

/** The files of the newest run that has no record, in their order. */
function findLeft({ names }: KnownPlace): string[] {
  const recorded = new Set(names.filter((name) => name.endsWith(RECORD_ENDING)));
  const left = names.flatMap((name) => {
    const [, stem = "", number = ""] = LISTING.exec(name) ?? [];
    const isOwn = isBackupName(OBJECTS, stem) && !recorded.has(`${stem}${RECORD_ENDING}`);
    return isOwn ? [{ name, stem, number: Number(number) }] : [];
  });
  const newest = left
    .map(({ stem }) => stem)
    .toSorted()
    .at(-1);
  const own = left.filter(({ stem }) => stem === newest).toSorted((one, other) => one.number - other.number);
  return own.map(({ name }) => name);
}

/** Adds what the record names and the pool has not; answers false where its names cannot be trusted. */
async function addMissing(
  { repository, folder, pool }: KnownPlace,
  record: BackupRecord,
  missing: Set<string>,
): Promise<boolean> {
  try {
    for await (const { shard, references } of readByShard(repository, folder, record)) {
      const there = new Set(references.length === 0 ? [] : await pool.list(shard));
      for (const { file } of references) if (!there.has(file)) missing.add(file);
      if (missing.size > MOST_MISSING) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/** Entries in the order of their keys, of which those are skipped that nobody asks for. What does not read on has ended. */
export class SortedEntries {
  readonly #entries: AsyncIterator<{ head: ListingHead; entry: ListedObject }>;
  readonly #isMeant: (found: { head: ListingHead; entry: ListedObject }) => boolean;
  #at: ListedObject | undefined;
  #hasBegun = false;

  constructor(
    entries: AsyncIterable<{ head: ListingHead; entry: ListedObject }>,
    isMeant: (found: { head: ListingHead; entry: ListedObject }) => boolean,
  ) {
    this.#entries = entries[Symbol.asyncIterator]();
    this.#isMeant = isMeant;
  }

  /** The entry of a key, which is not before the one that was asked for last. */
  async seek(key: string): Promise<ListedObject | undefined> {
    if (!this.#hasBegun) await this.#read();
    this.#hasBegun = true;
    while (this.#at !== undefined && compareKeys(this.#at.key, key) < 0) await this.#read();
    return this.#at?.key === key ? this.#at : undefined;
  }

  async close(): Promise<void> {
    this.#at = undefined;
    await this.#entries.return?.();
  }

  async #read(): Promise<void> {
    const before = this.#at;
    for (;;) {
      const next = await this.#entries.next().catch(() => undefined);
      this.#at = next === undefined || next.done === true ? undefined : next.value.entry;
      if (next === undefined || next.done === true) return;
      // Out of order nothing of it could be found: it ends there.
      if (before !== undefined && compareKeys(before.key, next.value.entry.key) >= 0)
        return void (this.#at = undefined);
      if (this.#isMeant(next.value)) return;
    }
  }
}
