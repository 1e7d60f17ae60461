// The repository that is always there: a directory of this host. A file is written under a name of its own, brought to disk, and then
// linked to its name, which fails where that is taken: nothing is ever overwritten, and nobody sees half a file.

import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";

import { checkName, joinFolder, listTermNames } from "./backup-path.ts";
import { type PendingFile, type Repository, RepositoryError, type StoreFolder } from "./repository-port.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** What a file is called until it is published; no published name ends so. */
const PARTIAL = ".partial";
const PRIVATE_DIRECTORY = 0o700;
const PRIVATE_FILE = 0o600;
/** Pieces in which a file is read back. */
const READ_BYTES = 1024 * 1024;
/** So much may wait in memory for the disk: the rest of the host waits behind it when it asks the disk for something. */
const UNWRITTEN_BYTES = 64 * 1024 * 1024;
/** A record is some kilobytes; something larger under its name is none. */
const LARGEST_TEXT_BYTES = 1024 * 1024;

/** What a directory outside the unit's own looks like from inside, although it can be written to. */
const CLOSED =
  "the directory is read-only for the agent: mount it for writing; if it is, open it to the agent's unit: sudo orca unit --write";

/** Opens a repository in a directory, which is made with the first backup. */
export function openLocalRepository(name: string, directory: string): Repository {
  const place = (folder: StoreFolder, file = ""): string =>
    join(directory, joinFolder(folder), file === "" ? "" : checkName(file));
  return {
    name,
    list: (folder) =>
      guard(`list ${place(folder)}`, async () => {
        await expectOwn(directory, folder);
        return listPublished(place(folder));
      }),
    create: (folder, file) =>
      guard(`create ${place(folder, file)}`, async () => {
        await expectOwn(directory, folder);
        await makeFolder(directory, folder);
        return openPending(place(folder), place(folder, file));
      }),
    read: (folder, file) => readPieces(place(folder, file)),
    readText: (folder, file) => guard(`read ${place(folder, file)}`, () => readSmall(place(folder, file))),
    replaceText: (folder, file, text) =>
      guard(`write ${place(folder, file)}`, async () => {
        await expectOwn(directory, folder);
        await makeFolder(directory, folder);
        await replaceFile(place(folder), place(folder, file), text);
      }),
    remove: (folder, file) =>
      guard(`remove ${place(folder, file)}`, async () => {
        await expectOwn(directory, folder);
        await rm(place(folder, file), { force: true });
        await syncDirectory(place(folder));
      }),
    sweep: (folder) =>
      guard(`sweep ${place(folder)}`, async () => {
        await expectOwn(directory, folder);
        await sweepPartial(place(folder));
      }),
    freeBytes: () => readFree(directory),
    listTerms: ({ node, service, store }) => {
      const beside = dirname(place({ node, service, store }));
      return guard(`list ${beside}`, async () => listTermNames(store, await listFolders(beside)));
    },
  };
}

async function guard<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RepositoryError) throw error;
    if ((error as NodeJS.ErrnoException).code === "EROFS") throw new RepositoryError(`${what}: ${CLOSED}`);
    throw new RepositoryError(what, { cause: error });
  }
}

/** Who may write into a mount must not make this node write or remove elsewhere: no folder is a link. */
async function expectOwn(directory: string, folder: StoreFolder): Promise<void> {
  let path = directory;
  for (const part of joinFolder(folder).split("/")) {
    path = join(path, part);
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) return;
    if (found.isSymbolicLink())
      throw new RepositoryError(
        `${path} is a symbolic link, and a repository has none: bind-mount the other disk there`,
      );
  }
}

async function makeFolder(directory: string, folder: StoreFolder): Promise<void> {
  await makeDirectory(join(directory, joinFolder(folder)));
}

/** Level by level: with `recursive`, Node says of a file system that is read-only that there is no such directory. */
async function makeDirectory(path: string): Promise<void> {
  if (await makeOne(path)) return;
  await makeDirectory(dirname(path));
  if (!(await makeOne(path))) throw new RepositoryError(`${path} cannot be made: a link above it leads nowhere`);
}

/** False where the directory above is missing. */
async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: PRIVATE_DIRECTORY });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return false;
    if (code !== "EEXIST") throw error;
  }
  return true;
}

