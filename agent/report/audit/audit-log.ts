// The audit log on disk: append-only, hash-chained, one line for each mutation and act. A line is on disk (fdatasync) before
// an act is answered. On a full disk lines wait in memory, bounded, and are written when there is room again.

import { constants } from "node:fs";
import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { makeDirectory } from "../../host/files/make-directory.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { type AuditEntry, type AuditLine, chainEntry, EMPTY_HEAD, printLine } from "./audit-chain.ts";
import { segmentPath } from "../../host/files/audit-segments.ts";
import { recoverLog, writeHead } from "./audit-recover.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** The part of a file that the log works with; a test may hold one that is full. */
export type AuditFile = Pick<FileHandle, "appendFile" | "datasync" | "stat" | "truncate" | "read" | "close">;

/** What the log needs. */
export interface AuditOptions {
  path: string;
  clock: Clock;
  /** Called with what is wrong, and with undefined once it is right again. */
  onTrouble: (message: string | undefined) => void;
  openFile?: (path: string) => Promise<AuditFile>;
  /** A file of so many bytes is put aside, and the chain goes on in a new one. */
  rotateBytes?: number;
}

interface Waiting {
  entry: AuditEntry;
  atMs: number;
  /** Set for an act: it is refused when its line cannot be written at once. */
  settle: { written(line: AuditLine): void; failed(error: Error): void } | undefined;
}

const RETRY_MS = 5_000;
const MOST_WAITING = 10_000;
const ROTATE_BYTES = 32 * 2 ** 20;

/** Writes one audit log. */
export class AuditLog {
  readonly #options: AuditOptions;
  #file: AuditFile | undefined;
  #head = EMPTY_HEAD;
  #waiting: Waiting[] = [];
  #lost = 0;
  #writing: Promise<void> | undefined;
  #cancelRetry: CancelTimer | undefined;
  #closed = false;
  #trouble: string | undefined;

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  /** The newest line that is on disk. */
  get head(): { seq: number; hash: string } {
    return this.#head;
  }

  /** Opens the file and puts right what a crash has left, before the first line is due. */
  async open(): Promise<void> {
    try {
      await this.#openFile();
    } catch (error) {
      this.#giveBack([], error instanceof Error ? error : new Error(String(error)));
    }
    this.#begin();
  }

