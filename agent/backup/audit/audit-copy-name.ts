// What a copy of a piece of the audit log is called in a repository: by the day, the log, its lines and the last one of them. The names alone
// say what a repository has, and none is ever used twice. Pure.

import { sha256 } from "../../../shared/state/identity.ts";

/** One piece of a log, as its name tells it. */
export interface AuditCopyName {
  /** What the log begins with, as `markLine` says it: a node that was built anew begins another one. */
  log: string;
  /** The numbers of its first and its last line. */
  from: number;
  to: number;
  /** Its last line, as `markLine` says it. */
  last: string;
}

/** So many digits sort as numbers do. */
const DIGITS = 12;
const MARK_LENGTH = 12;
const NAME = /^audit-\d{8}-([0-9a-f]{12})-(\d{12})-(\d{12})-([0-9a-f]{12})\.jsonl(?:\.age)?$/;

/** Tells a line from every other one: the beginning of the SHA-256 of its text. */
export function markLine(text: string): string {
  return sha256(text).slice(0, MARK_LENGTH);
}

/** The name of a copy that is made now; `.age` where it is encrypted. */
export function nameAuditCopy(
  { log, from, to, last }: AuditCopyName,
  { nowMs, encrypted }: { nowMs: number; encrypted: boolean },
): string {
  const day = new Date(nowMs).toISOString().slice(0, 10).replaceAll("-", "");
  const [first, end] = [from, to].map((seq) => String(seq).padStart(DIGITS, "0"));
  return `audit-${day}-${log}-${first}-${end}-${last}.jsonl${encrypted ? ".age" : ""}`;
}

/** What a name says; undefined for one that is no copy's. */
export function parseAuditCopy(name: string): AuditCopyName | undefined {
  const [, log, from, to, last] = NAME.exec(name) ?? [];
  if (log === undefined || from === undefined || to === undefined || last === undefined) return undefined;
  return { log, from: Number(from), to: Number(to), last };
}
