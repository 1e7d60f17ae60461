// The repository that is always there: a directory of this host. A file is written under a name of its own, brought to disk, and then
// linked to its name, which fails where that is taken: nothing is ever overwritten, and nobody sees half a file.

import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type PendingFile, type Repository, RepositoryError, type StoreFolder } from "./repository-port.ts";

/** What a file is called until it is published; no published name ends so. */
const PARTIAL = ".partial";
const PRIVATE_DIRECTORY = 0o700;
const PRIVATE_FILE = 0o600;
/** Pieces in which a file is read back. */
const READ_BYTES = 256 * 1024;
/** A record is some kilobytes; something larger under its name is none. */
const LARGEST_TEXT_BYTES = 1024 * 1024;

/** Opens a repository in a directory, which is made with the first backup. */
export function openLocalRepository(name: string, directory: string): Repository {
  const place = (folder: StoreFolder, file = ""): string =>
    join(
      directory,
      checkName(folder.node),
      checkName(folder.service),
      checkName(folder.store),
      file === "" ? "" : checkName(file),
    );
  return {
    name,
    list: (folder) => guard(`list ${place(folder)}`, () => listPublished(place(folder))),
    create: (folder, file) =>
      guard(`create ${place(folder, file)}`, async () => {
        await mkdir(place(folder), { recursive: true, mode: PRIVATE_DIRECTORY });
        return openPending(place(folder), place(folder, file));
      }),
    read: (folder, file) => readPieces(place(folder, file)),
    readText: (folder, file) => guard(`read ${place(folder, file)}`, () => readSmall(place(folder, file))),
    replaceText: (folder, file, text) =>
      guard(`write ${place(folder, file)}`, () => replaceFile(place(folder), place(folder, file), text)),
    remove: (folder, file) =>
      guard(`remove ${place(folder, file)}`, async () => {
        await rm(place(folder, file), { force: true });
        await syncDirectory(place(folder));
      }),
    sweep: (folder) => guard(`sweep ${place(folder)}`, () => sweepPartial(place(folder))),
    freeBytes: () => readFree(directory),
  };
}

/** Names come from manifests, which keep to a closed set of characters; here nothing leads out of the directory all the same. */
function checkName(name: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name))
    throw new RepositoryError(`${JSON.stringify(name)} is no name of a backup`);
  return name;
}

async function guard<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RepositoryError) throw error;
    throw new RepositoryError(what, { cause: error });
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

async function openPending(directory: string, path: string): Promise<PendingFile> {
  const partial = `${path}.${randomBytes(4).toString("hex")}${PARTIAL}`;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const file: FileHandle = await open(partial, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, PRIVATE_FILE);
  let failed = false;
  const abandon = async (): Promise<void> => {
    failed = true;
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
  };
  return {
    write: (chunk) =>
      guard(`write ${path}`, async () => {
        if (failed) throw new RepositoryError(`write ${path}: it has failed before`);
        try {
          await writeWhole(file, chunk);
        } catch (error) {
          failed = true;
          throw error;
        }
      }),
    publish: () =>
      guard(`publish ${path}`, async () => {
        if (failed) throw new RepositoryError(`publish ${path}: it was not written whole`);
        await file.sync();
        await file.close();
        // Fails where the name is taken, as rename would not.
        await link(partial, path);
        await rm(partial, { force: true });
        await syncDirectory(directory);
      }),
    abandon,
  };
}

async function writeWhole(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
}

async function* readPieces(path: string): AsyncIterable<Uint8Array> {
  const file = await guard(`open ${path}`, () => open(path, constants.O_RDONLY | constants.O_NOFOLLOW));
  try {
    for (;;) {
      const { bytesRead, buffer } = await guard(`read ${path}`, () =>
        file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES),
      );
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function readSmall(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    if (size > LARGEST_TEXT_BYTES) throw new RepositoryError(`${path} is no record: it has ${size} bytes`);
    return await readFile(file, "utf8");
  } finally {
    await file.close();
  }
}

async function replaceFile(directory: string, path: string, text: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: PRIVATE_DIRECTORY });
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
  const names = await readdir(directory).catch(() => []);
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
