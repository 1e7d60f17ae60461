// One end of many streams that lose packets: the agent's own transport, which sends small messages with the time in them and tells
// how long those that came took. Started by loss-lab.ts in a network namespace of its own; the machine's monotonic clock is one.

import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { loadIdentity } from "../../../agent/gossip/node-identity.ts";
import { Transport } from "../../../agent/gossip/mesh/transport.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";

/** What one end is started with. */
export interface LossStart {
  node: string;
  host: string;
  port: number;
  identityFile: string;
  peer: { node: string; host: string; publicKey: string };
  /** How many streams this end opens. */
  dials: number;
  /** net.ipv4.tcp_thin_linear_timeouts of its namespace. */
  isLinear: boolean;
}

/** What one end is told to do. */
export interface LossOrder {
  /** Messages go out on each stream about so often, for so long. */
  everyMs: number;
  forMs: number;
}

const SETTINGS = "/proc/sys/net/ipv4";
/** Messages still on their way when the last was sent. */
const LATE_MS = 15_000;

const start = JSON.parse(process.argv[2] ?? "{}") as LossStart;
// Of its own namespace alone, which may not choose CUBIC; for a few small packets that is the same. Under BBR, which some hosts have,
// no stream is ever thin: it keeps no slow start threshold.
writeFileSync(`${SETTINGS}/tcp_congestion_control`, "reno");
writeFileSync(`${SETTINGS}/tcp_thin_linear_timeouts`, start.isLinear ? "1" : "0");
const identity = await loadIdentity(start.identityFile);
if (identity === undefined) throw new Error(`there is no key ${start.identityFile}`);
const links = new Set<number>();
const delaysMs: number[] = [];
let sent = 0;

const transport = new Transport({
  node: start.node,
  host: start.host,
  port: start.port,
  identity,
  clock: systemClock,
  judgeKey: (key) =>
    key === start.peer.publicKey ? { node: start.peer.node } : { kind: "unknown-key", refused: "another key" },
  isPeerAddress: () => true,
  onUp: ({ id, dialler }) => {
    links.add(id);
    transport.send(id, { t: "beat" });
    if (dialler === start.node) dialNext();
  },
  onDown: (id) => links.delete(id),
  onDialFailed: () => dialNext(),
  onMessage: (_id, message) => {
    if (message.t === "hint") delaysMs.push(now() - Number(message.revision));
  },
  onRefused: (kind, reason) => process.stderr.write(`${start.node}: ${kind}: ${reason}\n`),
});
await transport.start();
dialNext();

createInterface({ input: process.stdin }).on("line", (line) => say(JSON.parse(line) as LossOrder));

function dialNext(): void {
  if (start.dials <= 0 || links.size < start.dials) {
    if (start.dials > 0) transport.dial(start.peer.node, start.peer.host);
    return;
  }
  process.stdout.write(`${JSON.stringify({ links: links.size })}\n`);
}

/** Each stream says something at its own moments. */
function say({ everyMs, forMs }: LossOrder): void {
  delaysMs.length = 0;
  sent = 0;
  const endMs = now() + forMs;
  for (const id of links) sayOn(id, endMs, everyMs);
  setTimeout(() => {
    process.stdout.write(`${JSON.stringify({ sent, links: links.size, delaysMs })}\n`);
  }, forMs + LATE_MS);
}

function sayOn(id: number, endMs: number, everyMs: number): void {
  const waitMs = everyMs * (0.5 + Math.random());
  setTimeout(() => {
    if (now() > endMs) return;
    sent += 1;
    transport.send(id, { t: "hint", revision: now().toFixed(3) });
    sayOn(id, endMs, everyMs);
  }, waitMs);
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
