// Schedules: `every 5h`, a five-field cron in UTC, or `@once` for jobs. Used by the schemas and by jobs; backups come later.

import { Cron } from "croner";

import { parseDuration } from "../text/duration.ts";

/** A parsed schedule. Crons are read in UTC, never in local time. */
export type Schedule = { kind: "every"; everyMs: number } | { kind: "cron"; pattern: string } | { kind: "once" };

/**
 * How croner reads a cron here. By an offset and not by the name of a zone: names are looked up in the runtime's calendar data, of
 * which 5 MiB would stay resident in an agent that has a single backup.
 */
export const UTC_CRON = { paused: true, utcOffset: 0 } as const;

/**
 * Parses a schedule.
 * @returns the schedule, or a text that says what is wrong
 */
export function parseSchedule(text: string): Schedule | string {
  if (text === "@once") return { kind: "once" };
  const every = /^every\s+(\S+)$/.exec(text);
  if (every !== null) {
    const everyMs = parseDuration(every[1] ?? "");
    if (everyMs === undefined) return `${JSON.stringify(every[1])} is not a duration`;
    return everyMs >= 60_000 ? { kind: "every", everyMs } : "the shortest interval is one minute";
  }
  if (text.trim().split(/\s+/).length !== 5) return "a cron has five fields: minute, hour, day, month, weekday";
  try {
    const next = new Cron(text, UTC_CRON).nextRun(new Date(0));
    return next === null ? "it never fires" : { kind: "cron", pattern: text };
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^CronPattern:\s*/, "") : String(error);
  }
}

/** The longest that one look into the future goes; a cron can name the 29th of February. */
const FAR_MS = 10 * 365 * 86_400_000;

/**
 * What was found of a cron, by itself and the moment that it was asked for. A plan that waits asks the same with each turn, and a yearly
 * cron takes some milliseconds of a core: ten of them were 0.06 % of one.
 */
const found = new Map<string, number>();

/** So many are remembered; a table that is full begins anew. */
const MOST_FOUND = 250;

/**
 * When a schedule is due next.
 * @param text a valid schedule that is not `@once`
 * @param afterMs milliseconds since the epoch; the answer is later than this
 */
export function findNextDue(text: string, afterMs: number): number {
  const key = `${afterMs} ${text}`;
  const known = found.get(key);
  if (known !== undefined) return known;
  const schedule = parseSchedule(text);
  if (typeof schedule === "string" || schedule.kind === "once") throw new TypeError(`${text} has no times`);
  if (schedule.kind === "every") return afterMs + schedule.everyMs;
  const next = new Cron(schedule.pattern, UTC_CRON).nextRun(new Date(afterMs));
  const dueMs = next === null ? afterMs + FAR_MS : next.getTime();
  if (found.size >= MOST_FOUND) found.clear();
  found.set(key, dueMs);
  return dueMs;
}
