// The sentence of a reason (shared/state/reason.ts): the one place that words them. Pure.

import { findCode, type Missing, type Reason, type Said, type StateReason } from "../state/reason.ts";
import { describeRefusals } from "../secret/secret-refusal.ts";
import { CAUSE_WORDS } from "./words/cause-words.ts";
import { describeCaps } from "./describe-caps.ts";
import { describeDuration } from "./duration.ts";
import { OBJECTION_WORDS } from "./words/objection-words.ts";
import { START_WORDS } from "./words/start-words.ts";
import { describeMinute, type Words, type WordTable } from "./words/word-table.ts";
import { describeCount } from "./count.ts";

/** Words what somebody said; what a container printed is left out, unless whoever reads it may see that. */
export function describeSaid({ message, output }: Said, withOutput: boolean): string {
  return withOutput && output !== undefined ? `${message}: ${output}` : message;
}

/**
 * Words a reason as it reads at a time.
 * @param withOutput whether whoever reads it may see what a container printed
 */
export function describeReason(reason: Reason, nowMs: number, withOutput = false): string {
  return wordReason(reason, { nowMs, withOutput, isColumn: false });
}

/** True for what this version can word: a reason that was stored may be a later version's. */
export function canDescribe(value: unknown): value is Reason {
  const isKnown = (part: unknown): boolean => {
    if (typeof part !== "object" || part === null) return true;
    const { code } = part as { code?: unknown };
    // Problems of manifests have codes of their own, and a severity.
    const isReason = typeof code === "string" && !("severity" in part);
    return (!isReason || Object.hasOwn(WORDS, code)) && Object.values(part).every(isKnown);
  };
  return typeof value === "object" && value !== null && "code" in value && isKnown(value);
}

/** Words a reason for a column that is headed by what is waited for. */
export function describeWaiting(reason: Reason, nowMs: number): string {
  return wordReason(reason, { nowMs, withOutput: false, isColumn: findCode(reason) === "waiting-for" });
}

function wordReason(reason: Reason, how: { nowMs: number; withOutput: boolean; isColumn: boolean }): string {
  const said = (part: Said): string => describeSaid(part, how.withOutput);
  const of = (inner: Reason): string => {
    const word = WORDS[inner.code] as (reason: Reason, words: Words) => string;
    return word(inner, words);
  };
  const missing = (all: readonly Missing[]): string =>
    all.map(({ target, why }) => `${target} (${of(why)})`).join(", ");
  const age = (sinceMs: number): string => describeDuration(how.nowMs - sinceMs);
  const wait = (untilMs: number): string => describeDuration(untilMs - how.nowMs);
  const words = { of, said, missing, age, wait, isColumn: how.isColumn };
  return of(reason);
}

