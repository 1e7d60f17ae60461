// Copies what is new of the audit log into each repository: whole lines, in files that are named by their lines, nothing overwritten. What a
// repository has is read from its names, so a copy that is gone there is made again while the host has the lines. Runs in the child.

import { type FileHandle, open } from "node:fs/promises";

import { parseHead } from "../../../shared/document/audit-head.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { listSegments } from "../../host/files/audit-segments.ts";
import type { AuditCopyRequest, AuditCopy } from "../backup-exchange.ts";
import { findLogFolder } from "../repository/backup-path.ts";
import { openRepository } from "../repository/repository-place.ts";
import type { Repository } from "../repository/repository-port.ts";
import { storeObject } from "../repository/stored-object.ts";
import { type AuditCopyName, markLine, nameAuditCopy, parseAuditCopy } from "./audit-copy-name.ts";

/** Lines of one file that a repository does not have, and where they are in it. */
interface Piece extends Omit<AuditCopyName, "log"> {
  start: number;
  /** Behind its last byte. */
  end: number;
}

/** One file of the log. */
interface LogFile {
  file: FileHandle;
  /** The number of its last line; undefined for the one that is written to. */
  last: number | undefined;
}

/** Copies it; answers what each repository has then. Rejects where the log itself cannot be read. */
export async function copyAudit(request: AuditCopyRequest, nowMs: () => number): Promise<AuditCopy[]> {
  const files = await openFiles(request.path);
  try {
    const log = await findMark(files);
    const copies: AuditCopy[] = [];
    for (const { place, recipients } of request.repositories) {
      const copy: AuditCopy = { repository: place.name, log };
      copies.push(copy);
      if (log === undefined) continue;
      try {
        const opened = await openRepository(place);
        try {
          const into = { repository: opened.repository, recipients, node: request.node, log, nowMs };
          await fill(files, new Known(into), copy);
        } finally {
          opened.close();
        }
      } catch (error) {
        copy.reason = readMessage(error);
      }
    }
    return copies;
  } finally {
    for (const { file } of files) await file.close();
  }
}

/** The file that is written to is opened first: put aside meanwhile, it is found twice, and its lines are known the second time. */
async function openFiles(path: string): Promise<LogFile[]> {
  const current = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  const files: LogFile[] = [];
  for (const segment of await listSegments(path))
    files.push({ file: await open(segment, "r"), last: Number(segment.slice(path.length + 1)) });
  return current === undefined ? files : [...files, { file: current, last: undefined }];
}

/** What this log begins with; undefined for one without a line. */
async function findMark(files: readonly LogFile[]): Promise<string | undefined> {
  for (const { file } of files) for await (const { text } of readLines(file)) return markLine(text);
  return undefined;
}

async function fill(files: readonly LogFile[], known: Known, copy: AuditCopy): Promise<void> {
  await known.look();
  for (const { file, last } of files) {
    // Put aside and copied whole: nothing of it is read again.
    if (last !== undefined && known.hasUpTo(last)) continue;
    for (const piece of await findPieces(file, known, copy)) {
      await known.put(piece, () => readRange(file, piece));
    }
  }
  copy.lines = known.newest;
}

/** A line that is not readable goes with the one before it: it was edited, and that is what a copy is to show. */
async function findPieces(file: FileHandle, known: Known, copy: AuditCopy): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let piece: Piece | undefined;
  for await (const { text, start, end } of readLines(file)) {
    const seq = findNumber(text) ?? piece?.to;
    if (seq === undefined) continue;
    if (known.has(seq)) {
      piece = undefined;
      if (known.isOther(seq, text)) copy.altered ??= seq;
      continue;
    }
    if (piece === undefined) {
      piece = { start, end, from: seq, to: seq, last: "" };
      pieces.push(piece);
    }
    piece.end = end;
    piece.to = Math.max(piece.to, seq);
    piece.last = markLine(text);
  }
  return pieces;
}

function findNumber(text: string): number | undefined {
  const seq = parseHead(text)?.seq;
  return seq !== undefined && Number.isSafeInteger(seq) && seq > 0 && seq < 1e12 ? seq : undefined;
}

/** Where copies of one log go. */
interface Into {
  repository: Repository;
  recipients: readonly string[];
  node: string;
  log: string;
  nowMs: () => number;
}

/** What one repository has of the log. */
class Known {
  readonly #into: Into;
  #copies: AuditCopyName[] = [];
  /** What they cover together, in order. */
  #ranges: { from: number; to: number }[] = [];

  constructor(into: Into) {
    this.#into = into;
  }

  async look(): Promise<void> {
    const { repository, node, log } = this.#into;
    const folder = findLogFolder(node);
    await repository.sweep(folder);
    const names = await repository.list(folder);
    this.#copies = names.flatMap((name) => parseAuditCopy(name) ?? []).filter((copy) => copy.log === log);
    this.#ranges = mergeRanges(this.#copies);
  }

  get newest(): number {
    return this.#ranges.at(-1)?.to ?? 0;
  }

  has(seq: number): boolean {
    return this.#ranges.some(({ from, to }) => from <= seq && seq <= to);
  }

  /** Every line from the first one to this one. */
  hasUpTo(seq: number): boolean {
    const [first] = this.#ranges;
    return first !== undefined && first.from <= 1 && first.to >= seq;
  }

  /** True where another line with this number was copied before. */
  isOther(seq: number, text: string): boolean {
    const same = this.#copies.filter(({ to }) => to === seq);
    if (same.length === 0) return false;
    const mark = markLine(text);
    return same.every(({ last }) => last !== mark);
  }

  async put(piece: Piece, read: () => AsyncIterable<Uint8Array>): Promise<void> {
    const { repository, recipients, node, log, nowMs } = this.#into;
    const name = nameAuditCopy({ ...piece, log }, { nowMs: nowMs(), encrypted: recipients.length > 0 });
    await storeObject({ repository, folder: findLogFolder(node), name }, read(), recipients);
    this.#copies.push({ ...piece, log });
    this.#ranges = mergeRanges(this.#copies);
  }
}

function mergeRanges(copies: readonly AuditCopyName[]): { from: number; to: number }[] {
  const merged: { from: number; to: number }[] = [];
  for (const { from, to } of copies.toSorted((one, other) => one.from - other.from)) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last.to + 1) last.to = Math.max(last.to, to);
    else merged.push({ from, to });
  }
  return merged;
}

const READ_BYTES = 256 * 1024;

/** Whole lines alone: what has no end yet is still being written. */
async function* readLines(file: FileHandle): AsyncGenerator<{ text: string; start: number; end: number }> {
  const { size } = await file.stat();
  let rest = Buffer.alloc(0);
  let at = 0;
  for await (const chunk of readRange(file, { start: 0, end: size })) {
    const held = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let begin = 0;
    for (let stop = held.indexOf(0x0a); stop !== -1; stop = held.indexOf(0x0a, begin)) {
      yield { text: held.toString("utf8", begin, stop), start: at + begin, end: at + stop + 1 };
      begin = stop + 1;
    }
    rest = held.subarray(begin);
    at += begin;
  }
}

async function* readRange(file: FileHandle, { start, end }: { start: number; end: number }): AsyncGenerator<Buffer> {
  for (let at = start; at < end;) {
    const buffer = Buffer.alloc(Math.min(READ_BYTES, end - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new Error("the audit log became shorter while it was read");
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