  /** Adds a line; it is written soon, or when the disk takes it. */
  append(entry: AuditEntry): void {
    if (this.#waiting.length >= MOST_WAITING) this.#lost += 1;
    else this.#waiting.push({ entry, atMs: this.#options.clock.nowMs(), settle: undefined });
    this.#begin();
  }

  /** Adds a line and resolves when it is on disk; rejects, and forgets it, when it cannot be written now. */
  record(entry: AuditEntry): Promise<AuditLine> {
    if (this.#closed) return Promise.reject(new Error("write audit log: it is closed"));
    return new Promise((written, failed) => {
      this.#waiting.push({ entry, atMs: this.#options.clock.nowMs(), settle: { written, failed } });
      this.#begin();
    });
  }

  /** Writes what waits, as far as the disk takes it, and closes the file. */
  async close(): Promise<void> {
    await this.#rest();
    this.#begin();
    await this.#rest();
    this.#closed = true;
    this.#cancelRetry?.();
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  /** Resolves once nothing is being written. */
  async #rest(): Promise<void> {
    for (let writing = this.#writing; writing !== undefined; writing = this.#writing) await writing;
  }

  #begin(): void {
    if (this.#closed || this.#writing !== undefined) return;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = undefined;
      // What was added while the last batch ended would else wait for the next line.
      if (this.#waiting.length > 0 && this.#cancelRetry === undefined) this.#begin();
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0 || this.#lost > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch);
        this.#tell(undefined);
      } catch (error) {
        this.#giveBack(batch, error instanceof Error ? error : new Error(String(error)));
        return;
      }
    }
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { file, size } = await this.#openSmall();
    let head = this.#head;
    const lines = batch.map(({ entry, atMs }) => {
      const line = chainEntry(entry, head, new Date(atMs).toISOString());
      head = line;
      return line;
    });
    const lost = this.#lost;
    if (lost > 0) {
      const entry: AuditEntry = {
        actor: { kind: "agent" },
        action: "audit-lost",
        what: { lines: lost },
        result: "failed",
      };
      const line = chainEntry(entry, head, new Date(this.#options.clock.nowMs()).toISOString());
      head = line;
      lines.push(line);
    }
    try {
      await file.appendFile(lines.map((line) => `${printLine(line)}\n`).join(""));
      await file.datasync();
    } catch (error) {
      // Half a batch must not stay: what comes next would follow a line that is not whole.
      await file.truncate(size).catch(() => this.#forgetFile());
      throw error;
    }
    this.#head = { seq: head.seq, hash: head.hash };
    this.#lost -= lost;
    for (const [index, { settle }] of batch.entries()) settle?.written(lines[index] as AuditLine);
    // The batch that follows at once writes it for both.
    if (this.#waiting.length === 0) await writeHead(this.#options.path, this.#head);
  }

  /** Opens the log; one that has grown large is put aside first, whole, under the number of its last line. */
  async #openSmall(): Promise<{ file: AuditFile; size: number }> {
    const { path, rotateBytes = ROTATE_BYTES } = this.#options;
    const opened = await this.#openFile();
    if (opened.size < rotateBytes || this.#head.seq === 0) return opened;
    await opened.file.datasync();
    await rename(path, segmentPath(path, this.#head.seq));
    return this.#openFile();
  }

  #giveBack(batch: readonly Waiting[], error: Error): void {
    for (const waiting of batch)
      waiting.settle?.failed(new Error(`write audit log: ${error.message}`, { cause: error }));
    this.#waiting = [...batch.filter(({ settle }) => settle === undefined), ...this.#waiting];
    for (const { settle } of this.#waiting) settle?.failed(new Error(`write audit log: ${error.message}`));
    this.#waiting = this.#waiting.filter(({ settle }) => settle === undefined);
    const held = this.#waiting.length + this.#lost;
    this.#tell(
      `the audit log cannot be written: ${error.message}; ${describeCount(held, "line waits", "lines wait")}, and no act is taken until it can`,
    );
    if (!this.#closed) this.#cancelRetry = this.#options.clock.after(RETRY_MS, () => this.#begin());
  }

  #tell(trouble: string | undefined): void {
    if (trouble === undefined && this.#trouble === undefined) return;
    this.#trouble = trouble;
    this.#options.onTrouble(trouble);
  }

  #forgetFile(): void {
    void this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  /** Opens the log and finds its head; a file that was taken away under us is begun anew, and the chain shows the gap. */
  async #openFile(): Promise<{ file: AuditFile; size: number }> {
    const { path } = this.#options;
    if (this.#file !== undefined) {
      const [ours, named] = await Promise.all([this.#file.stat(), stat(path).catch(() => undefined)]);
      if (named?.ino === ours.ino) return { file: this.#file, size: ours.size };
      this.#forgetFile();
    }
    await makeDirectory(dirname(path), 0o700);
    const file = await (this.#options.openFile ?? openForAppend)(path);
    // A log that vanished while we ran goes on from the line we wrote last: the chain shows the gap.
    const { head, entries } = await recoverLog(file, path, this.#options.clock.nowMs());
    if (head.seq > this.#head.seq) this.#head = head;
    const atMs = this.#options.clock.nowMs();
    this.#waiting.unshift(...entries.map((entry) => ({ entry, atMs, settle: undefined })));
    this.#file = file;
    return { file, size: (await file.stat()).size };
  }
}

function openForAppend(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
  return open(path, flags, 0o600);
}
