// Proves a backup of a bucket from one repository: its listing reads to the end and names as many objects as were there, every stored
// object is there, and some of them are fetched, opened and compared. No server is needed for it, and nothing is written.

import { createHash } from "node:crypto";

import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { Meter } from "../dump-gate.ts";
import { type Repository, RepositoryError, type StoreFolder } from "../repository/repository-port.ts";
import type { Verdict } from "../verify/restore-box.ts";
import { readRecord } from "./known-objects.ts";
import type { ListedObject } from "./object-listing.ts";
import { ObjectPool } from "./object-pool.ts";
import { readByShard } from "./object-references.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What is proved, and with what. */
export interface ObjectProof {
  repository: Repository;
  folder: StoreFolder;
  record: BackupRecord;
  identities: readonly string[];
  /** No object is begun after this. */
  untilMs: number;
  nowMs: () => number;
}

/** A verdict, and the stored objects that are to be copied anew. */
export interface ObjectVerdict extends Verdict {
  damaged: string[];
}

/** So many objects are compared, and no more once these have so many bytes. */
const SAMPLES = 100;
const SAMPLE_BYTES = 2 ** 30;
const MOST_DAMAGED = 1_000;
const SUM_MODULUS = 2n ** 128n;

/** What does not hold. */
class Bad extends Error {}

/** Proves it. Never throws for what is the backup's fault or the machine's. */
export async function proveObjects(proof: ObjectProof): Promise<ObjectVerdict> {
  const damaged: string[] = [];
  try {
    const beganMs = proof.nowMs();
    const listed = await readWhole(proof);
    await comparePool(proof, listed, damaged);
    const compared = await compareSamples(proof, listed.samples, damaged);
    if (damaged.length > 0)
      throw new Bad(
        `${describeCount(damaged.length, "stored object")} ${damaged.length === 1 ? "is" : "are"} missing or damaged: ${damaged.slice(0, 3).join(", ")}`,
      );
    const took = ((proof.nowMs() - beganMs) / 1_000).toFixed(1);
    const what = `${describeCount(compared.objects, "object")} with ${describeSize(compared.bytes)}`;
    return {
      verdict: "good",
      detail: `listed ${describeCount(listed.objects, "object")} and compared ${what} in ${took} s`,
      damaged,
    };
  } catch (error) {
    const detail = readMessage(error);
    return { verdict: classifyFault(error), detail, damaged: damaged.slice(0, MOST_DAMAGED) };
  }
}

/** A repository that cannot be read, or a key that is another node's, says nothing of the backup. */
function classifyFault(error: unknown): "bad" | "unknown" {
  if (error instanceof Bad) return "bad";
  if (error instanceof RepositoryError) return "unknown";
  if (error instanceof Error && ("syscall" in error || /no identity matched/i.test(error.message))) return "unknown";
  return "bad";
}

interface Listed {
  objects: number;
  samples: ListedObject[];
  sum: bigint;
}

/** Each of them has its turn: which ones are looked at hangs on how often this backup was proved. */
async function readWhole({ repository, folder, record, identities }: ObjectProof): Promise<Listed> {
  const samples = new Samples(`${record.name} ${record.verifications.length}`);
  let [objects, bytes, sum] = [0, 0, 0n];
  const keys = record.recipients.length > 0 ? identities : undefined;
  for await (const { entry } of readRecord({ repository, folder }, record, keys)) {
    objects += 1;
    bytes += entry.bytes;
    sum = addUp(sum, entry.file, entry.stored);
    samples.offer(entry);
  }
  const facts = record.files.find(({ kind }) => kind === "references")?.facts;
  if (facts?.objects !== objects || facts.objectBytes !== bytes)
    throw new Bad(
      `its listing has ${describeCount(objects, "object")} with ${describeSize(bytes)}, and ${facts?.objects ?? 0} with ${describeSize(facts?.objectBytes ?? 0)} were there`,
    );
  return { objects, samples: samples.read(), sum };
}

/** In whatever order they come, what two lists name is the same or not. */
function addUp(sum: bigint, file: string, { bytes, sha256 }: { bytes: number; sha256: string }): bigint {
  const digest = createHash("sha256").update(`${file} ${bytes} ${sha256}`).digest("hex").slice(0, 32);
  return (sum + BigInt(`0x${digest}`)) % SUM_MODULUS;
}

async function comparePool(
  { repository, folder, record }: ObjectProof,
  listed: Listed,
  damaged: string[],
): Promise<void> {
  const pool = new ObjectPool(repository, folder);
  let sum = 0n;
  for await (const { shard, references } of readByShard(repository, folder, record)) {
    const there = new Set(references.length === 0 ? [] : await pool.list(shard));
    for (const { file, stored } of references) {
      sum = addUp(sum, file, stored);
      if (!there.has(file) && damaged.length < MOST_DAMAGED) damaged.push(file);
    }
  }
  if (sum !== listed.sum) throw new Bad("its references name other stored objects than its listing");
}

async function compareSamples(
  { repository, folder, identities, untilMs, nowMs }: ObjectProof,
  samples: readonly ListedObject[],
  damaged: string[],
): Promise<{ objects: number; bytes: number }> {
  const pool = new ObjectPool(repository, folder);
  const compared = { objects: 0, bytes: 0 };
  for (const entry of samples) {
    if (damaged.includes(entry.file)) continue;
    if (compared.bytes >= SAMPLE_BYTES || (compared.objects > 0 && nowMs() >= untilMs)) break;
    if (!(await isWhole(pool, entry, identities))) damaged.push(entry.file);
    compared.objects += 1;
    compared.bytes += entry.bytes;
  }
  return compared;
}

/** True where an object comes out as it was read. Throws where it cannot be fetched, or not opened by this node. */
async function isWhole(pool: ObjectPool, entry: ListedObject, identities: readonly string[]): Promise<boolean> {
  const [stored, plain] = [new Meter(), new Meter()];
  try {
    for await (const piece of pool.read(entry.file, identities, stored)) plain.take(piece);
  } catch (error) {
    if (classifyFault(error) === "unknown") throw error;
    return false;
  }
  const [lies, came] = [stored.read(), plain.read()];
  return (
    lies.bytes === entry.stored.bytes &&
    lies.sha256 === entry.stored.sha256 &&
    came.bytes === entry.bytes &&
    came.sha256 === entry.sha256
  );
}

/** Some of very many, chosen by a seed. */
class Samples {
  readonly #seed: string;
  #kept: { rank: string; entry: ListedObject }[] = [];

  constructor(seed: string) {
    this.#seed = seed;
  }

  offer(entry: ListedObject): void {
    const rank = createHash("sha256").update(`${this.#seed} ${entry.file}`).digest("hex");
    const last = this.#kept.at(-1);
    if (this.#kept.length >= SAMPLES && last !== undefined && rank >= last.rank) return;
    const at = this.#kept.findIndex((kept) => kept.rank > rank);
    this.#kept.splice(at === -1 ? this.#kept.length : at, 0, { rank, entry });
    this.#kept.length = Math.min(this.#kept.length, SAMPLES);
  }

  read(): ListedObject[] {
    return this.#kept.map(({ entry }) => entry);
  }
}
