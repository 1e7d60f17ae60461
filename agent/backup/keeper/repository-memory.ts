// What is remembered of each repository of a store, and what follows from it: whether a run has succeeded and what a person is told of
// it, which repository is proved next, what retention is told. Pure.

import type { BackupRun, RepositoryPlan, RepositoryRun, StorePlan } from "../../../shared/state/backup.ts";
import { growDelayMs } from "../../../shared/state/backoff.ts";
import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { type BackupRecord, isAhead } from "../core/backup-record.ts";
import type { OtherMaker } from "../core/other-maker.ts";
import type { ChildAnswer } from "../backup-exchange.ts";
import type { RepositoryMemory, StoreMemory } from "./backup-state.ts";
import type { RetentionInput } from "../keep-few.ts";

/** What came of a run, from what the child says and from the repositories that it was not even told of. */
export function judgeRun(
  plan: StorePlan,
  answer: ChildAnswer,
  unusable: readonly RepositoryRun[],
): Pick<BackupRun, "made" | "reason" | "repositories" | "quarantined"> {
  if (answer.kind !== "made") {
    const reasons = [answer.kind === "failed" ? answer.reason : "no answer", ...unusable.map(describeOutcome)];
    const reason = unusable.length === plan.repositories.length ? reasons.slice(1).join("; ") : reasons.join("; ");
    return { reason, repositories: plan.repositories.map(({ name }) => ({ repository: name, reason })) };
  }
  const outcomes = new Map([...answer.repositories, ...unusable].map((outcome) => [outcome.repository, outcome]));
  const repositories = plan.repositories.map(
    ({ name }) => outcomes.get(name) ?? { repository: name, reason: "nothing is known of it" },
  );
  const { name: made, quarantined } = answer.record;
  const failed = repositories.filter(({ reason }) => reason !== undefined);
  if (repositories.length - failed.length >= plan.minSuccess) return { made, repositories, quarantined };
  const have = describeCount(repositories.length - failed.length, "repository has", "repositories have");
  const reason = `${have} ${made}, and min_success is ${plan.minSuccess}: ${failed.map(describeOutcome).join("; ")}`;
  return { reason, repositories, quarantined };
}

function describeOutcome({ repository, reason }: RepositoryRun): string {
  return `${repository}: ${reason ?? ""}`;
}

/** Notes a run. */
export function noteRun(plan: StorePlan, memory: StoreMemory, run: BackupRun): StoreMemory {
  const counts = run.made !== undefined && run.quarantined === undefined;
  return {
    ...memory,
    ...(counts ? { madeMs: run.startedMs } : {}),
    accountedMs: run.startedMs,
    lastRun: { ...run },
    repositories: noteRepositories(plan, memory, run),
  };
}

/** So many names are remembered of what was made: more than lie between two looks. */
const MOST_NAMES = 16;

/** Notes the name of a backup that lies in a repository now, also where too few have it. */
export function noteName(memory: StoreMemory, answer: ChildAnswer): StoreMemory {
  if (answer.kind !== "made") return memory;
  return { ...memory, names: [...(memory.names ?? []), answer.record.name].slice(-MOST_NAMES) };
}

/** Notes a run for each repository. */
function noteRepositories(
  plan: StorePlan,
  memory: StoreMemory,
  { repositories = [] }: BackupRun,
): Record<string, RepositoryMemory> {
  const entries = plan.repositories.map((repository) => {
    const { reason: _before, copies: _copies, ...own } = readRepository(memory, repository);
    const outcome = repositories.find((entry) => entry.repository === repository.name);
    return [repository.name, outcome?.reason === undefined ? own : { ...own, reason: outcome.reason }];
  });
  return Object.fromEntries(entries) as Record<string, RepositoryMemory>;
}

/** The first try to make up for a copy, before a run that failed for it makes another dump; and the longest time between two. */
const COPY_AFTER_MS = 120_000;
const MOST_COPY_MS = 7_200_000;

