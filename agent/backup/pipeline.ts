// One backup, from a running dump to a record in a repository: dump → gate → encrypt → write → publish → read back → record, one stream
// with bounded memory and no shell. The first error is terminal. The record is written last, and is what makes it a backup: whatever
// is killed before that leaves nothing that anybody takes for one.

import { type BackupFile, type BackupRecord, backupRecordSchema } from "./core/backup-record.ts";
import { nameBackup, nameFile, RECORD_ENDING } from "./core/backup-name.ts";
import type { DumpPart, RunningDump } from "./dump-port.ts";
import { encryptStream } from "./encrypt.ts";
import { Gate, Meter } from "./dump-gate.ts";
import type { Repository, StoreFolder } from "./repository/repository-port.ts";

/** What is to be made. */
export interface BackupOrder {
  folder: StoreFolder;
  engine: string;
  trigger: BackupRecord["trigger"];
  image: string;
  recipients: readonly string[];
  keepUntilMs: number | undefined;
  /** The stock commands that restore these files. */
  describeRestore(files: readonly BackupFile[], encrypted: boolean): string[];
}

/** What it is made with. */
export interface PipelineParts {
  repository: Repository;
  nowMs(): number;
  /** Looks at the source and says what there is to dump; nothing has begun then. */
  listParts(): Promise<DumpPart[]>;
}

/** No backup came of it, and nothing of it is left. */
class BackupFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "BackupFailure";
  }
}

/** Makes a backup and answers its record. Throws a `BackupFailure`. */
export async function makeBackup(order: BackupOrder, parts: PipelineParts): Promise<BackupRecord> {
  const { folder, engine } = order;
  const { repository } = parts;
  // Only what this run has published under a name that was free.
  const published: string[] = [];
  try {
    await repository.sweep(folder);
    const startedMs = parts.nowMs();
    const name = nameBackup(engine, startedMs, await repository.list(folder));
    const files: BackupFile[] = [];
    for (const part of await parts.listParts()) {
      const taken = files.map(({ file }) => file);
      const file = nameFile(name, part, { encrypted: order.recipients.length > 0, taken });
      files.push(await storePart({ order, repository, part, file, published }));
    }
    const record = buildRecord(order, { name, files, startedMs, endedMs: parts.nowMs() });
    await publishRecord({ repository, record, published });
    return record;
  } catch (error) {
    // The record first, since it makes a backup of the data.
    for (const name of published.toReversed()) await repository.remove(folder, name).catch(() => undefined);
    if (error instanceof BackupFailure) throw error;
    throw new BackupFailure(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

interface Storing {
  order: BackupOrder;
  repository: Repository;
  part: DumpPart;
  file: string;
  published: string[];
}

/** One file: from the program that writes it to the repository, and read back from there. */
async function storePart({ order, repository, part, file, published }: Storing): Promise<BackupFile> {
  const { folder, recipients } = order;
  const pending = await repository.create(folder, file);
  let dump: RunningDump | undefined;
  try {
    dump = await part.begin();
    const gate = new Gate(part.form);
    const meter = new Meter();
    for await (const chunk of encryptStream(watch(dump.output, gate), recipients)) {
      meter.take(chunk);
      await pending.write(chunk);
    }
    // The output alone does not say that the program came to its end.
    const verdict = gate.judge(await dump.ended);
    if (typeof verdict === "string") throw new BackupFailure(`${part.content}: ${verdict}`);
    await pending.publish();
    published.push(file);
    const stored = meter.read();
    await readBack({ repository, folder, file, stored });
    return {
      file,
      kind: part.kind,
      content: part.content,
      plain: { bytes: verdict.bytes, sha256: verdict.sha256 },
      stored,
    };
  } catch (error) {
    await dump?.cancel().catch(() => undefined);
    await pending.abandon();
    throw error;
  }
}

async function* watch(output: AsyncIterable<Uint8Array>, gate: Gate): AsyncIterable<Uint8Array> {
  for await (const chunk of output) {
    gate.take(chunk);
    yield chunk;
  }
}

interface ReadingBack {
  repository: Repository;
  folder: StoreFolder;
  file: string;
  stored: BackupFile["stored"];
}

/** What lies there is what was sent: a disk that lies, or a server that keeps less, is found now and not in the bad hour. */
async function readBack({ repository, folder, file, stored }: ReadingBack): Promise<void> {
  const meter = new Meter();
  for await (const chunk of repository.read(folder, file)) meter.take(chunk);
  const found = meter.read();
  if (found.bytes === stored.bytes && found.sha256 === stored.sha256) return;
  throw new BackupFailure(
    `what ${repository.name} gives back of ${file} is not what was written: ${found.bytes} of ${stored.bytes} bytes`,
  );
}

interface Made {
  name: string;
  files: BackupFile[];
  startedMs: number;
  endedMs: number;
}

function buildRecord(order: BackupOrder, { name, files, startedMs, endedMs }: Made): BackupRecord {
  const { folder, engine, trigger, image, recipients, keepUntilMs } = order;
  return {
    version: 1,
    node: folder.node,
    service: folder.service,
    store: folder.store,
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

interface Publishing {
  repository: Repository;
  record: BackupRecord;
  published: string[];
}

async function publishRecord({ repository, record, published }: Publishing): Promise<void> {
  const name = `${record.name}${RECORD_ENDING}`;
  const pending = await repository.create(record, name);
  try {
    await pending.write(Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`));
    published.push(name);
    await pending.publish();
  } catch (error) {
    await pending.abandon();
    throw error;
  }
}

/** What a store has in a repository. */
export interface BackupList {
  /** Newest first. */
  records: BackupRecord[];
  /** Names of what is no backup: a record that does not parse or lacks its data, data without a record. */
  strange: string[];
}

/** Lists the backups of a store. */
export async function listBackups(repository: Repository, folder: StoreFolder): Promise<BackupList> {
  const names = new Set(await repository.list(folder));
  const records: BackupRecord[] = [];
  for (const name of names) {
    if (!name.endsWith(RECORD_ENDING)) continue;
    // One that cannot be read is none, and hides no other.
    const record = parseRecord(await repository.readText(folder, name).catch(() => ""));
    if (record !== undefined && isOwn(record, folder, name) && record.files.every(({ file }) => names.has(file)))
      records.push(record);
  }
  const known = new Set(
    records.flatMap(({ name, files }) => [`${name}${RECORD_ENDING}`, ...files.map(({ file }) => file)]),
  );
  return {
    records: records.toSorted((one, other) => other.startedMs - one.startedMs || (one.name < other.name ? 1 : -1)),
    strange: [...names].filter((name) => !known.has(name)).toSorted(),
  };
}

/** A record speaks of the place where it lies: one that was copied or written by hand leads nowhere else. */
function isOwn({ node, service, store, name, files }: BackupRecord, folder: StoreFolder, file: string): boolean {
  return (
    files.every((entry) => entry.file.startsWith(`${name}.`) && !entry.file.endsWith(RECORD_ENDING)) &&
    node === folder.node &&
    service === folder.service &&
    store === folder.store &&
    `${name}${RECORD_ENDING}` === file
  );
}

function parseRecord(text: string): BackupRecord | undefined {
  try {
    return backupRecordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
