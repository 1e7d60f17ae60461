// Puts a large file into a volume: beside its place first, and then there by name, so that a service sees the old one or the new one. What
// services write into their volumes is not trusted: each directory on the way is opened by the kernel without following a link.

import { constants } from "node:fs";
import { type FileHandle, link, lstat, mkdir, open, rename, unlink } from "node:fs/promises";

import { readMessage } from "../../shared/text/read-message.ts";
import { type OnBytes, openPlain, sumFile, writeStream } from "./copy-stream.ts";

/** One file, and where it goes. */
export interface VolumeFile {
  source: string;
  sha256: string;
  /** In bytes. */
  size: number;
  /** This host's directory of the volume. */
  root: string;
  /** In that directory. */
  target: string;
}

/** What was put there; one of the two is called once. */
export interface PlacedFile {
  /** What was there before goes. */
  keep(): Promise<void>;
  /** What was there before comes back. */
  undo(): Promise<void>;
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Puts it there.
 * @returns undefined where that file is there already; throws where it cannot be put there, and has then changed nothing
 */
export async function placeFile(file: VolumeFile, onBytes?: OnBytes): Promise<PlacedFile | undefined> {
  const { source, sha256, size, root, target } = file;
  const parts = target.split("/");
  const name = parts.pop() ?? "";
  const directory = await openInside(root, parts);
  const at = (entry: string): string => `/proc/self/fd/${directory.fd}/${entry}`;
  const [beside, before] = [`.orca-new-${sha256.slice(0, 12)}`, `.orca-before-${sha256.slice(0, 12)}`];
  try {
    if (await isThere(at(name), { sha256, size })) {
      await directory.close();
      return undefined;
    }
    await removeLeft(at(beside));
    await removeLeft(at(before));
    const sum = await writeStream(at(beside), await openPlain(source), { onBytes });
    if (sum.sha256 !== sha256) throw new Error(`${source} has changed since it was checked`);
    const hadOne = await keepBefore(at(name), at(before));
    await rename(at(beside), at(name));
    await directory.sync();
    const end = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } finally {
        await directory.close();
      }
    };
    return {
      keep: () => end(() => (hadOne ? unlink(at(before)) : Promise.resolve())),
      undo: () => end(() => (hadOne ? rename(at(before), at(name)) : unlink(at(name)))),
    };
  } catch (error) {
    await removeLeft(at(beside)).catch(() => undefined);
    await removeLeft(at(before)).catch(() => undefined);
    await directory.close();
    throw new Error(`fill ${root}/${target}: ${readMessage(error)}`, { cause: error });
  }
}

/** Makes the directories on the way where they are missing. */
async function openInside(root: string, parts: readonly string[]): Promise<FileHandle> {
  let directory = await open(root, DIRECTORY);
  for (const part of parts) {
    const path = `/proc/self/fd/${directory.fd}/${part}`;
    try {
      await mkdir(path, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
      const next = await open(path, DIRECTORY);
      await directory.close();
      directory = next;
    } catch (error) {
      await directory.close();
      const { code } = error as NodeJS.ErrnoException;
      const why =
        code === "ELOOP" || code === "ENOTDIR" ? "it is a link or a file, which is not followed" : readMessage(error);
      throw new Error(`open ${part} in ${root}: ${why}`, { cause: error });
    }
  }
  return directory;
}

async function isThere(path: string, { sha256, size }: { sha256: string; size: number }): Promise<boolean> {
  const info = await lookAt(path);
  if (info === undefined) return false;
  if (info.isDirectory()) throw new Error("it is a directory");
  return info.isFile() && info.size === size && (await sumFile(path)).sha256 === sha256;
}

/** A second name for what is there: the first one is then taken over. */
async function keepBefore(path: string, before: string): Promise<boolean> {
  const info = await lookAt(path);
  if (info === undefined) return false;
  await link(path, before);
  return true;
}

async function lookAt(path: string): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
  return lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/** What an installation has left that was killed. */
async function removeLeft(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
