// What a node says of a commit at the forge, judged from one turn of the loop. Pure; commit-status.ts asks and posts it.
// A commit is judged once it changed the node's inputs, and no more after it has come to its good end.

import type { DesiredState } from "../../../shared/state/desired-state.ts";
import type { SourceTrouble } from "../../../shared/state/hold.ts";
import { describeTrouble } from "../../../shared/text/words/hold-words.ts";
import type { TurnSummary } from "../../../shared/state/event.ts";
import { findCode, type Reason, type ReasonCode, type ReasonOf } from "../../../shared/state/reason.ts";
import type { ServiceState, ServiceView } from "../../../shared/state/status.ts";
import { fitDescription } from "./commit-status-text.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { shortenFacts, shortRevision } from "../../../shared/text/short-revision.ts";

/** What is remembered, also over a restart of the agent. */
export interface CommitMemory {
  /** The inputs that were judged last, and the commit that brought them. */
  inputs: string | undefined;
  sha: string | undefined;
  /** True once that commit itself was in force: what is held goes in with a later commit that has the same inputs. */
  ran?: boolean | undefined;
  /** The last word that the forge has taken. */
  posted: { sha: string; key: string } | undefined;
  /** Commits whose end is open at the forge although another one has taken their place, the oldest first. */
  superseded?: readonly Superseded[] | undefined;
}

/** A commit whose last word is left to be said. */
interface Superseded {
  sha: string;
  by: string;
}

/** What should be said. */
export interface CommitVerdict {
  sha: string;
  /** Two verdicts with the same key say the same, whatever times and counts are in their words. */
  key: string;
  state: "pending" | "success" | "failure" | "error";
  description: string;
}

/** Nothing was ever said. */
export const EMPTY_COMMITS: CommitMemory = { inputs: undefined, sha: undefined, posted: undefined };

const SUCCESS = "success";
/** The key of a last word. */
export const SUPERSEDED = "superseded";
/** Of so many commits the last word is remembered: a forge that is away for long misses the older ones. */
const MOST_SUPERSEDED = 32;
/** States that only another commit or a person ends. */
const FAILURES: readonly ServiceState[] = ["invalid", "refused", "failed", "stalled"];
/** What is said of a service that Git no longer has. */
const UNWANTED: ReadonlySet<ReasonCode> = new Set<ReasonCode>(["removed", "removal-over", "now-named"]);
const DONE: ReadonlySet<ServiceState> = new Set<ServiceState>(["completed", "stopped", "removing"]);

/** Judges one turn; without a verdict there is nothing to say that was not said. */
export function judgeCommit(
  before: CommitMemory,
  turn: Pick<TurnSummary, "desired" | "services" | "source" | "endedMs">,
): { memory: CommitMemory; verdict: CommitVerdict | undefined } {
  const { newest, trouble, revision } = turn.source;
  const { desired } = turn;
  if (newest === undefined || desired === undefined) return { memory: before, verdict: undefined };
  const waits: SourceTrouble | undefined = desired.held && { code: "held", holds: desired.held.holds };
  const held = waits ?? (newest.revision === revision ? undefined : trouble);
  const memory = followCommit(before, { newest, inForce: held === undefined ? revision : undefined });
  const sha = memory.sha ?? newest.revision;
  const { posted } = memory;
  if (posted?.sha === sha && posted.key === SUCCESS) return { memory, verdict: undefined };
  const isTrusted = turn.source.holds?.every((hold) => hold.kind !== "trust") ?? true;
  const services = selectJudged(turn.services, desired);
  const describe = (of: typeof held, views: readonly ServiceView[]): Said =>
    of === undefined ? describeServices(views, turn.endedMs) : describeHeld(of, isTrusted);
  const said = describe(held, services);
  const brief = describe(
    held && shortenFacts(held),
    services.map((view) => shortenView(view, turn.endedMs)),
  );
  const verdict = { sha, ...said, description: fitDescription(said.description, brief.description) };
  return { memory, verdict: posted?.sha === sha && posted.key === verdict.key ? undefined : verdict };
}

function shortenView(view: ServiceView, nowMs: number): ServiceView {
  const fact = shortenFacts(view.fact);
  return { ...view, fact, reason: describeReason(fact, nowMs) };
}

/**
 * Which commit is judged: the one that brought the newest inputs. One that was held and goes in with a later commit of the
 * same inputs was never in force: then the word belongs to that later one.
 */
function followCommit(
  before: CommitMemory,
  { newest, inForce }: { newest: { revision: string; inputs: string }; inForce: string | undefined },
): CommitMemory {
  if (newest.inputs !== before.inputs) {
    const { inputs, revision: sha } = newest;
    return supersede(before, { ...before, inputs, sha, ran: inForce === sha });
  }
  if (inForce === undefined || before.ran !== false) return before;
  if (inForce === before.sha) return { ...before, ran: true };
  return supersede(before, { ...before, sha: inForce, ran: true });
}

/** Another commit takes the place of one; where that one's end is open at the forge, its last word is due. */
function supersede(before: CommitMemory, after: CommitMemory): CommitMemory {
  const { sha, posted } = before;
  // A commit that comes again, after a force-push, has its end before it.
  const known = before.superseded?.filter((entry) => entry.sha !== after.sha);
  const rest = known === undefined ? {} : { superseded: known };
  if (sha === undefined || sha === after.sha || posted?.sha !== sha || !isOpen(posted.key))
    return { ...after, ...rest };
  return addSuperseded({ ...after, ...rest }, sha);
}

