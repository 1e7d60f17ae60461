// The longest time between two runs of a schedule, in UTC. Pure: a fixed year is looked at, since what matters are the
// gaps and not today. The time of day and the day are looked at apart, so that a cron costs at most about 1,800 steps.

import { Cron } from "croner";

import { type Schedule, UTC_CRON } from "../../../shared/manifest/schedule.ts";

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** A year without a leap day that begins no earlier than croner's own calendar; 366 days of it see every yearly date. */
const YEAR_START_MS = Date.UTC(2025, 0, 1);
const YEAR_DAYS = 366;

/** What counts as never. */
const NEVER_DAYS = 10 * YEAR_DAYS;

const dayGaps = new Map<string, number>();
const dayTimes = new Map<string, DayTimes>();

/** Both tables stay small in any real repository; a hostile one empties them instead of filling the memory. */
const MOST_REMEMBERED = 10_000;

/**
 * The longest time between two runs.
 * @param schedule as `parseSchedule` gives it; one that never runs again, or is no schedule, counts as ten years
 * @returns milliseconds
 */
export function findLongestGapMs(schedule: Schedule | string): number {
  if (typeof schedule === "string" || schedule.kind === "once") return NEVER_DAYS * DAY_MS;
  if (schedule.kind === "every") return schedule.everyMs;
  const fields = schedule.pattern.trim().split(/\s+/);
  const times = remember(dayTimes, fields.slice(0, 2).join(" "), findDayTimes);
  const days = remember(dayGaps, fields.slice(2).join(" "), findLongestDayGap);
  const overnightMs = days * DAY_MS - times.lastMs + times.firstMs;
  return Math.max(times.longestMs, overnightMs);
}

/**
 * What a run and its jitter are allowed: a tenth of the interval, at least 15 minutes and at most two hours. A dump takes
 * no longer because it is made weekly.
 */
export function allowForRun(gapMs: number): number {
  return Math.min(Math.max(Math.ceil(gapMs / 10), 15 * MINUTE_MS), 2 * HOUR_MS);
}

function remember<T>(table: Map<string, T>, key: string, find: (key: string) => T): T {
  const known = table.get(key);
  if (known !== undefined) return known;
  if (table.size >= MOST_REMEMBERED) table.clear();
  const found = find(key);
  table.set(key, found);
  return found;
}

/** The runs of one day: the first and the last, after midnight, and the longest time between two of them. */
interface DayTimes {
  firstMs: number;
  lastMs: number;
  longestMs: number;
}

function findDayTimes(minuteAndHour: string): DayTimes {
  const cron = new Cron(`${minuteAndHour} * * *`, UTC_CRON);
  let at = cron.nextRun(new Date(YEAR_START_MS - 1_000))?.getTime() ?? YEAR_START_MS;
  const firstMs = at - YEAR_START_MS;
  let longestMs = 0;
  for (;;) {
    const next = cron.nextRun(new Date(at))?.getTime();
    if (next === undefined || next >= YEAR_START_MS + DAY_MS) return { firstMs, lastMs: at - YEAR_START_MS, longestMs };
    longestMs = Math.max(longestMs, next - at);
    at = next;
  }
}

/** In days. The last gap may reach beyond the year, to the first run after it. */
function findLongestDayGap(dayMonthWeekday: string): number {
  if (dayMonthWeekday === "* * *") return 1;
  const cron = new Cron(`0 0 ${dayMonthWeekday}`, UTC_CRON);
  const next = (afterMs: number): number | undefined => cron.nextRun(new Date(afterMs))?.getTime();
  const first = next(YEAR_START_MS - 1_000);
  if (first === undefined) return NEVER_DAYS;
  // A date that comes less than yearly is met once: the wait for it is the least that its gap can be.
  let longest = first >= YEAR_START_MS + YEAR_DAYS * DAY_MS ? (first - YEAR_START_MS) / DAY_MS : 0;
  for (let at = first; at < YEAR_START_MS + YEAR_DAYS * DAY_MS;) {
    const following = next(at);
    if (following === undefined) return NEVER_DAYS;
    longest = Math.max(longest, (following - at) / DAY_MS);
    at = following;
  }
  return longest;
}
