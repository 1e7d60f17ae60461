// Makes the files of a backup ready for a server that restores them: fetched from where they lie, compared with what was written, and opened
// into a private directory of their own. What lies on this host as it is needs none of that but the comparison.

import { mkdtemp, open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";

import { describeCount } from "../../shared/text/count.ts";
import { describeSize } from "../../shared/text/size.ts";
import { makeDirectory } from "../host/files/make-directory.ts";
import type { BackupFile, BackupRecord } from "./core/backup-record.ts";
import { Meter } from "./dump-gate.ts";
import { decryptStream } from "./encrypt.ts";
import { joinFolder } from "./repository/backup-path.ts";
import { type Repository, RepositoryError, type StoreFolder } from "./repository/repository-port.ts";
import type { RepositoryPlace } from "./repository/repository-place.ts";
import type { Verdict } from "./verify/restore-box.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What is made ready, and with what. */
export interface StagingRequest {
  place: RepositoryPlace;
  repository: Repository;
  folder: StoreFolder;
  record: BackupRecord;
  /** Where opened backups lie for as long as they are needed; this user's alone. */
  spool: string;
  /** This node's age identities. */
  identities: readonly string[];
}

/** Files that a container can be given. */
export interface StagedBackup {
  directory: string;
  /** As they are named there: without `.age`. */
  files: readonly BackupFile[];
  /** Takes away what was made for it; fine again. */
  remove(): Promise<void>;
}

const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;
/** Beyond the files themselves, so that the disk is not filled to its last byte. */
const SPARE_BYTES = 256 * 2 ** 20;
const AGE_ENDING = ".age";

/** Why there is nothing to restore. */
class Damage extends Error {
  readonly verdict: "bad" | "unknown";
  constructor(verdict: "bad" | "unknown", message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** Makes a backup ready, or says why not. Never throws for what is the backup's fault or the machine's. */
export async function stageBackup(request: StagingRequest): Promise<StagedBackup | Verdict> {
  const { place, repository, folder, record } = request;
  try {
    if (place.kind !== "s3" && record.recipients.length === 0) {
      for (const file of record.files) await compare(repository, folder, file);
      const [first] = record.files;
      const lies = first === undefined ? undefined : await repository.terms?.locate(folder, first.file);
      const directory = join(place.directory, joinFolder(lies ?? folder));
      return { directory, files: record.files, remove: async () => undefined };
    }
    return await fetchAll(request);
  } catch (error) {
    const detail = readMessage(error);
    if (error instanceof Damage) return { verdict: error.verdict, detail };
    // A repository that cannot be read, a disk that is full: nothing of that is the backup's.
    if (error instanceof RepositoryError || isSystemError(error)) return { verdict: "unknown", detail };
    throw error;
  }
}

async function fetchAll(request: StagingRequest): Promise<StagedBackup> {
  const { spool, record } = request;
  await makeDirectory(spool, PRIVATE_DIRECTORY);
  await expectSpace(spool, record);
  const directory = await mkdtemp(join(spool, "restore-"));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    const files: BackupFile[] = [];
    for (const file of record.files) files.push(await fetchOne(request, file, directory));
    return { directory, files, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function expectSpace(spool: string, { files }: BackupRecord): Promise<void> {
  const needed = files.reduce((sum, { plain }) => sum + plain.bytes, SPARE_BYTES);
  const { bavail, bsize } = await statfs(spool);
  if (bavail * bsize >= needed) return;
  const words = `it needs ${describeSize(needed)}, and ${spool} has ${describeSize(bavail * bsize)} left`;
  throw new Damage("unknown", `there is no room to open the backup: ${words}`);
}

/** One file: what is fetched is measured, and what comes out is measured again. */
async function fetchOne(request: StagingRequest, file: BackupFile, directory: string): Promise<BackupFile> {
  const { repository, folder, record, identities } = request;
  const stored = new Meter();
  const plain = new Meter();
  const fetched = watch(repository.read(folder, file.file), stored);
  const isEncrypted = record.recipients.length > 0;
  const name = isEncrypted ? file.file.replace(new RegExp(`${AGE_ENDING}$`), "") : file.file;
  const target = await open(join(directory, name), "wx", PRIVATE_FILE);
  try {
    for await (const piece of isEncrypted ? decryptStream(fetched, identities) : fetched) {
      plain.take(piece);
      await writeWhole(target, piece);
    }
  } catch (error) {
    if (error instanceof RepositoryError || isSystemError(error)) throw error;
    // What lies there is looked at first: a file that was cut does not open either.
    await compare(repository, folder, file);
    const words = readMessage(error);
    if (!/no identity matched/i.test(words)) throw new Damage("bad", `${file.file} does not open: ${words}`);
    throw new Damage(
      "unknown",
      `${file.file} is not encrypted for this node, and stays so: with this node's key as backup_key in fleet.toml, ` +
        `orca backup run ${folder.service} ${folder.store} makes one that is, and orca backup verify proves it`,
    );
  } finally {
    await target.close();
  }
  expectMeasured(file.file, file.stored, stored);
  expectMeasured(name, file.plain, plain);
  return { ...file, file: name };
}

async function* watch(source: AsyncIterable<Uint8Array>, meter: Meter): AsyncIterable<Uint8Array> {
  for await (const piece of source) {
    meter.take(piece);
    yield piece;
  }
}

/** What lies in the repository is what was written once: a digest proves the bytes, and not yet that they can be restored. */
async function compare(repository: Repository, folder: StoreFolder, { file, stored }: BackupFile): Promise<void> {
  const meter = new Meter();
  for await (const chunk of repository.read(folder, file)) meter.take(chunk);
  expectMeasured(file, stored, meter);
}

function expectMeasured(name: string, expected: BackupFile["stored"], meter: Meter): void {
  const found = meter.read();
  if (found.bytes !== expected.bytes)
    throw new Damage("bad", `${name} has ${found.bytes} of ${describeCount(expected.bytes, "byte")}`);
  if (found.sha256 !== expected.sha256)
    throw new Damage("bad", `${name} is not what was written: its digest is another one`);
}

async function writeWhole(file: Awaited<ReturnType<typeof open>>, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length;) at += (await file.write(piece, at)).bytesWritten;
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
