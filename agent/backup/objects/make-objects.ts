// A backup of a bucket: every object that the first repository does not have is stored there once, and a listing says which stored object
// each key is. The record is written last, as for every backup: a run that was killed leaves none, and what it had listed the next run
// need not copy again.

import type { RepositoryRun } from "../../../shared/state/backup.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { nameBackup } from "../core/backup-name.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { judgeCount, judgeSize, sumPlain } from "../core/size-envelope.ts";
import { publishRecord } from "../copy-backup.ts";
import { type BackupOrder, buildRecord, listBackups, type MadeBackup, type RepositoryOpening } from "../pipeline.ts";
import { RepositoryError } from "../repository/repository-port.ts";
import { copyObjects } from "./copy-objects.ts";
import { copyBucket } from "./copy-bucket.ts";
import { type KnownPlace, openKnown } from "./known-objects.ts";
import { ListingWriter } from "./listing-writer.ts";
import type { ListingHead } from "./object-listing.ts";
import { ObjectPool } from "./object-pool.ts";
import type { ObjectSource } from "./object-source.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What it is made with. */
export interface ObjectParts {
  /** In the manifest's order: the first that can take it is copied into, the others get copies of what lies there then. */
  repositories: readonly RepositoryOpening[];
  source: ObjectSource;
  /** What opens this node's own backups: the last listing is read back. */
  identities: readonly string[];
  /** This user's own directory, which is swept before each run. */
  spool: string;
  minBytes: number | undefined;
  nowMs: () => number;
}

/** What the source has. */
interface Survey {
  objects: number;
  bytes: number;
}

/** Makes a backup and answers its record. Throws where there is none; what only another repository lacks is that one's outcome. */
export async function makeObjects(order: BackupOrder, parts: ObjectParts): Promise<MadeBackup> {
  const survey = await surveySource(parts);
  const refused: RepositoryRun[] = [];
  const ready: KnownPlace[] = [];
  for (const opening of parts.repositories) {
    const place = await openPlace(opening, order.folder);
    if ("reason" in place) refused.push(place);
    else ready.push(place);
  }
  const { first, record } = await copyIntoFirst({ ready, refused, survey }, order, parts);
  const outcomes = new Map(refused.map((outcome) => [outcome.repository, outcome]));
  outcomes.set(first.repository.name, { repository: first.repository.name });
  for (const place of ready) {
    const { name } = place.repository;
    if (outcomes.has(name)) continue;
    const reason = await copyObjects(first, place, record).then(() => undefined, readMessage);
    outcomes.set(name, reason === undefined ? { repository: name } : { repository: name, reason });
  }
  return { record, repositories: parts.repositories.flatMap(({ name }) => outcomes.get(name) ?? []) };
}

/** A bucket without objects is no backup: it may not be the one that was there. */
async function surveySource({ source, minBytes = 0 }: ObjectParts): Promise<Survey> {
  const found = { objects: 0, bytes: 0 };
  for await (const { bytes } of source.list()) {
    found.objects += 1;
    found.bytes += bytes;
  }
  if (found.objects === 0) throw new Error(`${source.name} lists no object`);
  if (found.bytes < minBytes)
    throw new Error(
      `${source.name} has ${describeSize(found.bytes)}, and a whole one has at least ${describeSize(minBytes)}`,
    );
  return found;
}

async function openPlace(
  opening: RepositoryOpening,
  folder: BackupOrder["folder"],
): Promise<KnownPlace | Required<RepositoryRun>> {
  try {
    const repository = await opening.open();
    const pool = new ObjectPool(repository, folder);
    await repository.sweep(folder);
    await pool.sweep();
    const names = await repository.list(folder);
    const { records } = await listBackups(repository, folder);
    return { repository, pool, folder, records, names };
  } catch (error) {
    return { repository: opening.name, reason: readMessage(error) };
  }
}

/** A repository that is full has room again for its next run. One that cannot delete, or not any more, keeps it until retention comes. */
async function removeUnlisted({ pool }: KnownPlace, files: readonly string[]): Promise<void> {
  try {
    for (const file of files) await pool.remove(file);
  } catch {
    // Why the run has failed is what a person is told.
  }
}

/** One that breaks or fills up while the bucket is copied there is said like one that refuses, and the next gets it. */
async function copyIntoFirst(
  { ready, refused, survey }: { ready: readonly KnownPlace[]; refused: RepositoryRun[]; survey: Survey },
  order: BackupOrder,
  parts: ObjectParts,
): Promise<{ first: KnownPlace; record: BackupRecord }> {
  for (;;) {
    const left = ready.filter(({ repository }) => !refused.some((entry) => entry.repository === repository.name));
    const first = await chooseFirst(left, refused, survey);
    try {
      return { first, record: await copyInto(first, ready, { order, parts }) };
    } catch (error) {
      if (!(error instanceof RepositoryError) || left.length === 1) throw error;
      refused.push({ repository: first.repository.name, reason: error.message });
    }
  }
}

/** The first that answers and has room for what has been added since its last backup. */
async function chooseFirst(
  ready: readonly KnownPlace[],
  refused: RepositoryRun[],
  survey: Survey,
): Promise<KnownPlace> {
  for (const place of ready) {
    const [last] = place.records;
    const needed = Math.max(0, survey.bytes - (last === undefined ? 0 : sumPlain(last)));
    const free = await place.repository.freeBytes();
    if (free === undefined || free >= needed) return place;
    const reason = `it has ${describeSize(free)} left, and ${describeSize(needed)} are to be copied`;
    refused.push({ repository: place.repository.name, reason });
  }
  const reasons = refused.map(({ repository, reason }) => `${repository}: ${reason}`);
  throw new Error(`no repository can take it: ${reasons.join("; ")}`);
}

async function copyInto(
  place: KnownPlace,
  ready: readonly KnownPlace[],
  { order, parts }: { order: BackupOrder; parts: ObjectParts },
): Promise<BackupRecord> {
  const { repository, folder, records } = place;
  const startedMs = parts.nowMs();
  const taken = ready.flatMap(({ names }) => names);
  const name = nameBackup(order.engine, startedMs, taken);
  const { recipients } = order;
  const { source, spool, identities } = parts;
  const { bucket, prefix } = source;
  const head: ListingHead = { orca: "objects", version: 1, bucket, prefix, recipients: [...recipients] };
  const writer = await ListingWriter.open({ repository, folder, name, head, spool, nowMs: parts.nowMs });
  const known = await openKnown(place, { recipients, identities, nowMs: startedMs });
  try {
    const copied = await copyBucket({ source, pool: place.pool, known, writer, recipients, nowMs: parts.nowMs });
    if (copied.objects === 0) throw new Error(`${source.name} has no object any more`);
    const files = await writer.finish(copied.facts, copied.warning);
    const made = buildRecord(order, { name, files, startedMs, endedMs: parts.nowMs() });
    const quarantined = judgeCount(copied.objects, records) ?? judgeSize(sumPlain(made), records);
    const record = quarantined === undefined ? made : { ...made, quarantined };
    // What was listed stays without its record: the next run goes on from there.
    await publishRecord(repository, record, []);
    return record;
  } catch (error) {
    await removeUnlisted(place, writer.unlisted);
    throw error;
  } finally {
    await known.close();
    await writer.close();
  }
}
