// Restores a bucket from a listing, into a bucket of the same store or a directory of this host, which must be empty: nothing is ever
// restored over something. Every object is compared with what was read once, before it has its name.

import { link, lstat, mkdir, open, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { findPlaceFault, makeDirectory } from "../../host/files/make-directory.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { Meter } from "../dump-gate.ts";
import { type PendingFile, type Repository, RepositoryError, type StoreFolder } from "../repository/repository-port.ts";
import { parseObjectPage } from "../repository/s3-answer.ts";
import type { S3Client } from "../repository/s3-client.ts";
import { S3Upload } from "../repository/s3-upload.ts";
import { readRecord } from "./known-objects.ts";
import type { ListedObject } from "./object-listing.ts";
import { ObjectPool } from "./object-pool.ts";
import { describeKey, keepHeaders } from "./object-source.ts";

/** What is restored. */
export interface ObjectRestore {
  repository: Repository;
  folder: StoreFolder;
  record: BackupRecord;
  identities: readonly string[];
}

/** Where it goes. */
export interface RestoreTarget {
  /** For people. */
  name: string;
  /** Throws where something is there. */
  expectEmpty(): Promise<void>;
  /** Opens an object; it has its name once it is published. */
  create(entry: ListedObject): Promise<PendingFile>;
  /** Called once, at the end; answers what a person has to know of it. */
  finish(): Promise<string | undefined>;
}

/** Restores all of it; answers what came of it. Throws at the first object that is not what it was: what is there then stays. */
export async function restoreObjects(
  { repository, folder, record, identities }: ObjectRestore,
  target: RestoreTarget,
): Promise<string> {
  await target.expectEmpty();
  const pool = new ObjectPool(repository, folder);
  const keys = record.recipients.length > 0 ? identities : undefined;
  let [objects, bytes] = [0, 0];
  for await (const { entry } of readRecord({ repository, folder }, record, keys)) {
    await restoreOne(pool, entry, { identities, target });
    objects += 1;
    bytes += entry.bytes;
  }
  const expected = record.files.find(({ kind }) => kind === "references")?.facts?.objects;
  if (expected !== objects)
    throw new Error(`the listing of ${record.name} has ${objects} of ${describeCount(expected ?? 0, "object")}`);
  const odd = await target.finish();
  const said = `restored ${describeCount(objects, "object")} with ${describeSize(bytes)} into ${target.name}`;
  return odd === undefined ? said : `${said}; ${odd}`;
}

async function restoreOne(
  pool: ObjectPool,
  entry: ListedObject,
  { identities, target }: { identities: readonly string[]; target: RestoreTarget },
): Promise<void> {
  const pending = await target.create(entry);
  try {
    const plain = new Meter();
    for await (const piece of pool.read(entry.file, identities, new Meter())) {
      plain.take(piece);
      await pending.write(piece);
    }
    const found = plain.read();
    if (found.bytes !== entry.bytes || found.sha256 !== entry.sha256)
      throw new Error(`${describeKey(entry.key)} (${entry.file}) is not what was read once`);
    await pending.publish();
  } catch (error) {
    await pending.abandon().catch(() => undefined);
    throw error;
  }
}

/** A bucket of the service's own store, or a prefix in it. */
export function openBucketTarget(client: S3Client, nowMs: () => number): RestoreTarget {
  const { bucket, prefix } = client.place;
  const start = prefix === "" ? "" : `${prefix}/`;
  const conditional = { works: true };
  return {
    name: `s3://${bucket}/${start}`,
    expectEmpty: async () => {
      const query = { "list-type": "2", prefix: start, "max-keys": "1" };
      const { content } = await client.send({ method: "GET", key: "", query });
      const page = parseObjectPage(content.toString("utf8"));
      if (page === undefined) throw new RepositoryError(`list s3://${bucket}/${start}: the answer is cut`);
      if (page.objects.length > 0)
        throw new Error(`s3://${bucket}/${start} is not empty: name a bucket or a prefix that is`);
    },
    create: async ({ key, headers }) =>
      new S3Upload({ client, key: `${start}${key}`, nowMs: nowMs(), conditional, headers: keepHeaders(headers) }),
    finish: async () => undefined,
  };
}

const ODD_FOLDER = ".orca-odd-keys";
const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;
/** As long as a name may be (NAME_MAX), less what a file that is being written is called. */
const LONGEST_NAME = 240;
const LONGEST_PATH = 3_000;

/**
 * A directory of this host. A key that is a path of plain names becomes that file; any other, such as one with `..`, lies by a number in
 * a folder of its own, with a list that says which key it is.
 */
export function openDirectoryTarget(directory: string): RestoreTarget {
  const odd: { file: string; key: string }[] = [];
  const place = async (key: string): Promise<string> => {
    if (isPlainPath(key)) {
      const path = join(directory, key);
      // A key may be a file where another one has a folder: then this one is odd.
      if (await makeParents(directory, dirname(key)).catch(() => false)) {
        const there = await lstat(path).catch(() => undefined);
        if (there === undefined) return path;
      }
    }
    const file = `${ODD_FOLDER}/${odd.length + 1}`;
    odd.push({ file, key });
    await makeDirectory(join(directory, ODD_FOLDER), PRIVATE_DIRECTORY);
    return join(directory, file);
  };
  return {
    name: directory,
    expectEmpty: async () => {
      const fault = await findPlaceFault(directory);
      if (fault !== undefined) throw new Error(fault);
      await makeDirectory(directory, PRIVATE_DIRECTORY).catch((error: NodeJS.ErrnoException) => {
        const hint = error.code === "EROFS" ? ": the agent may write only below its state directory" : "";
        throw new Error(`make ${directory}: ${error.code ?? error.message}${hint}`, { cause: error });
      });
      if ((await readdir(directory)).length > 0)
        throw new Error(`${directory} is not empty: name a directory that is, or is not there`);
    },
    create: async ({ key }) => openFile(await place(key)),
    finish: async () => {
      if (odd.length === 0) return undefined;
      const list = join(directory, ODD_FOLDER, "keys.jsonl");
      await writeFile(list, odd.map((entry) => `${JSON.stringify(entry)}\n`).join(""), {
        mode: PRIVATE_FILE,
        flag: "wx",
      });
      return `${describeCount(odd.length, "key is", "keys are")} no path of a file: ${list} says which file is which`;
    },
  };
}

/** Every folder of it is a folder, and none a link that leads elsewhere. */
async function makeParents(directory: string, parents: string): Promise<boolean> {
  let at = directory;
  for (const name of parents === "." ? [] : parents.split("/")) {
    at = join(at, name);
    await mkdir(at, { mode: PRIVATE_DIRECTORY }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (!(await lstat(at)).isDirectory()) return false;
  }
  return true;
}

/** True for a key that is a path of plain names below where it lies. */
function isPlainPath(key: string): boolean {
  if (Buffer.byteLength(key) > LONGEST_PATH) return false;
  return key.split("/").every((name) => {
    const isOdd = ["", ".", "..", ODD_FOLDER].includes(name) || Array.from(name).some(isOddLetter);
    return !isOdd && Buffer.byteLength(name) <= LONGEST_NAME;
  });
}

/** What a terminal obeys, and what is a way down elsewhere. */
function isOddLetter(letter: string): boolean {
  return letter < " " || letter === "\u007f" || letter === "\\";
}

async function openFile(path: string): Promise<PendingFile> {
  const partial = `${path}.partial`;
  const file = await open(partial, "wx", PRIVATE_FILE);
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (isOpen) await file.close();
    isOpen = false;
  };
  return {
    write: async (chunk) => {
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
    },
    publish: async () => {
      await file.sync();
      await close();
      await link(partial, path);
      await rm(partial);
    },
    abandon: async () => {
      await close();
      await rm(partial, { force: true });
    },
  };
}