/** For reading. What is no file (a pipe would be waited for for ever) is refused. */
async function openFile(path: string): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    if ((await file.stat()).isFile()) return file;
    throw new RepositoryError(`${path} is no file`);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function listPublished(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && !entry.name.endsWith(PARTIAL)).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function listFolders(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function openPending(directory: string, path: string): Promise<PendingFile> {
  const partial = `${path}.${randomBytes(4).toString("hex")}${PARTIAL}`;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const file: FileHandle = await open(partial, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, PRIVATE_FILE);
  const writer = new Writer(file);
  const abandon = async (): Promise<void> => {
    await writer.stop();
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
  };
  return {
    write: (chunk) => guard(`write ${path}`, () => writer.write(chunk)),
    publish: () =>
      guard(`publish ${path}`, async () => {
        await writer.finish();
        await file.close();
        // Fails where the name is taken, as rename would not.
        await link(partial, path);
        await rm(partial, { force: true });
        await syncDirectory(directory);
      }),
    abandon,
  };
}

/** Writes a file, and lets the disk take what is there while more comes. The first error is the last. */
class Writer {
  readonly #file: FileHandle;
  #waiting = 0;
  #flushing: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#expectWhole();
    try {
      await writeWhole(this.#file, chunk);
    } catch (error) {
      throw this.#fail(error);
    }
    this.#waiting += chunk.length;
    if (this.#waiting < UNWRITTEN_BYTES) return;
    // A disk that is slower than the dump is waited for: what it has not taken yet stays bounded.
    await this.#flushing;
    this.#waiting = 0;
    this.#flushing = this.#file.datasync().catch((error: unknown) => void this.#fail(error));
  }

  /** All of it is on disk then, or it throws: also for what the kernel has said of an earlier piece. */
  async finish(): Promise<void> {
    await this.#flushing;
    this.#expectWhole();
    await this.#file.sync();
  }

  /** Nothing is written from now on. */
  async stop(): Promise<void> {
    this.#failure ??= new RepositoryError("it was given up");
    await this.#flushing;
  }

  #expectWhole(): void {
    if (this.#failure === undefined) return;
    throw new Error(`it was not written whole: ${this.#failure.message}`, { cause: this.#failure });
  }

  #fail(error: unknown): Error {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    return this.#failure;
  }
}

async function writeWhole(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
}

/** One piece is read while the other is looked at. */
async function* readPieces(path: string): AsyncIterable<Uint8Array> {
  const file = await guard(`open ${path}`, () => openFile(path));
  const fill = (buffer: Buffer): Promise<Buffer> =>
    guard(`read ${path}`, async () => buffer.subarray(0, (await file.read(buffer, 0, buffer.length)).bytesRead));
  let coming: Promise<Buffer> | undefined;
  try {
    const size = Math.min(READ_BYTES, Math.max(1, (await file.stat()).size));
    let [next, other] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
    coming = fill(next);
    for (;;) {
      const piece = await coming;
      if (piece.length === 0) return;
      [next, other] = [other, next];
      coming = fill(next);
      coming.catch(() => undefined);
      yield piece;
    }
  } finally {
    await coming?.catch(() => undefined);
    await file.close();
  }
}

async function readSmall(path: string): Promise<string> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    if (size > LARGEST_TEXT_BYTES)
      throw new RepositoryError(`${path} is no record: it has ${describeCount(size, "byte")}`);
    return await readFile(file, "utf8");
  } finally {
    await file.close();
  }
}

async function replaceFile(directory: string, path: string, text: string): Promise<void> {
  const partial = `${path}.${randomBytes(4).toString("hex")}${PARTIAL}`;
  try {
    await writeFile(partial, text, { mode: PRIVATE_FILE, flag: "wx", flush: true });
    await rename(partial, path);
    await syncDirectory(directory);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** A name is on disk once its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function sweepPartial(directory: string): Promise<void> {
  const names = await readdir(directory, { recursive: true }).catch(() => []);
  for (const name of names) if (name.endsWith(PARTIAL)) await rm(join(directory, name), { force: true });
}

/** Of the nearest directory that is there. */
async function readFree(directory: string): Promise<number | undefined> {
  for (let at = directory; ; at = join(at, "..")) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch {
      if (at === "/") return undefined;
    }
  }
}
