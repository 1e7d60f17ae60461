// One backup, from a running dump to a record in a repository: dump → gate → encrypt → write → publish → read back → record, one stream
// with bounded memory and no shell. The first error is terminal. The record is written last, and is what makes it a backup: whatever
// is killed before that leaves nothing that anybody takes for one.

import { type BackupFile, type BackupRecord, leaveAllRows, parseRecord } from "./core/backup-record.ts";
import { isBackupName, nameBackup, nameFile, RECORD_ENDING } from "./core/backup-name.ts";
import type { DumpPart, RunningDump } from "./dump-port.ts";
import { writeBatches } from "./batches.ts";
import { encryptStream, type StoredStream } from "./encrypt.ts";
import { Altered, type MeasuredFile } from "./seal-stream.ts";
import { DumpDeadline } from "./dump-deadline.ts";
import { Gate } from "./dump-gate.ts";
import { joinFolder } from "./repository/backup-path.ts";
import { type Repository, RepositoryError, type StoreFolder } from "./repository/repository-port.ts";
import type { RepositoryRun } from "../../shared/state/backup.ts";
import { describeSize } from "../../shared/text/size.ts";
import { copyBackup, publishRecord, removeAll } from "./copy-backup.ts";
import { judgeSize, sumPlain, sumStored } from "./core/size-envelope.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What is to be made. */
export interface BackupOrder {
  folder: StoreFolder;
  engine: string;
  trigger: BackupRecord["trigger"];
  image: string;
  recipients: readonly string[];
  keepUntilMs: number | undefined;
  /** The node's public backup key; left out where it has none. */
  maker?: string | undefined;
  /** The stock commands that restore these files. */
  describeRestore(files: readonly BackupFile[], encrypted: boolean): string[];
}

/** What it is made with. */
export interface PipelineParts {
  /** In the manifest's order: the first that can take it gets the dump, the others get copies of what lies there then. */
  repositories: readonly RepositoryOpening[];
  nowMs(): number;
  /** Looks at the source and says what there is to dump; nothing has begun then. */
  listParts(): Promise<DumpPart[]>;
  /** So long after it was begun its programs are ended; left out, never. */
  deadlineMs?: number | undefined;
}

/** A repository that is opened by the run: one that cannot be is that one's outcome. */
export interface RepositoryOpening {
  name: string;
  open(): Promise<Repository>;
}

/** What was made, and who has it. */
export interface MadeBackup {
  record: BackupRecord;
  repositories: RepositoryRun[];
}

/** No backup came of it, and nothing of it is left. */
class BackupFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "BackupFailure";
  }
}

/** So much room there must be in the first repository: a dump grows, and the one before stays. */
const ROOM_FACTOR = 2;

/** Makes a backup and answers its record. Throws a `BackupFailure`; one that a repository alone causes is that one's outcome. */
export async function makeBackup(order: BackupOrder, parts: PipelineParts): Promise<MadeBackup> {
  try {
    const ready: Ready[] = [];
    const refused: RepositoryRun[] = [];
    for (const opening of parts.repositories) {
      const outcome = await prepare(opening, order.folder);
      if ("reason" in outcome) refused.push(outcome);
      else ready.push(outcome);
    }
    const { first, record } = await dumpIntoFirst({ ready, refused }, order, parts);
    const copies: RepositoryRun[] = [{ repository: first.repository.name }];
    for (const { repository } of ready) {
      const isDone = repository === first.repository || refused.some((entry) => entry.repository === repository.name);
      if (isDone) continue;
      copies.push(await copyInto(repository, first.repository, record));
    }
    const outcomes = new Map([...refused, ...copies].map((outcome) => [outcome.repository, outcome]));
    return { record, repositories: parts.repositories.flatMap(({ name }) => outcomes.get(name) ?? []) };
  } catch (error) {
    if (error instanceof BackupFailure) throw error;
    throw new BackupFailure(readMessage(error), { cause: error });
  }
}

/** A repository that answers, and what it has. */
interface Ready {
  repository: Repository;
  names: readonly string[];
}

async function prepare(opening: RepositoryOpening, folder: StoreFolder): Promise<Ready | Required<RepositoryRun>> {
  try {
    const repository = await opening.open();
    await repository.sweep(folder);
    return { repository, names: await repository.list(folder) };
  } catch (error) {
    return { repository: opening.name, reason: readMessage(error) };
  }
}

/** One that breaks or fills up while the dump goes there is said like one that refuses, and the next gets a dump of its own. */
async function dumpIntoFirst(
  { ready, refused }: { ready: readonly Ready[]; refused: RepositoryRun[] },
  order: BackupOrder,
  parts: PipelineParts,
): Promise<{ first: First; record: BackupRecord }> {
  const taken = ready.flatMap(({ names }) => names);
  for (;;) {
    const isLeft = ({ repository }: Ready): boolean => !refused.some((entry) => entry.repository === repository.name);
    const first = await chooseFirst(ready.filter(isLeft), refused, order.folder);
    try {
      return { first, record: await dumpInto(first, order, { ...parts, taken }) };
    } catch (error) {
      if (!(error instanceof RepositoryError) || ready.filter(isLeft).length === 1) throw error;
      refused.push({ repository: first.repository.name, reason: error.message });
    }
  }
}

