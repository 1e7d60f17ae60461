// A line of the log as people read it, made from the logger's own record: what it is about, what happened, why, and the rest in
// brackets. Pure. Where the journal takes it, its priority stands before it as sd-daemon(3) has it.

import { NODE_LANE } from "../../../shared/state/step.ts";
import { cutControlCharacters } from "../text/public-text.ts";

/** A record of the logger: its level, its time, its message and its fields. */
export type LogRecord = Readonly<Record<string, unknown>>;

const PRIORITIES: Readonly<Record<string, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

/** Whom a line is about, the first one that is there. */
const SUBJECTS = ["service", "lane", "peer"] as const;
/** Why, in words: they follow the message as they are. */
const CAUSES = ["reason", "error", "note", "said", "why", "cause"] as const;
const TOLD = new Set<string>(["level", "time", "msg", "state", "previous", ...SUBJECTS, ...CAUSES]);

/** The priority that the journal files a record under, as `<4>`; a level that is not known counts as information. */
export function describePriority(record: LogRecord): string {
  return `<${PRIORITIES[String(record["level"])] ?? 6}>`;
}

/** Describes a record in one line, without its time: `web: state changed: healthy → backoff: exit code 1 (revision 4f1c)`. */
export function describeRecord(record: LogRecord): string {
  const subject = SUBJECTS.flatMap((key) => toldAt(record, key))[0]?.replace(NODE_LANE, "node");
  const states = [...toldAt(record, "previous"), ...toldAt(record, "state")];
  const causes = CAUSES.flatMap((key) => toldAt(record, key));
  const rest = Object.entries(record).flatMap(([key, value]) => (TOLD.has(key) ? [] : describeField(key, value)));
  const parts = [subject, describeValue(record["msg"] ?? ""), states.join(" → "), ...causes];
  const sentence = parts.filter((part) => part !== undefined && part !== "").join(": ");
  return cutControlCharacters(`${sentence}${rest.length === 0 ? "" : ` (${rest.join(", ")})`}`);
}

/** Describes a record for a terminal or a file, which know neither time nor level. */
export function describeTimedRecord(record: LogRecord): string {
  return `${describeValue(record["time"])} ${describeValue(record["level"]).padEnd(5)} ${describeRecord(record)}`;
}

function toldAt(record: LogRecord, key: string): string[] {
  const value = record[key];
  return value === undefined || value === null || value === "" ? [] : [describeValue(value)];
}

function describeField(key: string, value: unknown): string[] {
  return value === undefined || value === null ? [] : [`${key} ${describeValue(value)}`];
}

function describeValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(describeValue).join(" ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