/** When the last backup is copied to a repository that did not get it; undefined where all have it, or none. */
export function findCopyDue(
  { repositories }: StorePlan,
  memory: StoreMemory,
): { repository: RepositoryPlan; atMs: number } | undefined {
  const { lastRun } = memory;
  if (lastRun?.repositories?.some(({ reason }) => reason === undefined) !== true) return undefined;
  const due = repositories.flatMap((repository) => {
    const { reason, copies } = readRepository(memory, repository);
    if (reason === undefined) return [];
    const waitMs = growDelayMs({ initialMs: COPY_AFTER_MS, maxMs: MOST_COPY_MS }, copies?.tries ?? 0);
    return [{ repository, atMs: (copies?.atMs ?? lastRun.endedMs) + waitMs }];
  });
  return due.toSorted((one, other) => one.atMs - other.atMs)[0];
}

/** Notes a copy that was made up for: the run is what it would have been with it. */
export function noteCopy(plan: StorePlan, memory: StoreMemory, { repository, backup }: CopyDone): StoreMemory {
  const { reason: _reason, copies: _copies, kept: _kept, ...own } = readRepository(memory, repository);
  const noted = setRepository(memory, repository, own);
  const { lastRun } = memory;
  if (lastRun === undefined) return noted;
  const repositories = (lastRun.repositories ?? []).map((entry) =>
    entry.repository === repository.name ? { repository: entry.repository } : entry,
  );
  const have = repositories.filter(({ reason }) => reason === undefined).length;
  if (lastRun.made !== undefined || have < plan.minSuccess) return { ...noted, lastRun: { ...lastRun, repositories } };
  const { reason: _before, ...run } = lastRun;
  const madeMs = run.quarantined === undefined ? { madeMs: run.startedMs } : {};
  return { ...noted, ...madeMs, lastRun: { ...run, made: backup, repositories } };
}

interface CopyDone {
  repository: RepositoryPlan;
  backup: string;
}

/** What is remembered of one; an earlier version knew `local` alone. */
export function readRepository(memory: StoreMemory, { name }: RepositoryPlan): RepositoryMemory {
  const known = memory.repositories?.[name];
  if (known !== undefined) return known;
  const { expected } = memory;
  return name === "local" && memory.repositories === undefined ? { expected } : {};
}

/** True where backups are known to lie in one. */
export function hasBackups(memory: StoreMemory | undefined, repository: RepositoryPlan): boolean {
  if (memory === undefined) return false;
  return (readRepository(memory, repository).expected ?? 0) > 0 || memory.goodMs?.[repository.name] !== undefined;
}

/** With what is remembered of one put in place. */
export function setRepository(memory: StoreMemory, { name }: RepositoryPlan, own: RepositoryMemory): StoreMemory {
  return { ...memory, repositories: { ...memory.repositories, [name]: own } };
}

/** Notes whose backups lie among this node's own in one, or that nobody's do any more. */
export function noteOther(memory: StoreMemory, repository: RepositoryPlan, other: OtherMaker | undefined): StoreMemory {
  const { other: before, ...own } = readRepository(memory, repository);
  if (other === undefined && before === undefined) return memory;
  return setRepository(memory, repository, other === undefined ? own : { ...own, other });
}

/** Notes how many backups in one are of a machine that had lost its place by then. */
export function noteForeign(
  memory: StoreMemory,
  repository: RepositoryPlan,
  records: readonly BackupRecord[] = [],
): StoreMemory {
  const { foreign: before, ...own } = readRepository(memory, repository);
  const [newest] = records;
  if (newest === undefined && before === undefined) return memory;
  const foreign = newest && { count: records.length, backup: newest.name };
  return setRepository(memory, repository, foreign === undefined ? own : { ...own, foreign });
}

/**
 * Notes whether the newest backup is set aside.
 * @param isWhole every repository was read: what is not among the records is gone
 */