interface First extends Ready {
  /** The newest first. */
  before: readonly BackupRecord[];
}

/** The first that answers and has room; each that has none is said so. */
async function chooseFirst(ready: readonly Ready[], refused: RepositoryRun[], folder: StoreFolder): Promise<First> {
  for (const candidate of ready) {
    const { repository } = candidate;
    const { records } = await listBackups(repository, folder);
    const [last] = records;
    const needed = last === undefined ? 0 : sumStored(last) * ROOM_FACTOR;
    const free = await repository.freeBytes();
    if (free === undefined || free >= needed) return { ...candidate, before: records };
    const reason = `it has ${describeSize(free)} left, and twice the last backup is ${describeSize(needed)}`;
    refused.push({ repository: repository.name, reason });
  }
  const reasons = refused.map(({ repository, reason }) => `${repository}: ${reason}`);
  throw new BackupFailure(`no repository can take it: ${reasons.join("; ")}`);
}

async function copyInto(to: Repository, from: Repository, record: BackupRecord): Promise<RepositoryRun> {
  try {
    await copyBackup(from, to, record);
    return { repository: to.name };
  } catch (error) {
    return { repository: to.name, reason: readMessage(error) };
  }
}

async function dumpInto(
  { repository, before }: First,
  order: BackupOrder,
  { nowMs, listParts, deadlineMs, taken }: Omit<PipelineParts, "repositories"> & { taken: readonly string[] },
): Promise<BackupRecord> {
  const { folder, engine, recipients } = order;
  // Only what this run has published under a name that was free.
  const published: string[] = [];
  const deadline = new DumpDeadline(deadlineMs);
  try {
    const startedMs = nowMs();
    const name = nameBackup(engine, startedMs, taken);
    const files: BackupFile[] = [];
    for (const part of await listParts()) {
      const names = files.map(({ file }) => file);
      const file = nameFile(name, part, { encrypted: recipients.length > 0, taken: names });
      files.push(await storePart({ order, repository, part, file, published, deadline }));
    }
    const made = buildRecord(order, { name, files, startedMs, endedMs: nowMs() });
    // A cluster grows and shrinks by whole tables, and a base that is set aside would be no base.
    const quarantined = folder.area === undefined ? judgeSize(sumPlain(made), before) : undefined;
    const record = quarantined === undefined ? made : { ...made, quarantined };
    await publishRecord(repository, record, published);
    return record;
  } catch (error) {
    await removeAll(repository, folder, published);
    throw error;
  }
}

interface Storing {
  order: BackupOrder;
  repository: Repository;
  part: DumpPart;
  file: string;
  published: string[];
  deadline: DumpDeadline;
}

/** One file: from the program that writes it to the repository, and read back from there. */
async function storePart({ order, repository, part, file, published, deadline }: Storing): Promise<BackupFile> {
  const { folder, recipients } = order;
  const pending = await repository.create(folder, file);
  let dump: RunningDump | undefined;
  const watched = deadline.watch(() => void dump?.cancel().catch(() => undefined));
  try {
    dump = await part.begin();
    watched.expectInTime();
    const gate = new Gate(part.form);
    const sealed = encryptStream(watch(dump.output, gate), recipients);
    await writeBatches(sealed.pieces(), (piece) => pending.write(piece));
    // The output alone does not say that the program came to its end.
    const verdict = gate.judge(await dump.ended);
    if (typeof verdict === "string") throw new BackupFailure(`${part.content}: ${verdict}`);
    const facts = await dump.measure?.();
    watched.end();
    await pending.publish();
    published.push(file);
    const { kind, content } = part;
    return {
      file,
      kind,
      content,
      ...(await measureStored(sealed, { repository, folder, file })),
      ...(facts === undefined ? {} : { facts }),
      ...(verdict.warning === undefined ? {} : { warning: verdict.warning }),
    };
  } catch (error) {
    await dump?.cancel().catch(() => undefined);
    await pending.abandon().catch(() => undefined);
    const late = watched.explain();
    throw late === undefined ? error : new BackupFailure(`${part.content}: ${late}`, { cause: error });
  } finally {
    watched.end();
  }
}

/** What lies there is what was sent: a disk that lies, or a server that keeps less, is found now. Its digests are taken on the way. */
async function measureStored(
  sealed: StoredStream,
  { repository, folder, file }: { repository: Repository; folder: StoreFolder; file: string },
): Promise<MeasuredFile> {
  try {
    return await sealed.measureBack(repository.read(folder, file));
  } catch (error) {
    if (!(error instanceof Altered)) throw error;
    throw new RepositoryError(
      `what ${repository.name} gives back of ${file} is not what was written: ${error.message}`,
    );
  }
}

