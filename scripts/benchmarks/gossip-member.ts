// One member of a fleet that only gossips, for `scripts/bench --only fleet`: commands come as lines of JSON on stdin, and what it
// notices goes out as lines with the time by the machine's monotonic clock. Started by members.ts, in a namespace of its own.

import { createInterface } from "node:readline";

import { loadIdentity } from "../../agent/gossip/node-identity.ts";
import { MeshShell } from "../../agent/gossip/mesh/mesh-shell.ts";
import { systemClock } from "../../agent/host/os/clock.ts";
import { Transport } from "../../agent/gossip/mesh/transport.ts";
import { MEASURE_DIAL, type MemberStart, type Notice } from "./member-words.ts";

/**
 * What is noticed gets its time at once and is told later: thirty members that write and one parent that reads on the same cores
 * would delay the very news that is measured.
 */
const TELL_AFTER_MS = 200;
const DIALS = 5;

const start = JSON.parse(process.argv[2] ?? "{}") as MemberStart;
const identity = await loadIdentity(start.identityFile);
if (identity === undefined) throw new Error(`there is no key ${start.identityFile}`);
const known = new Map<string, string>();
const states = new Map<string, string>();
/** Why what is known of a peer is not its present word; absent where it is. */
const stale = new Map(start.source.fleet.flatMap(({ node }) => (node === start.node ? [] : [[node, "not met yet"]])));
let untold: Notice[] = [];

const shell = new MeshShell({ ...start, identity, clock: systemClock, onEvent: () => undefined });
shell.onChange = look;
tell({ what: "began", of: start.node, value: "", atMs: now() });
shell.follow(start.source);
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === MEASURE_DIAL) void measureDial();
  else {
    tell({ what: "said", of: start.node, value: line, atMs: now() });
    shell.say({ db: { ready: true, state: "healthy", start: line } }, undefined);
  }
});

async function measureDial(): Promise<void> {
  if (identity === undefined) return;
  let failed = (): void => undefined;
  const transport = new Transport({
    node: start.node,
    host: start.listen.split(":")[0] ?? "",
    port: 1,
    identity,
    clock: systemClock,
    judgeKey: () => ({ kind: "not-taking-part", refused: "nobody is let in" }) as const,
    isPeerAddress: () => false,
    onRefused: () => undefined,
    onUp: () => undefined,
    onDown: () => undefined,
    onMessage: () => undefined,
    onDialFailed: () => failed(),
  });
  const before = process.cpuUsage();
  for (let dial = 0; dial < DIALS; dial += 1) {
    const end = new Promise<void>((resolve) => {
      failed = resolve;
    });
    transport.dial(start.node, start.listen.split(":")[0] ?? "");
    await end;
  }
  const { user, system } = process.cpuUsage(before);
  tell({ what: "cost", of: "dial", value: String((user + system) / 1_000 / DIALS), atMs: now() });
}

function look(changed: ReadonlySet<string | undefined>): void {
  for (const node of changed) {
    if (node === undefined) continue;
    const { words, stale: why } = shell.look(node);
    notice("known", node, words?.services["db"]?.start ?? "", known);
    if (why === stale.get(node)) continue;
    // Only then may the opinion of it have changed: a view of all is not made for each change.
    notice("state", node, shell.view().find((peer) => peer.node === node)?.state ?? "", states);
    if (why !== undefined) stale.set(node, why);
    else if (stale.delete(node) && stale.size === 0) tell({ what: "all", of: "", value: "", atMs: now() });
  }
}

function notice(what: Notice["what"], of: string, value: string, before: Map<string, string>): void {
  if (before.get(of) === value) return;
  before.set(of, value);
  tell({ what, of, value, atMs: now() });
}

function tell(one: Notice): void {
  untold.push(one);
  if (untold.length > 1) return;
  setTimeout(() => {
    const told = untold;
    untold = [];
    process.stdout.write(told.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  }, TELL_AFTER_MS);
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
