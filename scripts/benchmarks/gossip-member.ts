// One member of a fleet that only gossips, for `scripts/bench --only fleet`: commands come as lines of JSON on stdin, and what it
// notices goes out as lines with the time by the machine's monotonic clock. Started by members.ts, in a namespace of its own.

import { createInterface } from "node:readline";

import { loadIdentity } from "../../agent/gossip/identity.ts";
import { GossipShell } from "../../agent/gossip/shell.ts";
import { systemClock } from "../../agent/host/clock.ts";
import type { RosterSource } from "../../agent/gossip/roster.ts";

/** How a member is started: the one argument, as JSON. */
export interface MemberStart {
  node: string;
  listen: string;
  identityFile: string;
  stateDir: string;
  source: RosterSource;
}

/** What it tells. */
export interface Notice {
  /** `known`: a peer's change arrived; `state`: an opinion changed; `all`: every peer is alive and fresh. */
  what: "known" | "state" | "all";
  of: string;
  value: string;
  atMs: number;
}

const start = JSON.parse(process.argv[2] ?? "{}") as MemberStart;
const identity = await loadIdentity(start.identityFile);
if (identity === undefined) throw new Error(`there is no key ${start.identityFile}`);
const known = new Map<string, string>();
const states = new Map<string, string>();
let wasAll = false;

const shell = new GossipShell({ ...start, identity, clock: systemClock, onEvent: () => undefined });
shell.onChange = look;
shell.follow(start.source);
createInterface({ input: process.stdin }).on("line", (line) => {
  shell.say({ db: { ready: true, state: "healthy", start: line } }, undefined);
});

function look(): void {
  const view = shell.view();
  for (const { node, state, words } of view) {
    tell("known", node, words?.services["db"]?.start ?? "", known);
    tell("state", node, state, states);
  }
  const isAll = view.length === start.source.fleet.length - 1 && view.every(({ stale }) => stale === undefined);
  if (isAll && !wasAll) write({ what: "all", of: "", value: "", atMs: now() });
  wasAll = isAll;
}

function tell(what: Notice["what"], of: string, value: string, before: Map<string, string>): void {
  if (before.get(of) === value) return;
  before.set(of, value);
  write({ what, of, value, atMs: now() });
}

function write(notice: Notice): void {
  process.stdout.write(`${JSON.stringify(notice)}\n`);
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