const STATE_WORDS: WordTable<StateReason> = {
  said: ({ said }, words) => words.said(said),
  "engine-silent": ({ said }, words) => `the engine does not answer: ${words.said(said)}`,
  "plan-fault": ({ message }) => `planning failed: ${message}`,
  objected: ({ why }, { of }) => of(why),
  pulling: ({ image, now: { progress } }) => `pulling ${image}${progress === undefined ? "" : `, ${progress}`}`,
  "under-way": ({ kind, why }, { of }) => `${kind}: ${of(why)}`,
  stopping: ({ why }, { of }) => `stopping: ${of(why)}`,
  "made-ready": ({ why }, { of }) => `its container is being made ready: ${of(why)}`,
  "left-as-it-is": ({ why }, { of }) => `its container is left as it is: ${of(why)}`,
  "not-made-again": ({ why }, { of }) => `no container of it is made: ${of(why)}`,
  paused: ({ uid, running }) => `paused by uid ${uid}, ${running ? "it runs" : "it does not run"}; orca resume ends it`,
  "stopped-by": ({ uid }) => `stopped by uid ${uid}, until orca start, orca resume or a new manifest`,
  "copied-cold": ({ store }) => `stopped while its backup ${store} copies its volumes, and started again after it`,
  replaced: ({ spare, term }) => `${spare} stands in this node's place (takeover ${term})`,
  "failed-before": ({ why, said }, words) => addOnce(words.of(why), ": ", words.said(said)),
  "runs-and-failed": ({ shown, why, said }, words) =>
    `${words.of(shown)}; ${addOnce(words.of(why), ": ", words.said(said))}`,
  failed: ({ said, holder }, words) =>
    holder === undefined ? words.said(said) : `${words.said(said)}; ${words.of(holder)}`,
  "not-restarted": ({ why, obstacle }, { of }) =>
    `${of(why)}; it is not restarted, since it could not start: ${of(obstacle)}`,
  "starts-anew-later": ({ why, cause, held }, { of }) =>
    `${of(why)}; it starts anew (${of(cause)}) when it may: ${of(held)}`,
  settling: ({ now: { sinceMs, untilMs } }, { age, wait }) =>
    `healthy for ${age(sinceMs)}, settled in ${wait(untilMs)}`,
  "not-recorded": ({ said }, words) =>
    `not recorded as good: ${said === undefined ? "not probed again yet" : words.said(said)}`,
  "cap-lowered-later": ({ wanted, now: { usedBytes } }) =>
    `the memory cap is lowered at the next start: ${Math.round(usedBytes / 2 ** 20)} MiB are in use, ` +
    `more than 90 % of ${describeCaps(wanted)}`,
  "own-data": ({ target, volume }) =>
    `the data at ${target} is in no volume of its manifest: its image keeps it in a VOLUME of its own (${volume.slice(0, 12)}); ` +
    'a change that needs a new container is held until [[volumes]] covers it, or backup = { none = "…" } says that losing it is fine',
  "without-effect": ({ times, why }, { of }) =>
    `the same steps were done ${describeCount(times, "time")} without effect: ${of(why)}`,
  "takes-its-place": ({ revision }) => `${revision} takes its place`,
  "not-settled-within": ({ revision, withinMs, why }, { of }) =>
    `${revision} did not settle within ${describeDuration(withinMs)}: ${of(why)}`,
  "ended-often": ({ exitCode, now: { restarts } }) =>
    `it ended with exit code ${exitCode} (${describeCount(restarts, "restart")})`,
  "still-taken-apart": ({ exitCode = "unknown" }) =>
    `it ended with exit code ${exitCode}, and the engine still takes its container apart`,
  "does-not-run": () => "it does not run",
  "no-rule": () => "no rule applies",
  "asked-for": () => "it was asked for",
  "job-running": ({ now: { sinceMs } }, { age }) => `running for ${age(sinceMs)}`,
  "job-skipped": ({ now: { times } }) =>
    `${describeCount(times, "time was", "times were")} skipped: the run before was still going on`,
  "job-not-due": ({ nextMs }) => `it has not been due yet${describeNext(nextMs)}`,
  "job-ended": ({ dueMs, exitCode, tookMs, nextMs }) =>
    `the run of ${describeMinute(dueMs)} ended with exit code ${exitCode} after ${describeDuration(tookMs)}${describeNext(nextMs)}`,
  "now-named": ({ successor }) => `it is now ${successor} and serves until that one is ready to start`,
  removed: ({ now: { untilMs } }, { wait }) =>
    `it is no longer in Git; Orca keeps its container for ${wait(untilMs)}, in case it comes back, and its volumes for good`,
  "removal-over": () => "it is no longer in Git and its undo window has ended; its volumes stay",
  "not-started-again": ({ why }, { of }) =>
    `${of(why)}; its container runs on, and is not started again once it has ended`,
};

/** Adds what is not told yet: the reason for a step may be the failure that stands beside it. */
function addOnce(text: string, joint: string, more: string): string {
  return text.includes(more) ? text : `${text}${joint}${more}`;
}

function describeNext(nextMs: number | undefined): string {
  return nextMs === undefined ? "" : `; next run at ${describeMinute(nextMs)}`;
}

const WORDS: WordTable<Reason> = {
  ...CAUSE_WORDS,
  ...START_WORDS,
  ...OBJECTION_WORDS,
  ...STATE_WORDS,
  "rolled-back": ({ revision, uid, fault, over, why }, words) => {
    const back = `rolled back to ${revision}${uid === undefined ? "" : ` by uid ${uid}`}: ${words.of(fault)}`;
    const end = uid === undefined ? "orca sync --retry asks for it" : "orca resume takes that back";
    const held = over ? "" : `; what Git wants is held until its manifest changes or ${end}`;
    return `${back}${held}${why === undefined ? "" : `; ${words.of(why)}`}`;
  },
  objection: ({ objected, revision, state, why }, { of }) =>
    `${of(objected)}; its release ${revision} is ${state}: ${of(why)}`,
  "secrets-refused": ({ refusals, state, why }, { of }) => `${describeRefusals(refusals)}; it is ${state}: ${of(why)}`,
  beside: ({ why, again, failed, serving, ring }, words) => {
    const parts = [words.of(why)];
    const isTold = (said: string): boolean => parts.some((part) => part.includes(said));
    if (again !== undefined) {
      const said = words.said(again.said);
      parts.push(`try ${again.now.attempt + 2}${isTold(said) ? "" : `: the one before failed: ${said}`}`);
    }
    if (failed !== undefined && !isTold(words.said(failed))) parts.push(words.said(failed));
    if (serving !== undefined) parts.push(`${serving.revision} still runs (${serving.health ?? "not probed yet"})`);
    if (ring !== undefined) parts.push(`they wait for each other: ${ring.join(" → ")}`);
    return parts.join("; ");
  },
};
