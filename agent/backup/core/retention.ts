// Which backups of a store are kept and which go. Pure: the same records, policy and time give the same answer. What goes is marked
// first and removed a day later. Nothing goes while something is not as it should be: a failed run, a clock that jumped, a listing
// that is shorter than what is known to be there. Rules and floors: behaviour.md, section 6.

import { type BackupRecord, isAhead, isComplete, isVerified } from "./backup-record.ts";
import { describeOtherMaker, type OtherMaker } from "./other-maker.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** `retention` of a manifest. Every backup that any rule wants is kept. */
export interface RetentionPolicy {
  /** Every backup of so many days, counted back from the newest one. */
  days: number;
  /** The last one of each of the newest so many days, weeks and months that have one, in UTC. */
  daily: number;
  weekly: number;
  monthly: number;
}

/** What is known of a store besides its records. */
export interface RetentionFacts {
  nowMs: number;
  /** False after a run or a verification that failed, until one succeeds. */
  lastRunGood: boolean;
  /** True when somebody has set the clock within a day, or it stands before the end of the last run. */
  clockDoubtful: boolean;
  /** How many records the last listing had, less those that were removed since; undefined for the first. */
  expected: number | undefined;
  /** Names of backups that a restore holds. */
  held?: readonly string[];
  /** Somebody else's backup among this node's: whose data is the older one nobody knows. */
  other?: OtherMaker | undefined;
}

/** What retention answers. */
export type RetentionPlan =
  /** `isShort`: for a listing that has fewer than are known, which is said once and taken as it is the next time. */
  | { kind: "stand-still"; why: string; isShort: boolean }
  | {
      kind: "plan";
      /** Why each one is kept, by name. */
      kept: ReadonlyMap<string, readonly string[]>;
      /** Marked now, removed by a run at least `EXPIRE_AFTER_MS` later. */
      expire: readonly string[];
      /** Marked long enough: their data goes now, their record last. */
      remove: readonly string[];
      /** Marked, and wanted again: a policy that was widened, a pin. */
      unmark: readonly string[];
      /** So many more would go, and wait for the next runs. */
      deferred: number;
    };

const DAY_MS = 86_400_000;
/** Between the mark and the removal: a person can still take the mark away. */
export const EXPIRE_AFTER_MS = DAY_MS;
/** So many verified ones are never removed, whatever the policy says. */
const VERIFIED_FLOOR = 3;
/** A run marks no more than the larger of these. */
const MOST_AT_ONCE = 3;
const MOST_SHARE = 0.25;

/** Plans what is kept and what goes. */
export function planRetention(
  records: readonly BackupRecord[],
  policy: RetentionPolicy,
  facts: RetentionFacts,
): RetentionPlan {
  const why = findDoubt(records, policy, facts);
  if (why !== undefined) return { kind: "stand-still", why, isShort: false };
  if (facts.expected !== undefined && records.length < facts.expected) {
    const counted = `${records.length} of ${describeCount(facts.expected, "backup")}`;
    const short = `the listing has ${counted}: it is not whole, or somebody else removed some`;
    return { kind: "stand-still", why: short, isShort: true };
  }
  const newestFirst = records.toSorted(compareNewest);
  // A mark says what was decided and not what is wanted now.
  const kept = listReasons(
    newestFirst.map(({ expiringMs: _mark, ...record }) => record),
    policy,
    facts,
  );
  const marked = newestFirst.filter(({ expiringMs }) => expiringMs !== undefined);
  // What is set aside is neither a backup to count on nor removed by itself: a person decides.
  const going = newestFirst.filter(
    ({ name, expiringMs, quarantined }) => !kept.has(name) && expiringMs === undefined && quarantined === undefined,
  );
  const most = Math.max(MOST_AT_ONCE, Math.floor(records.length * MOST_SHARE));
  const oldestFirst = going.toReversed();
  return {
    kind: "plan",
    kept,
    expire: oldestFirst.slice(0, most).map(({ name }) => name),
    remove: marked
      .filter(({ name, expiringMs = facts.nowMs }) => !kept.has(name) && facts.nowMs - expiringMs >= EXPIRE_AFTER_MS)
      .map(({ name }) => name),
    unmark: marked.filter(({ name }) => kept.has(name)).map(({ name }) => name),
    deferred: Math.max(0, oldestFirst.length - most),
  };
}

