// What a node says of a commit at the forge, judged from one turn of the loop. Pure; commit-status.ts asks and posts it.
// A commit is judged once it changed the node's inputs, and no more after it has come to its good end.

import type { DesiredState } from "../../shared/desired-state.ts";
import { describeHolds } from "../../shared/hold.ts";
import type { TurnSummary } from "../../shared/event.ts";
import type { ServiceState, ServiceView } from "../../shared/status.ts";
import { cutCommandOutput, cutControlCharacters, hidePassword } from "./public-text.ts";

/** What is remembered, also over a restart of the agent. */
export interface CommitMemory {
  /** The inputs that were judged last, and the commit that brought them. */
  inputs: string | undefined;
  sha: string | undefined;
  /** The last word that the forge has taken. */
  posted: { sha: string; key: string } | undefined;
}

/** What should be said. */
export interface CommitVerdict {
  sha: string;
  /** Two verdicts with the same key say the same, whatever times and counts are in their words. */
  key: string;
  state: "pending" | "success" | "failure";
  description: string;
}

/** Nothing was ever said. */
export const EMPTY_COMMITS: CommitMemory = { inputs: undefined, sha: undefined, posted: undefined };

const SUCCESS = "success";
/** Longer descriptions are not told: forges cut or refuse them. */
const LONGEST = 255;
const ROLLED_BACK = /^rolled back to ([^\s:]+)(?: by uid \d+)?: ([^]*?)(?:; what Git wants is held|$)/;
/** States that only another commit or a person ends. */
const FAILURES: readonly ServiceState[] = ["invalid", "refused", "failed", "stalled"];
const DONE: ReadonlySet<ServiceState> = new Set<ServiceState>(["completed", "stopped", "removing"]);

/** Judges one turn; without a verdict there is nothing to say that was not said. */
export function judgeCommit(
  before: CommitMemory,
  turn: Pick<TurnSummary, "desired" | "services" | "source">,
): { memory: CommitMemory; verdict: CommitVerdict | undefined } {
  const { newest, trouble } = turn.source;
  const { desired } = turn;
  if (newest === undefined || desired === undefined) return { memory: before, verdict: undefined };
  const memory = newest.inputs === before.inputs ? before : { ...before, inputs: newest.inputs, sha: newest.revision };
  const sha = memory.sha ?? newest.revision;
  const { posted } = memory;
  if (posted?.sha === sha && posted.key === SUCCESS) return { memory, verdict: undefined };
  const holds = desired.held && describeHolds(desired.held.holds);
  const held = holds ?? (newest.revision === turn.source.revision ? undefined : trouble);
  const isTrusted = turn.source.holds?.every((hold) => hold.kind !== "trust") ?? true;
  const said = held === undefined ? describe(selectJudged(turn.services, desired)) : describeHeld(held, isTrusted);
  const verdict = { sha, ...said, description: shorten(said.description) };
  return { memory, verdict: posted?.sha === sha && posted.key === verdict.key ? undefined : verdict };
}

/** The last word on a commit whose end was still open when another one took its place; undefined where there is none. */
export function sayFarewell(before: CommitMemory, after: CommitMemory): CommitVerdict | undefined {
  const { sha, posted } = before;
  if (sha === undefined || sha === after.sha || posted?.sha !== sha || !isOpen(posted.key)) return undefined;
  return { sha, key: "superseded", state: "pending", description: `superseded by ${after.sha?.slice(0, 12)}` };
}

function isOpen(key: string): boolean {
  return /^(progress|held|paused)(?: |$)/.test(key);
}

/** Takes down that the forge has taken a word. */
export function markPosted(memory: CommitMemory, { sha, key }: CommitVerdict): CommitMemory {
  return { ...memory, posted: { sha, key } };
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
function describeHeld(reason: string, isTrusted: boolean): Said {
  if (!isTrusted) return { key: "not-trusted", state: "failure", description: `not applied: ${reason}` };
  return { key: "held", state: "pending", description: `held: ${reason}` };
}

function describe(services: readonly ServiceView[]): Said {
  const back = services.filter(({ state, reason }) => state === "rolled-back" || ROLLED_BACK.test(reason));
  if (back.length > 0) return describeRolledBack(back);
  for (const state of FAILURES) {
    const failed = services.filter((service) => service.state === state);
    if (failed.length > 0) return build(failed, { key: state, state: "failure", word: `${state}: ` });
  }
  for (const state of ["held", "paused"] as const) {
    const waiting = services.filter((service) => service.state === state);
    if (waiting.length > 0) return build(waiting, { key: state, state: "pending", word: `${state}: ` });
  }
  return describeProgress(services);
}

function describeRolledBack(back: readonly ServiceView[]): Said {
  const [, revision = "its last good release", why = ""] = ROLLED_BACK.exec(back[0]?.reason ?? "") ?? [];
  const shown = back.map((service, index) => (index === 0 && why !== "" ? { ...service, reason: why } : service));
  const to = /^[0-9a-f]{40}/.test(revision) ? revision.slice(0, 12) : revision;
  return build(shown, { key: "rolled-back", state: "failure", word: `rolled back to ${to}: ` });
}

function build(services: readonly ServiceView[], said: { key: string; state: Said["state"]; word: string }): Said {
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
  const wanted = services.filter(({ state }) => state !== "removing").length;
  const [first] = open;
  if (first === undefined) {
    const all = wanted === 1 ? "1 service is" : `${wanted} services are`;
    return { key: SUCCESS, state: "success", description: wanted === 0 ? "nothing runs here" : `${all} settled` };
  }
  const more = open.length > 1 ? ` (and ${open.length - 1} more)` : "";
  return {
    key: "progress",
    state: "pending",
    description: `${services.length - open.length} of ${services.length} settled; ${first.name} is ${first.state}${more}`,
  };
}

/** What leaves the host says nothing that a container printed, no password, and is one line. */
function shorten(text: string): string {
  const clean = cutControlCharacters(hidePassword(cutCommandOutput(text))).trim();
  const points = Array.from(clean);
  return points.length <= LONGEST ? clean : `${points.slice(0, LONGEST - 1).join("")}…`;
}
