// Goes through a bucket in the order of its keys: what the repository has is listed, what it has not is copied and listed. An object that
// goes away or changes while it is copied is what it was at one moment, or is said to be missing.

import { describeCount } from "../../../shared/text/count.ts";
import type { SourceFacts } from "../core/backup-record.ts";
import type { FoundObject } from "../repository/s3-answer.ts";
import type { KnownObjects } from "./known-objects.ts";
import type { ListingWriter } from "./listing-writer.ts";
import type { ListedObject } from "./object-listing.ts";
import type { ObjectPool } from "./object-pool.ts";
import { describeKey, ObjectMoved, type ObjectSource, PIECE_BYTES, type ReadObject } from "./object-source.ts";

/** What is copied from where to where. */
export interface Copying {
  source: ObjectSource;
  pool: ObjectPool;
  known: KnownObjects;
  writer: ListingWriter;
  recipients: readonly string[];
  nowMs: () => number;
}

/** What came of it. */
export interface Copied {
  objects: number;
  facts: SourceFacts;
  /** What is odd about it, for people. */
  warning: string | undefined;
}

/** What came of one object. */
type Outcome =
  | { kind: "kept"; entry: ListedObject }
  | { kind: "copied"; entry: ListedObject; odd: boolean }
  | { kind: "gone" | "restless"; key: string };

/** So many small objects are under way at once; a large one goes alone, in pieces. */
const AT_ONCE = 4;
/** An object that is written all the time is tried so often. */
const TRIES = 3;
/** So many keys are named to people. */
const NAMED = 3;

/** Copies what there is to copy. */
export async function copyBucket(copying: Copying): Promise<Copied> {
  const { source, known, writer } = copying;
  const tally = new Tally();
  const waiting: Promise<Outcome>[] = [];
  const settle = async (): Promise<void> => {
    const next = waiting.shift();
    if (next === undefined) return;
    const outcome = await next;
    tally.note(outcome);
    if ("entry" in outcome) await writer.add(outcome.entry);
  };
  try {
    for await (const found of source.list()) {
      const before = await known.find(found.key, found.etag, found.bytes);
      const isAlone = before === undefined && found.bytes > PIECE_BYTES;
      while (waiting.length >= (isAlone ? 1 : AT_ONCE)) await settle();
      const outcome = before === undefined ? copyOne(copying, found) : keepOne(copying, found, before);
      // It is looked at in its turn.
      outcome.catch(() => undefined);
      waiting.push(outcome);
      if (isAlone) while (waiting.length > 0) await settle();
    }
    while (waiting.length > 0) await settle();
  } finally {
    // Nothing is written any more once this has ended.
    await Promise.allSettled(waiting);
  }
  return tally.read();
}

/** What lies beside the bytes may be another by now. */
async function keepOne({ source }: Copying, found: FoundObject, before: ListedObject): Promise<Outcome> {
  if (found.modified === before.modified) return { kind: "kept", entry: before };
  const beside = await source.look(found.key, found.etag);
  return { kind: "kept", entry: { ...before, modified: found.modified, headers: beside?.headers ?? before.headers } };
}

async function copyOne(copying: Copying, found: FoundObject): Promise<Outcome> {
  for (let tries = 1; ; tries += 1) {
    try {
      const opened = await copying.source.open(found.key);
      if (opened === undefined) return { kind: "gone", key: found.key };
      return await storeOne(copying, found, opened);
    } catch (error) {
      if (!(error instanceof ObjectMoved)) throw error;
      if (tries === TRIES) return { kind: "restless", key: found.key };
    }
  }
}

async function storeOne(copying: Copying, found: FoundObject, opened: ReadObject): Promise<Outcome> {
  const { pool, recipients, nowMs, writer } = copying;
  const { file, plain, stored } = await pool.put(opened.content, { recipients, nowMs: nowMs() });
  writer.note(file);
  const { bytes, sha256, md5 } = plain;
  if (bytes !== opened.bytes) throw new ObjectMoved(`${describeKey(found.key)} is another one`);
  const isListed = opened.etag === found.etag;
  const entry: ListedObject = {
    key: found.key,
    etag: opened.etag,
    bytes,
    sha256,
    modified: isListed ? found.modified : opened.modified,
    headers: { ...opened.headers },
    file,
    stored,
  };
  return { kind: "copied", entry, odd: opened.etagIsDigest && md5 !== opened.etag };
}

/** Counts, and names a few. */
class Tally {
  #objects = 0;
  #bytes = 0;
  #copied = 0;
  #added = 0;
  readonly #gone = new Named();
  readonly #restless = new Named();
  readonly #odd = new Named();

  note(outcome: Outcome): void {
    if (!("entry" in outcome)) {
      (outcome.kind === "gone" ? this.#gone : this.#restless).add(outcome.key);
      return;
    }
    const { entry } = outcome;
    this.#objects += 1;
    this.#bytes += entry.bytes;
    if (outcome.kind === "kept") return;
    this.#copied += 1;
    this.#added += entry.stored.bytes;
    if (outcome.odd) this.#odd.add(entry.key);
  }

  read(): Copied {
    const said = [
      this.#gone.describe("deleted while it was copied, and not in it"),
      this.#restless.describe("written again and again while it was copied, and not in it"),
      this.#odd.describe("other bytes than the ETag says, and in it as it was read"),
    ].flatMap((words) => words ?? []);
    return {
      objects: this.#objects,
      facts: { objects: this.#objects, objectBytes: this.#bytes, copied: this.#copied, addedBytes: this.#added },
      warning: said.length === 0 ? undefined : said.join("; "),
    };
  }
}

/** Some keys of many. */
class Named {
  readonly #keys: string[] = [];
  #count = 0;

  add(key: string): void {
    this.#count += 1;
    if (this.#keys.length < NAMED) this.#keys.push(describeKey(key));
  }

  describe(what: string): string | undefined {
    if (this.#count === 0) return undefined;
    const more = this.#count > this.#keys.length ? ` and ${this.#count - this.#keys.length} more` : "";
    return `${describeCount(this.#count, "object")}: ${what} (${this.#keys.join(", ")}${more})`;
  }
}
