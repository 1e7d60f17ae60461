// The log that a base is replayed with: fetched from its repository into a directory of this host, whole segments as a server reads them.
// What is open ends in zeros, where recovery ends too. Runs in the child; called by restore-base.ts.

import { chmod, mkdtemp, open, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";

import { findForeign } from "./replay-end.ts";

import { describeSize } from "../../../shared/text/size.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { makeDirectory } from "../../host/files/make-directory.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { type Repository, RepositoryError, type StoreFolder } from "../repository/repository-port.ts";
import {
  cutObjects,
  findMissing,
  followBase,
  nameLogArea,
  readBaseRange,
  type BaseRange,
} from "../wal/core/choose-base.ts";
import { findLost } from "../wal/core/wal-index.ts";
import { listWalObjects, type WalGap, type WalObject } from "../wal/core/wal-object.ts";
import { formatPosition, nameSegment, startOfSegment } from "../wal/core/wal-position.ts";
import { readIndex } from "../wal/log-index.ts";
import { readObject } from "../repository/stored-object.ts";

/** What is fetched, from where and for when. */
export interface LogRequest {
  repository: Repository;
  /** The store's own. */
  folder: StoreFolder;
  base: BackupRecord;
  atMs: number;
  spool: string;
  identities: readonly string[];
  /** Anything that is missing before the newest of it is a fault. */
  wholly?: boolean;
  /** All that is stored, and not only what was shipped until a little after the moment. */
  all?: boolean;
}

/** A log that lies ready. */
export interface FetchedLog {
  directory: string;
  /** What is there ends before this position. */
  end: bigint;
  /** When the last of it was shipped: everything that is there was written before. */
  shippedMs: number;
  timeline: number;
  segmentBytes: number;
  /** There is more of it in the repository. */
  isCut: boolean;
  remove(): Promise<void>;
}

const PRIVATE_DIRECTORY = 0o700;
/** The server reads them as another user. Nobody else of this host comes there: the directory above is closed. */
const SERVER_DIRECTORY = 0o755;
const SERVER_FILE = 0o644;
const SPARE_BYTES = 256 * 2 ** 20;
const HISTORY = /^[0-9A-F]{8}\.history(?:\.age)?$/;
/** No server has been restored so often. */
const MOST_TIMELINES = 1_000;

/** What lies in the repository is not what was stored: no fault of this host. */
export class LogDamage extends Error {
  /** Up to here the log is whole. */
  readonly reach: string;

  constructor(message: string, reach: string) {
    super(message);
    this.name = "LogDamage";
    this.reach = reach;
  }
}

/** Fetches it. Throws where there is no room; a `LogDamage` where it is not whole or not what was stored. */
export async function fetchLog(request: LogRequest): Promise<FetchedLog> {
  const { folder, base, atMs, spool } = request;
  const range = readBaseRange(base);
  if (range === undefined) throw new Error(`${base.name} does not say what it needs of the log`);
  const area = { ...folder, area: nameLogArea(range) };
  const names = await request.repository.list(area);
  const followed = followBase(base, listWalObjects(names, range.segmentBytes));
  const reach = formatPosition(followed?.end ?? range.start);
  const digests =
    request.wholly === true ? await expectWhole(request, { area, names, range, reach }) : new Map<string, string>();
  if (followed?.isComplete !== true)
    throw new LogDamage(`the log of ${base.name} is not whole: it ends at ${reach}`, reach);
  const needed = request.all === true ? followed.objects : cutObjects(followed.objects, { atMs, stop: range.stop });
  await makeDirectory(spool, PRIVATE_DIRECTORY);
  await expectRoom(spool, needed, range);
  const directory = await mkdtemp(join(spool, "log-"));
  await chmod(directory, SERVER_DIRECTORY);
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    for (const entry of needed) await fetchOne(request, { entry, range, directory, digests });
    await fetchHistories(request, { names, range, directory });
    const last = needed.at(-1);
    const end = last?.to ?? range.stop;
    const isCut = needed.length < followed.objects.length;
    const { timeline, segmentBytes } = range;
    return { directory, end, shippedMs: last?.shippedMs ?? 0, timeline, segmentBytes, isCut, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * Throws a `LogDamage` where something is missing before the newest, or that the index names; answers what the index says of the rest. What
 * is stored while a list is made may be in it without what was stored just before, and retention goes on: only what is missing twice is.
 */
async function expectWhole(
  request: LogRequest,
  { area, names, range, reach }: { area: StoreFolder; names: readonly string[]; range: BaseRange; reach: string },
): Promise<ReadonlyMap<string, string>> {
  const { base, repository, identities } = request;
  const { segmentBytes } = range;
  const entries = (await readIndex({ repository, folder: area }, names, identities)) ?? [];
  const now = listWalObjects(await repository.list(area), segmentBytes);
  const gap = findMissing(base, listWalObjects(names, segmentBytes));
  const still =
    gap &&
    findMissing(
      base,
      now.filter(({ from }) => from <= gap.to),
    );
  if (still !== undefined) throw new LogDamage(describeMissing(still, range), reach);
  const lost = findLost(entries, now, { segmentBytes, sinceMs: base.startedMs });
  if (lost !== undefined) throw new LogDamage(`${describeMissing(lost, range)}, and the index has ${lost.name}`, reach);
  return new Map(entries.map(({ name, sha256 }) => [name, sha256] as const));
}

function describeMissing({ from, to }: WalGap, { timeline, segmentBytes }: BaseRange): string {
  const [first, last] = [from, to - 1n].map((at) => nameSegment(timeline, at, segmentBytes));
  const segments = first === last ? `the segment ${first}` : `the segments ${first} to ${last}`;
  return `${segments} of the log cannot be replayed: from ${formatPosition(from)} to ${formatPosition(to)} nothing is there`;
}

async function expectRoom(spool: string, objects: readonly WalObject[], { segmentBytes }: BaseRange): Promise<void> {
  const needed = new Set(objects.map(({ segment }) => segment)).size * segmentBytes + SPARE_BYTES;
  const { bavail, bsize } = await statfs(spool);
  if (bavail * bsize >= needed) return;
  throw new Error(
    `there is no room for the log: it needs ${describeSize(needed)}, and ${spool} has ${describeSize(bavail * bsize)} left`,
  );
}

interface Fetching {
  range: BaseRange;
  directory: string;
}

async function fetchOne(
  request: LogRequest,
  { entry, range, directory, digests }: Fetching & { entry: WalObject; digests: ReadonlyMap<string, string> },
): Promise<void> {
  const { segmentBytes } = range;
  const { content, sha256 } = await readOpened(request, nameLogArea(range), entry);
  const bytes = unpack(content, entry, segmentBytes);
  if (sha256 !== (digests.get(entry.name) ?? sha256))
    throw new LogDamage(
      `${entry.name} is not what its index says: its digest is another one`,
      formatPosition(entry.from),
    );
  if (BigInt(bytes.length) !== entry.to - entry.from)
    throw new LogDamage(`${entry.name} does not hold what its name says`, formatPosition(entry.from));
  const foreign = findForeign(bytes, entry, range);
  if (foreign !== undefined)
    throw new LogDamage(
      `${entry.name} does not hold what its name says, but ${foreign}: put the right file back, or name a moment before ${new Date(entry.shippedMs).toISOString()} that an earlier base serves`,
      formatPosition(entry.from),
    );
  const file = await open(join(directory, entry.segment), "a+", SERVER_FILE).then(async (made) => {
    await made.close();
    return open(join(directory, entry.segment), "r+");
  });
  try {
    await file.truncate(segmentBytes);
    const offset = Number(entry.from - startOfSegment(entry.from, segmentBytes));
    for (let at = 0; at < bytes.length;)
      at += (await file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
  } finally {
    await file.close();
  }
}

function unpack(packed: Buffer, { name, from }: WalObject, segmentBytes: number): Buffer {
  try {
    return zstdDecompressSync(packed, { maxOutputLength: segmentBytes });
  } catch (error) {
    throw new LogDamage(`${name} is not what was written: ${readMessage(error)}`, formatPosition(from));
  }
}

async function readOpened(
  { repository, folder, identities }: LogRequest,
  area: string,
  { name, encrypted, from }: Pick<WalObject, "name" | "encrypted"> & Partial<WalObject>,
): Promise<{ content: Buffer; sha256: string }> {
  try {
    const { content, stored } = await readObject({ repository, folder: { ...folder, area }, name }, identities);
    return { content, sha256: stored.sha256 };
  } catch (error) {
    const words = `${name} does not open: ${readMessage(error)}`;
    // Of another node's key nobody can say what lies there.
    const isFault = !(error instanceof RepositoryError) && !/no identity matched/i.test(words) && from !== undefined;
    if (isFault && encrypted) throw new LogDamage(words, formatPosition(from));
    throw new Error(words, { cause: error });
  }
}

/** Of every timeline that there was: the server takes a number that none of them has. */
async function fetchHistories(
  request: LogRequest,
  { names, range, directory }: Fetching & { names: readonly string[] },
): Promise<void> {
  let there = names;
  for (let timeline = range.timeline; timeline < range.timeline + MOST_TIMELINES && there.length > 0; timeline += 1) {
    const area = nameLogArea({ ...range, timeline });
    if (timeline !== range.timeline) there = await request.repository.list({ ...request.folder, area });
    for (const name of there.filter((entry) => HISTORY.test(entry))) {
      const encrypted = name.endsWith(".age");
      const { content } = await readOpened(request, area, { name, encrypted });
      await writeFile(join(directory, name.replace(/\.age$/, "")), content, { mode: SERVER_FILE });
    }
  }
}