export function noteSetAside(
  { setAside: known, ...memory }: StoreMemory,
  records: readonly BackupRecord[],
  { isWhole, nowMs }: { isWhole: boolean; nowMs: number },
): StoreMemory {
  const newest = records
    .filter((record) => !isAhead(record, nowMs))
    .toSorted((one, other) => other.startedMs - one.startedMs)[0];
  const isNewer = newest !== undefined && newest.startedMs >= (known?.startedMs ?? 0);
  if (!isWhole && !isNewer) return known === undefined ? memory : { ...memory, setAside: known };
  if (newest?.quarantined === undefined) return memory;
  const { name: backup, startedMs, quarantined: reason } = newest;
  return { ...memory, setAside: { backup, startedMs, reason } };
}

/** The repository that is proved next: each has its turn. */
export function chooseProved(plan: StorePlan, last: string | undefined): RepositoryPlan | undefined {
  const at = plan.repositories.findIndex(({ name }) => name === last);
  return plan.repositories[(at + 1) % plan.repositories.length];
}

/** What retention is told of one repository, but the time. */
export function buildRetention(
  plan: StorePlan,
  { lastRun, lastVerify }: StoreMemory,
  own: RepositoryMemory,
): Omit<RetentionInput, "nowMs" | "clockSet"> {
  return {
    policy: plan.retention,
    lastRunGood: lastRun?.reason === undefined && own.reason === undefined && lastVerify?.verdict !== "bad",
    lastRunEndedMs: lastRun?.endedMs ?? 0,
    expected: own.expected,
  };
}

/** What a person is told of a run: why it made nothing, what to do about it, what is odd about what it made. */
export function describeRun(answer: ChildAnswer): Pick<BackupRun, "reason" | "advice" | "warning" | "hooks"> {
  if (answer.kind === "failed") return { reason: answer.reason, advice: answer.advice };
  if (answer.kind !== "made") return { reason: "no answer" };
  const { record, warning } = answer;
  const said = record.files.flatMap((file) => file.warning ?? []);
  return {
    ...(said.length === 0 ? {} : { warning: said.join("; ") }),
    ...(warning === undefined ? {} : { hooks: warning }),
  };
}

/** What a restore is held against, by its hash: the same until somebody changes it in Git. */
export function nameExpectations({ verify }: StorePlan): string {
  const { extensions = [], schemas = [], queries = [], allowed = [], image } = verify ?? {};
  return sha256(canonicalJson({ extensions, schemas, queries, allowed, image })).slice(0, 16);
}

/** True where the last proof did not go well, and what it was held against is another thing by now: it is judged anew. */
export function isMended(plan: StorePlan, { lastVerify }: StoreMemory): boolean {
  const { verdict = "good", expects } = lastVerify ?? {};
  return verdict !== "good" && expects !== undefined && expects !== nameExpectations(plan);
}

/** True where the child has ended without an answer, and has cleaned up nothing. */
export function isCutOff(answer: ChildAnswer): boolean {
  return answer.kind === "failed" && answer.cutOff === true;
}

/** Notes what went wrong after the last run. */
export function addFault(memory: StoreMemory, fault: string | undefined): StoreMemory {
  const { lastRun } = memory;
  if (lastRun === undefined || fault === undefined) return memory;
  const before = lastRun.reason === undefined ? "" : `${lastRun.reason}; `;
  return { ...memory, lastRun: { ...lastRun, reason: `${before}hook after it: ${fault}` } };
}

/** Notes what is odd after the last run, whatever came of that. */
export function addWarning(memory: StoreMemory, words: string): StoreMemory {
  const { lastRun } = memory;
  if (lastRun === undefined) return memory;
  const before = lastRun.warning === undefined ? "" : `${lastRun.warning}; `;
  return { ...memory, lastRun: { ...lastRun, warning: `${before}${words}` } };
}

/** The same store, of which nothing is run in the service. */
export function withoutHooks(plan: StorePlan): StorePlan {
  return { ...plan, source: { ...plan.source, hooks: { before: [], after: [] } } };
}
