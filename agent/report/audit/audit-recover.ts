// What an audit log is found as when it is opened: its head, and what must be said about its end. A crash can leave half a
// line there, which is moved aside; a whole line that was edited stays, so that the chain shows it for good.

import { createHash } from "node:crypto";
import { open, readFile, rename, writeFile } from "node:fs/promises";

import { listSegments } from "../../host/files/audit-segments.ts";
import type { AuditFile } from "./audit-log.ts";
import { type AuditEntry, EMPTY_HEAD } from "./audit-chain.ts";
import { type AuditHead, parseHead } from "../../../shared/document/audit-head.ts";

/** What was found. `entries` are to be written next. */
export interface Recovered {
  head: AuditHead;
  entries: AuditEntry[];
}

const TAIL_BYTES = 256 * 1024;

/** Where the newest head is kept beside a log: lines cut off its end are then missed. */
function headPath(path: string): string {
  return `${path}.head`;
}

/** Reads the head beside a log; undefined when there is none. */
export async function readHead(path: string): Promise<AuditHead | undefined> {
  return parseHead(await readFile(headPath(path), "utf8").catch(() => ""));
}

/** Writes the head beside a log. A head that is behind its log does no harm. */
export async function writeHead(path: string, { seq, hash }: AuditHead): Promise<void> {
  const place = headPath(path);
  await writeFile(`${place}.new`, JSON.stringify({ seq, hash }), { mode: 0o600 })
    .then(() => rename(`${place}.new`, place))
    .catch(() => undefined);
}

/** Finds the head of a log that was just opened, and puts its end right. */
export async function recoverLog(file: AuditFile, path: string, nowMs: number): Promise<Recovered> {
  const { size } = await file.stat();
  const { head: own, end } = await findHead(file, size);
  const head = own.seq === 0 ? await readRotated(path) : own;
  const entries = end === size ? [] : [await moveAside(file, { path, end, size, nowMs })];
  const anchor = await readHead(path);
  if (anchor === undefined || anchor.seq <= head.seq) return { head, entries };
  // The chain goes on from the line that is gone, so that a walk finds the gap for ever.
  const entry: AuditEntry = {
    actor: { kind: "agent" },
    action: "audit-gap",
    what: { from: head.seq + 1, to: anchor.seq },
    cause: "lines that had been written were not there when the log was opened",
    result: "failed",
  };
  return { head: anchor, entries: [...entries, entry] };
}

/** The last line before the log was rotated; the head of an empty log where it never was. */
async function readRotated(path: string): Promise<AuditHead> {
  const newest = (await listSegments(path)).at(-1);
  if (newest === undefined) return EMPTY_HEAD;
  const file = await open(newest, "r");
  try {
    return (await findHead(file, (await file.stat()).size)).head;
  } finally {
    await file.close();
  }
}

/** The last line that is whole, and where it ends. */
async function findHead(file: Pick<AuditFile, "read">, size: number): Promise<{ head: AuditHead; end: number }> {
  for (let length = TAIL_BYTES; ; length *= 8) {
    const start = Math.max(0, size - length);
    const tail = await readRange(file, start, size);
    const found = findInTail(tail);
    if (found !== undefined) return { head: found.head, end: start + found.end };
    if (start === 0) return { head: EMPTY_HEAD, end: 0 };
  }
}

function findInTail(tail: Buffer): { head: AuditHead; end: number } | undefined {
  let end = tail.lastIndexOf(0x0a) + 1;
  while (end > 0) {
    const start = end === 1 ? 0 : tail.lastIndexOf(0x0a, end - 2) + 1;
    const head = parseHead(tail.subarray(start, end - 1).toString("utf8"));
    if (head !== undefined) return { head, end };
    end = start;
  }
  return undefined;
}

async function readRange(file: Pick<AuditFile, "read">, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.alloc(end - start);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
  return buffer.subarray(0, bytesRead);
}

async function moveAside(
  file: AuditFile,
  torn: { path: string; end: number; size: number; nowMs: number },
): Promise<AuditEntry> {
  const bytes = await readRange(file, torn.end, torn.size);
  const movedTo = `${torn.path}.torn-${torn.nowMs}`;
  await writeFile(movedTo, bytes, { mode: 0o600 });
  await file.truncate(torn.end);
  return {
    actor: { kind: "agent" },
    action: "audit-repair",
    what: { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex"), movedTo },
    cause: "the log ended with something that is no whole line, as after a crash",
    result: "ok",
  };
}
