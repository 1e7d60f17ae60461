// Reads plain files that others have put there: no link is followed, no FIFO waited for, no device opened, and never more
// than a limit. What it is, is judged by the open descriptor. Called by whoever reads a repository from disk. Never throws.

import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from "node:fs";

import {
  faultOfKind,
  faultOfReading,
  faultOfSize,
  LARGEST_FILE_BYTES,
  type ReadBytes,
  type ReadText,
  decodeText,
} from "../../../shared/manifest/file-fault.ts";

/** A path that need not be UTF-8. */
export type DiskPath = string | Buffer;

/** A link is refused by the kernel, and what has no end or no beginning is not waited for. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Reads one file.
 * @param path of the file, links in its directories followed
 * @param inside a real directory in which the file must really lie; left out where its directories are trusted
 */
export function readPlainFile(path: DiskPath, inside?: string): ReadBytes {
  let descriptor: number | undefined;
  try {
    // A device may act on being opened: what is none is opened only, and what was opened is looked at again.
    const before = refuseKind(lstatSync(path));
    if (before !== undefined) return before;
    descriptor = openSync(path, FLAGS);
    const info = fstatSync(descriptor);
    const kind = refuseKind(info);
    if (kind !== undefined) return kind;
    if (inside !== undefined && !isReallyInside(descriptor, inside)) return refuseFile(faultOfKind(OUTSIDE));
    if (info.size > LARGEST_FILE_BYTES) return refuseFile(faultOfSize(info.size));
    return readAll(descriptor, info.size);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return refuseFile(code === "ELOOP" ? faultOfKind(LINK) : faultOfReading(code));
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** The same for a file that must be text in UTF-8. */
export function readPlainText(path: DiskPath): ReadText {
  const read = readPlainFile(path);
  return read.ok ? decodeText(read.content) : read;
}

const LINK = "a link, which is not followed";
const OUTSIDE = "a link that leaves the node's directory";

function refuseFile(fault: ReturnType<typeof faultOfKind>): { ok: false; fault: typeof fault } {
  return { ok: false, fault };
}

function refuseKind(info: Stats): ReturnType<typeof refuseFile> | undefined {
  if (info.isFile()) return undefined;
  return refuseFile(faultOfKind(nameKind(info)));
}

function nameKind(info: Stats): string {
  if (info.isSymbolicLink()) return LINK;
  if (info.isFIFO()) return "a FIFO";
  if (info.isDirectory()) return "a directory";
  if (info.isSocket()) return "a socket";
  return info.isCharacterDevice() || info.isBlockDevice() ? "a device" : "something else";
}

/** The kernel says where the open file lies, whatever was moved since its path was looked up. */
function isReallyInside(descriptor: number, directory: string): boolean {
  const real = readlinkSync(`/proc/self/fd/${descriptor}`);
  return real.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}

/** Reads to the end, which may have moved since the size was asked for. */
function readAll(descriptor: number, sizeBytes: number): ReadBytes {
  let content = Buffer.alloc(sizeBytes + 1);
  let length = 0;
  for (;;) {
    const read = readSync(descriptor, content, length, content.length - length, null);
    length += read;
    if (length > LARGEST_FILE_BYTES) return refuseFile(faultOfSize(length));
    // The kernel's own files say that they are empty, and are not.
    if (read === 0 || (sizeBytes > 0 && length < content.length))
      return { ok: true, content: content.subarray(0, length) };
    if (length === content.length) content = Buffer.concat([content, Buffer.alloc(Math.max(4_096, length))]);
  }
}
