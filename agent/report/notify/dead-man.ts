// What the hourly dead-man check tells of: an agent that does not answer or whose loop stands still, and recovery points that are broken.
// Apart from the agent's own alerts, since a dead agent sends none. Pure. Held by test/scenario/agent/dead-man.test.ts.

import type { SloDocument } from "../../../shared/document/slo-document.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import type { AlertMessage } from "./alert-message.ts";

/** What one look has found. */
export interface Look {
  /** Why the agent counts as dead; undefined while it lives. */
  dead: string | undefined;
  slo: SloDocument | undefined;
}

/** What was told last, kept between two runs. */
export interface DeadManMemory {
  state: string;
  atMs: number;
}

/** Names what is wrong: the state that alerts carry, and the reason. Undefined where nothing is. */
export function judgeLook({ dead, slo }: Look): { state: string; reason: string } | undefined {
  if (dead !== undefined) return { state: "dead", reason: dead };
  const broken = (slo?.rpo ?? []).filter(({ state }) => state === "broken");
  if (broken.length === 0) return undefined;
  const parts = broken.map(({ service, store, repository, ageSeconds, promisedSeconds }) => {
    const [age, promised] = [ageSeconds, promisedSeconds ?? 0].map((seconds) => describeDuration(seconds * 1_000));
    return `${service}/${store} in ${repository}: no good backup for ${age}, ${promised} is promised`;
  });
  return { state: "rpo-broken", reason: parts.join("; ") };
}

/**
 * Decides what is told now: what is new at once, the same again after `repeatMs`, and once that it is over.
 * @param before what was told last
 * @returns the message without its node and time, and what to remember; both undefined where nothing is wrong and nothing was told
 */
export function chooseMessage(
  look: Look,
  before: DeadManMemory | undefined,
  { node, nowMs, repeatMs }: { node: string; nowMs: number; repeatMs: number },
): { message: AlertMessage | undefined; memory: DeadManMemory | undefined } {
  const trouble = judgeLook(look);
  if (trouble === undefined) {
    const message = before === undefined ? undefined : build(node, nowMs, { state: "alive", reason: "" }, before.state);
    return { message, memory: undefined };
  }
  // A clock that was set back is no reason to be silent.
  const sinceMs = before === undefined ? Number.POSITIVE_INFINITY : Math.abs(nowMs - before.atMs);
  if (before?.state === trouble.state && sinceMs < repeatMs) return { message: undefined, memory: before };
  const memory = { state: trouble.state, atMs: nowMs };
  return { message: build(node, nowMs, trouble, before?.state), memory };
}

function build(
  node: string,
  nowMs: number,
  { state, reason }: { state: string; reason: string },
  previous: string | undefined,
): AlertMessage {
  const resolved = state === "alive";
  const page = state === "dead" ? nameHelp("runbook") : nameHelp("backup");
  const end = resolved ? "" : `: ${reason} (${page})`;
  return {
    version: 1,
    node,
    service: null,
    subject: "@dead-man",
    state,
    previous: previous ?? null,
    reason,
    severity: resolved ? "info" : "critical",
    at: new Date(nowMs).toISOString(),
    revision: null,
    resolved,
    help: resolved ? null : page,
    text: `[${resolved ? "resolved" : "critical"}] ${node} agent is ${state}${end}`,
  };
}