function addSuperseded(memory: CommitMemory, sha: string): CommitMemory {
  const { sha: by = "", superseded = [] } = memory;
  const others = superseded.filter((entry) => entry.sha !== sha);
  return { ...memory, superseded: [...others, { sha, by }].slice(-MOST_SUPERSEDED) };
}

/**
 * The last word on a commit whose end was still open when another one took its place; undefined where there is none. It is
 * neither good nor bad, and no more to come: "error" is what forges have for that.
 */
export function buildSupersededStatus({ superseded = [] }: CommitMemory): CommitVerdict | undefined {
  const [first] = superseded;
  if (first === undefined) return undefined;
  const description = `superseded by ${first.by.slice(0, 12)} before it had settled here`;
  return { sha: first.sha, key: SUPERSEDED, state: "error", description };
}

function isOpen(key: string): boolean {
  return /^(progress|held|paused)(?: |$)/.test(key);
}

/** Takes down that the forge has taken a word; one that came too late for its commit leaves that one's end open. */
export function markPosted(memory: CommitMemory, { sha, key }: CommitVerdict): CommitMemory {
  if (key === SUPERSEDED) {
    const rest = dropSuperseded(memory, sha);
    // Where it is the commit's turn again by now, what was said of it before stands there no more.
    return memory.posted?.sha === sha ? { ...rest, posted: undefined } : rest;
  }
  if (sha === memory.sha) return { ...memory, posted: { sha, key } };
  return isOpen(key) ? addSuperseded(memory, sha) : memory;
}

/** A commit's last word is due no more. */
export function dropSuperseded(memory: CommitMemory, sha: string): CommitMemory {
  return { ...memory, superseded: memory.superseded?.filter((entry) => entry.sha !== sha) };
}

type Said = Omit<CommitVerdict, "sha">;

/** How a run of a cron job ended says nothing of the commit. */
function selectJudged(services: readonly ServiceView[], desired: DesiredState): ServiceView[] {
  return services.filter(({ name, state }) => {
    const { schedule } = desired.services.get(name) ?? {};
    return schedule === undefined || schedule === "@once" || ["invalid", "refused", "held"].includes(state);
  });
}

/** Only another commit helps one that is not trusted; what holds others may end by itself. */
function describeHeld(trouble: SourceTrouble, isTrusted: boolean): Said {
  const reason = describeTrouble(trouble);
  if (!isTrusted) return { key: "not-trusted", state: "failure", description: `not applied: ${reason}` };
  return { key: "held", state: "pending", description: `held: ${reason}` };
}

function describeServices(services: readonly ServiceView[], nowMs: number): Said {
  const back = services.filter(({ state, fact }) => state === "rolled-back" || findRolledBack(fact) !== undefined);
  if (back.length > 0) return describeRolledBack(back, nowMs);
  for (const state of FAILURES) {
    const failed = services.filter((service) => service.state === state);
    if (failed.length > 0) return describeFirst(failed, { key: state, state: "failure", word: `${state}: ` });
  }
  for (const state of ["held", "paused"] as const) {
    const waiting = services.filter((service) => service.state === state);
    if (waiting.length > 0) return describeFirst(waiting, { key: state, state: "pending", word: `${state}: ` });
  }
  return describeProgress(services);
}

function describeRolledBack(back: readonly ServiceView[], nowMs: number): Said {
  const [first] = back;
  const { revision = "its last good release", fault } = (first && findRolledBack(first.fact)) ?? {};
  const shown = back.map((service) =>
    service === first && fault !== undefined
      ? { ...service, fact: fault, reason: describeReason(fault, nowMs) }
      : service,
  );
  return describeFirst(shown, {
    key: "rolled-back",
    state: "failure",
    word: `rolled back to ${shortRevision(revision)}: `,
  });
}

/** What it was rolled back to and why, where that is what is shown of it. */
function findRolledBack(fact: Reason): ReasonOf<"rolled-back"> | undefined {
  if (fact.code === "beside") return findRolledBack(fact.why);
  return fact.code === "rolled-back" ? fact : undefined;
}

function describeFirst(
  services: readonly ServiceView[],
  said: { key: string; state: Said["state"]; word: string },
): Said {
  const [first] = services;
  const more = services.length > 1 ? ` (and ${services.length - 1} more)` : "";
  const names = services.map((service) => service.name).join(" ");
  return {
    key: `${said.key} ${names}`,
    state: said.state,
    description: `${said.word}${first?.name}: ${first?.reason}${more}`,
  };
}

function describeProgress(services: readonly ServiceView[]): Said {
  const isDone = ({ state, settled }: ServiceView): boolean => DONE.has(state) || (state === "healthy" && settled);
  const open = services.filter((service) => !isDone(service));
  const wanted = services.filter(({ fact }) => !UNWANTED.has(findCode(fact))).length;
  const [first] = open;
  if (first === undefined) {
    const all = describeCount(wanted, "service is", "services are");
    return { key: SUCCESS, state: "success", description: wanted === 0 ? "nothing runs here" : `${all} settled` };
  }
  const more = open.length > 1 ? ` (and ${open.length - 1} more)` : "";
  return {
    key: "progress",
    state: "pending",
    description: `${services.length - open.length} of ${services.length} settled; ${first.name} is ${first.state}${more}`,
  };
}
