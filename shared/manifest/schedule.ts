// Schedules: `every 5h`, a five-field cron in UTC, or `@once` for jobs. Used by the schemas and by jobs; backups come later.

import { Cron } from "croner";

import { parseDuration } from "../text/duration.ts";

/** A parsed schedule. Crons are read in UTC, never in local time. */
export type Schedule = { kind: "every"; everyMs: number } | { kind: "cron"; pattern: string } | { kind: "once" };

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
    const next = new Cron(text, { paused: true, timezone: "UTC" }).nextRun(new Date(0));
    return next === null ? "it never fires" : { kind: "cron", pattern: text };
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^CronPattern:\s*/, "") : String(error);
  }
}

/** The longest that one look into the future goes; a cron can name the 29th of February. */
const FAR_MS = 10 * 365 * 86_400_000;

/**
 * When a schedule is due next.
 * @param text a valid schedule that is not `@once`
 * @param afterMs milliseconds since the epoch; the answer is later than this
 */
export function findNextDue(text: string, afterMs: number): number {
  const schedule = parseSchedule(text);
  if (typeof schedule === "string" || schedule.kind === "once") throw new TypeError(`${text} has no times`);
  if (schedule.kind === "every") return afterMs + schedule.everyMs;
  const next = new Cron(schedule.pattern, { paused: true, timezone: "UTC" }).nextRun(new Date(afterMs));
  return next === null ? afterMs + FAR_MS : next.getTime();
}
