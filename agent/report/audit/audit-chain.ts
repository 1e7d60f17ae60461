// The audit log's chain: each line holds the hash of the one before it and its own, so that no line can be edited, removed,
// inserted or moved unseen. Pure. Written by audit-log.ts, walked by `orca audit verify`.

import type { AuditHead } from "../../../shared/document/audit-head.ts";
import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";

/** Who did it: a commit, a local user by the kernel's word, or the agent by itself. */
export type AuditActor =
  /** `signer` is the trusted key that vouched for it, `approval` the tag that let it in and who made it. */
  | { kind: "commit"; revision?: string; author?: string; committer?: string; signer?: string; approval?: string }
  | { kind: "user"; uid: number; user?: string }
  | { kind: "agent"; revision?: string };

/** What is recorded of one mutation or act. Plain data, no secret, no file content. */
export interface AuditEntry {
  actor: AuditActor;
  /** A kind of step, or what a person asked for. */
  action: string;
  what: { service?: string; container?: string; [parameter: string]: unknown };
  cause?: string;
  /** The value before, where there is one. */
  from?: unknown;
  result: "ok" | "failed";
  message?: string;
}

/** One line of the log. */
export interface AuditLine extends AuditEntry {
  seq: number;
  /** ISO 8601, UTC. */
  at: string;
  prev: string;
  hash: string;
}

/** The head of an empty log. */
export const EMPTY_HEAD: AuditHead = { seq: 0, hash: "0".repeat(64) };

/** Makes the line that follows a head. */
export function chainEntry(entry: AuditEntry, head: AuditHead, at: string): AuditLine {
  const line = { ...makeCanonical(entry), seq: head.seq + 1, at, prev: head.hash };
  return { ...line, hash: hashLine(line) };
}

/** Canonical JSON knows no half of a surrogate pair (a message that was cut) and no NaN; one such must not stop the log. */
function makeCanonical(entry: AuditEntry): AuditEntry {
  return JSON.parse(JSON.stringify(entry), (_key, value: unknown) =>
    typeof value === "string" ? value.toWellFormed() : value,
  ) as AuditEntry;
}

/** The text of a line: canonical JSON, so that not even a space can be changed unseen. */
export function printLine(line: AuditLine): string {
  return canonicalJson(line);
}

function hashLine(line: Omit<AuditLine, "hash">): string {
  return sha256(canonicalJson(line));
}

function parseJson(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as AuditLine | null;
    return typeof line === "object" && line !== null && !Array.isArray(line) ? line : undefined;
  } catch {
    return undefined;
  }
}

function checkItself(line: AuditLine, text: string): string | undefined {
  const { hash, ...rest } = line;
  try {
    if (hash !== hashLine(rest)) return "its content is not what its hash says: it was edited";
    if (canonicalJson(line) === text) return undefined;
  } catch {
    // A number or text that canonical JSON does not know: no agent has written it.
  }
  return "it is not written as the agent writes: it was edited";
}

/** What a walk along the chain found. */
export type AuditVerdict =
  | { ok: true; head: AuditHead }
  /** `line` counts from 1. */
  | { ok: false; line: number; message: string };

/** Walks the chain line by line, in constant memory. */
export class ChainWalk {
  #head = EMPTY_HEAD;
  #count = 0;
  #broken: { line: number; message: string } | undefined;
  readonly #anchors: AuditHead[];

  /** @param anchors heads known from elsewhere: each must be on the chain, or lines were cut off its end */
  constructor(anchors: readonly AuditHead[] = []) {
    this.#anchors = anchors.filter((anchor) => anchor.seq > 0);
  }

  /** Takes the next line, without its line break; false when the chain is broken and the rest says nothing. */
  push(text: string): boolean {
    if (this.#broken !== undefined) return false;
    this.#count += 1;
    const message = this.#check(text);
    if (message === undefined) return true;
    this.#broken = { line: this.#count, message };
    return false;
  }

  /** Ends the walk. */
  end(): AuditVerdict {
    if (this.#broken !== undefined) return { ok: false, ...this.#broken };
    const missing = this.#anchors.find((anchor) => anchor.seq > this.#head.seq);
    if (missing === undefined) return { ok: true, head: this.#head };
    const message = `line ${missing.seq} was written and is not there: the log ends with line ${this.#head.seq}`;
    return { ok: false, line: this.#count + 1, message };
  }

  #check(text: string): string | undefined {
    const line = parseJson(text);
    if (line === undefined) return "it is no line of an audit log";
    const own = checkItself(line, text);
    if (own !== undefined) return own;
    const { seq, prev, hash } = line;
    if (seq !== this.#head.seq + 1)
      return `its number is ${seq} and should be ${this.#head.seq + 1}: lines were removed, inserted or moved before it`;
    if (prev !== this.#head.hash) return "it does not follow the line before it: lines were removed, inserted or moved";
    this.#head = { seq, hash };
    const anchor = this.#anchors.find((entry) => entry.seq === seq);
    return anchor === undefined || anchor.hash === hash
      ? undefined
      : "another line with this number was written before: the log was written anew";
  }
}
