// Whether a version on trial stays. Asked every two seconds by the judge, which is of the version before: what confirms itself would confirm
// every bad start. Pure: what was seen goes in, what to do comes out.

import { describeCount } from "../../../shared/text/count.ts";
import type { Trial } from "./trial.ts";

/** What the agent answered. */
export interface AgentLook {
  version: string;
  /** Which process: another one has begun anew. */
  run: string;
  /** True once a turn has read what is wanted and what runs, and the newest one has not failed. */
  reconciled: boolean;
  /** Peers that hold this start's word; undefined where its way does not tell. */
  heardBy: readonly string[] | undefined;
}

/** What the judge saw. */
export interface Look {
  /** The host's uptime. */
  nowMs: number;
  /** The version that the link names. */
  current: string | undefined;
  /** Undefined while it does not answer. */
  agent: AgentLook | undefined;
}

/** What it remembers from look to look, while it runs. */
export interface JudgeMemory {
  run: string | undefined;
  /** Since when that run is as it should be. */
  healthyMs: number | undefined;
  heardBy: string | undefined;
  /** When the agent was last restarted for another version than the link names. */
  restartedMs: number | undefined;
}

/** What to do. */
export type Verdict =
  | { kind: "wait" }
  /** The agent that runs is not of the version that the link names. */
  | { kind: "restart" }
  | { kind: "confirm"; said: string }
  | { kind: "back"; reason: string }
  /** There is nothing to judge: the trial is over without a word on the version. */
  | { kind: "over"; said: string };

/** So long it must be well, without a break. */
export const HEALTHY_MS = 60_000;
/** After so long it goes back. */
export const DEADLINE_MS = 150_000;
/** After a boot the engine and everything else start too. */
export const BOOT_DEADLINE_MS = 300_000;
/** The host went down so often without anybody wanting it. */
const MOST_UNCLEAN = 2;
const RESTART_EVERY_MS = 30_000;

export const EMPTY_JUDGE: JudgeMemory = {
  run: undefined,
  healthyMs: undefined,
  heardBy: undefined,
  restartedMs: undefined,
};

/** What the judge makes of the file when it begins: another boot is counted where nobody wanted it. */
export function beginJudging(trial: Trial, boot: string, nowMs: number): Trial {
  if (trial.boot === boot) return { ...trial, clean: false };
  const unclean = trial.boot === "" || trial.clean ? trial.unclean : trial.unclean + 1;
  return { ...trial, boot, sinceMs: nowMs, clean: false, unclean };
}

/** Judges one look. */
export function judgeTrial(
  trial: Trial,
  before: JudgeMemory,
  { nowMs, current, agent }: Look,
): { memory: JudgeMemory; verdict: Verdict } {
  if (trial.phase === "back") return { memory: before, verdict: { kind: "back", reason: trial.reason } };
  if (current === trial.from)
    return { memory: before, verdict: { kind: "over", said: "the new version was never put in use" } };
  if (current !== trial.to)
    return { memory: before, verdict: { kind: "over", said: `${current ?? "nothing"} was put in use meanwhile` } };
  if (trial.unclean >= MOST_UNCLEAN) {
    const reason = `the host went down ${describeCount(trial.unclean, "time")} while it was on trial`;
    return { memory: before, verdict: { kind: "back", reason } };
  }
  const memory = follow(trial, before, { nowMs, agent });
  const isHeard = trial.heard.length === 0 || memory.heardBy !== undefined;
  if (memory.healthyMs !== undefined && nowMs - memory.healthyMs >= HEALTHY_MS && isHeard)
    return { memory, verdict: { kind: "confirm", said: describeProof(trial, memory) } };
  if (nowMs - trial.sinceMs >= findDeadline(trial))
    return { memory, verdict: { kind: "back", reason: describeLack(trial, memory, agent) } };
  if (agent !== undefined && agent.version !== trial.to && isRestartDue(before, nowMs))
    return { memory: { ...memory, restartedMs: nowMs }, verdict: { kind: "restart" } };
  return { memory, verdict: { kind: "wait" } };
}

function findDeadline({ unclean, sinceMs }: Trial): number {
  // A trial that began in this boot began some time after it.
  return unclean > 0 || sinceMs < BOOT_DEADLINE_MS ? BOOT_DEADLINE_MS : DEADLINE_MS;
}

function isRestartDue({ restartedMs }: JudgeMemory, nowMs: number): boolean {
  return restartedMs === undefined || nowMs - restartedMs >= RESTART_EVERY_MS;
}

function follow(trial: Trial, before: JudgeMemory, { nowMs, agent }: Omit<Look, "current">): JudgeMemory {
  const isGood = agent !== undefined && agent.version === trial.to && agent.reconciled;
  if (!isGood) return { ...before, run: agent?.run, healthyMs: undefined, heardBy: undefined };
  const isSame = before.run === agent.run;
  const heardBy = agent.heardBy?.find((name) => trial.heard.includes(name)) ?? (isSame ? before.heardBy : undefined);
  const healthyMs = isSame ? (before.healthyMs ?? nowMs) : nowMs;
  return { ...before, run: agent.run, healthyMs, heardBy };
}

function describeProof({ heard }: Trial, { heardBy }: JudgeMemory): string {
  const peer = heard.length === 0 ? "no peer heard the version before, so none was asked" : `${heardBy} hears it`;
  return `it has reconciled, was well for a minute, and ${peer}`;
}

function describeLack({ to, heard }: Trial, { heardBy }: JudgeMemory, agent: AgentLook | undefined): string {
  if (agent === undefined) return "it does not answer";
  if (agent.version !== to) return `${agent.version} answers in its place`;
  if (!agent.reconciled) return "it has not reconciled";
  if (heard.length > 0 && heardBy === undefined)
    return `none of ${heard.join(", ")} hears it, which heard the version before`;
  return "it was not well for a minute without a break";
}