async function* watch(output: AsyncIterable<Uint8Array>, gate: Gate): AsyncIterable<Uint8Array> {
  for await (const chunk of output) {
    gate.take(chunk);
    yield chunk;
  }
}

/** What a run has put into the repositories. */
interface Made {
  name: string;
  files: BackupFile[];
  startedMs: number;
  endedMs: number;
}

/** The record of a backup as it is written first: nobody has proved it yet. */
export function buildRecord(order: BackupOrder, { name, files, startedMs, endedMs }: Made): BackupRecord {
  const { folder, engine, trigger, image, recipients, keepUntilMs, maker } = order;
  return {
    version: 1,
    node: folder.node,
    ...(maker === undefined ? {} : { maker }),
    service: folder.service,
    store: folder.store,
    ...(folder.area === undefined ? {} : { area: folder.area }),
    engine,
    name,
    files,
    trigger,
    startedMs,
    endedMs,
    image,
    recipients: [...recipients],
    restoreWith: order.describeRestore(files, recipients.length > 0),
    verifications: [],
    ...(keepUntilMs === undefined ? {} : { keepUntilMs }),
  };
}

/** The same without what only restores need: for lists that are kept and handed on. */
export async function listBriefly(repository: Repository, folder: StoreFolder): Promise<BackupList> {
  const { records, strange, halved, foreign, folders } = await listBackups(repository, folder);
  return {
    records: records.map(leaveAllRows),
    strange,
    halved: halved.map(leaveAllRows),
    ...(foreign === undefined ? {} : { foreign: foreign.map(leaveAllRows) }),
    ...(folders === undefined ? {} : { folders }),
  };
}

/** What a store has in a repository. */
export interface BackupList {
  /** Newest first. */
  records: BackupRecord[];
  /** Names of what is no backup: a record that does not parse or lacks its data, data without a record. */
  strange: string[];
  /** Of these, records of this store that lack some of their data: a removal may have been cut off. */
  halved: BackupRecord[];
  /** Made by a machine that had lost its place to a spare by then: neither counted, proved, restored by itself nor removed. */
  foreign?: BackupRecord[];
  /** Of backups by their names: in which folder of the service they lie, where that is not the store's own. */
  folders?: Record<string, string>;
}

/** Lists the backups of a store. */
export async function listBackups(repository: Repository, folder: StoreFolder): Promise<BackupList> {
  const names = new Set(await repository.list(folder));
  const found: Found = { records: [], halved: [], foreign: [], folders: {} };
  for (const name of names) {
    if (!name.endsWith(RECORD_ENDING)) continue;
    // One that cannot be read is none, and hides no other.
    const record = parseRecord(await repository.readText(folder, name).catch(() => ""));
    if (record !== undefined && isOwn(record, folder, name)) await sortIn(found, record, { repository, folder, names });
  }
  const { records, halved, foreign, folders } = found;
  const known = new Set(
    [...records, ...foreign].flatMap(({ name, files }) => [
      `${name}${RECORD_ENDING}`,
      ...files.map(({ file }) => file),
    ]),
  );
  return {
    records: records.toSorted(compareNewest),
    strange: [...names].filter((name) => !known.has(name)).toSorted(),
    halved,
    ...(foreign.length === 0 ? {} : { foreign: foreign.toSorted(compareNewest) }),
    ...(Object.keys(folders).length === 0 ? {} : { folders }),
  };
}

type Found = Required<Omit<BackupList, "strange">>;

async function sortIn(
  { records, halved, foreign, folders }: Found,
  record: BackupRecord,
  { repository, folder, names }: { repository: Repository; folder: StoreFolder; names: ReadonlySet<string> },
): Promise<void> {
  const { terms } = repository;
  if (terms !== undefined) {
    const place = await terms.locate(folder, `${record.name}${RECORD_ENDING}`);
    if (place.term !== undefined) folders[record.name] = joinFolder(place).split("/").slice(2).join("/");
    if (record.startedMs >= (await terms.findEndMs(place))) return void foreign.push(record);
  }
  (record.files.every(({ file }) => names.has(file)) ? records : halved).push(record);
}

function compareNewest(one: BackupRecord, other: BackupRecord): number {
  return other.startedMs - one.startedMs || (one.name < other.name ? 1 : -1);
}

/** A record speaks of the place where it lies: one that was copied or written by hand leads nowhere else. */
function isOwn(
  { node, service, store, engine, name, files }: BackupRecord,
  folder: StoreFolder,
  file: string,
): boolean {
  return (
    // A name with a dot would begin like the files of the one without its end.
    !name.includes(".") &&
    files.every((entry) => entry.file.startsWith(`${name}.`) && !entry.file.endsWith(RECORD_ENDING)) &&
    isBackupName(engine, name) &&
    node === folder.node &&
    service === folder.service &&
    store === folder.store &&
    `${name}${RECORD_ENDING}` === file
  );
}