function findDoubt(
  records: readonly BackupRecord[],
  { days, daily, weekly, monthly }: RetentionPolicy,
  { nowMs, lastRunGood, clockDoubtful, other }: RetentionFacts,
): string | undefined {
  if (days + daily + weekly + monthly === 0) return "the policy keeps nothing: that is taken for a mistake";
  if (!lastRunGood) return "the last run or the last verification failed";
  if (clockDoubtful) return "the clock was set: what is old by it may be new, and a day is waited for";
  if (other !== undefined) return describeOtherMaker(other);
  const ahead = records.find((record) => isAhead(record, nowMs));
  if (ahead !== undefined) return `${ahead.name} is dated in the future: a clock is or was wrong`;
  return undefined;
}

/** By time, then by name, so that the answer does not hang on the order of a listing. */
function compareNewest(one: BackupRecord, other: BackupRecord): number {
  return other.startedMs - one.startedMs || (one.name < other.name ? 1 : -1);
}

/** Everything that is kept, and why. */
function listReasons(
  newestFirst: readonly BackupRecord[],
  policy: RetentionPolicy,
  { nowMs, held = [] }: RetentionFacts,
): Map<string, string[]> {
  const kept = new Map<string, string[]>();
  const keep = (record: BackupRecord | undefined, reason: string): void => {
    if (record !== undefined) kept.set(record.name, [...(kept.get(record.name) ?? []), reason]);
  };
  const complete = newestFirst.filter(isComplete);
  const verified = complete.filter(isVerified);
  keep(verified[0], "the newest verified one");
  keep(complete[0], "the newest complete one");
  for (const record of verified.slice(0, VERIFIED_FLOOR))
    keep(record, `one of the last ${VERIFIED_FLOOR} verified ones`);
  // Until a newer one is verified, nobody knows which of these can be restored.
  for (const record of complete) {
    if (record === verified[0]) break;
    keep(record, "newer than the newest verified one");
  }
  for (const record of newestFirst) {
    if ((record.pinnedUntilMs ?? 0) > nowMs) keep(record, "pinned");
    if ((record.keepUntilMs ?? 0) > nowMs) keep(record, "made before an update");
    if (held.includes(record.name)) keep(record, "a restore holds it");
  }
  const [newest] = complete;
  if (newest === undefined) return kept;
  for (const record of complete) {
    if (record.startedMs > newest.startedMs - policy.days * DAY_MS)
      keep(record, `of the last ${describeCount(policy.days, "day")}`);
  }
  for (const [count, bucket, nameBucket] of [
    [policy.daily, "day", nameDay],
    [policy.weekly, "week", nameWeek],
    [policy.monthly, "month", nameMonth],
  ] as const) {
    for (const winner of selectWinners(complete, nameBucket).slice(0, count))
      keep(winner, `the last one of its ${bucket}`);
  }
  return kept;
}

/** Of each bucket the newest verified one, else the newest complete one; the newest bucket first. */
function selectWinners(complete: readonly BackupRecord[], nameBucket: (ms: number) => string): BackupRecord[] {
  const buckets = Map.groupBy(complete, ({ startedMs }) => nameBucket(startedMs));
  return [...buckets.values()].flatMap((records) => records.find(isVerified) ?? records[0] ?? []);
}

function nameDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The Monday that an ISO week begins with. */
function nameWeek(ms: number): string {
  const weekday = (new Date(ms).getUTCDay() + 6) % 7;
  return nameDay(ms - weekday * DAY_MS);
}

function nameMonth(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7);
}
