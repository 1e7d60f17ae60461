// A storm, simulated: every node of a large fleet starts a service every few seconds, and everyone who waits for one of them must
// know its last state. For test/unit/gossip/gossip-storm.test.ts and `scripts/bench --only simulation`.

import { seedRng } from "./event-heap.ts";
import { GossipFleet } from "./gossip-fleet.ts";

/** How large a storm is. */
export interface StormSize {
  nodes: number;
  /** How often each node changes, within this time. */
  changes: number;
  stormMs: number;
  /** Share of packets that are lost. */
  loss: number;
}

/** What a storm came to. */
export interface StormOutcome {
  /** How long each node's last change took to reach each node of interest, in milliseconds, in order. */
  delaysMs: number[];
  /** Changes that somebody who waits for them never heard of. */
  missing: number;
  /** Bytes each node sent each second. */
  egress: number;
  /** What simulating the storm itself took of a core. */
  cpuMs: number;
}

const INTERESTS = 10;
const SETTLE_MS = 20_000;
const AFTERWARDS_MS = 30_000;

/** Everyone waits for a few others, and so has a link to them and to those that wait for it. */
function chooseInterests(names: readonly string[]): Map<string, Set<string>> {
  const rng = seedRng(7);
  const interests = new Map(names.map((name) => [name, new Set<string>()]));
  for (const name of names) {
    while ((interests.get(name)?.size ?? 0) < INTERESTS / 2) {
      const other = names[Math.floor(rng() * names.length)] ?? name;
      if (other === name) continue;
      interests.get(name)?.add(other);
      interests.get(other)?.add(name);
    }
  }
  return interests;
}

/** Simulates one. */
export function simulateStorm({ nodes, changes, stormMs, loss }: StormSize): StormOutcome {
  const names = Array.from({ length: nodes }, (_, index) => `n${String(index + 1).padStart(4, "0")}`);
  const interests = chooseInterests(names);
  const fleet = new GossipFleet({ nodes, seed: 11, loss, interests: (name) => [...(interests.get(name) ?? [])] });
  fleet.startAll();
  fleet.run(SETTLE_MS);
  fleet.sentBytes = 0;
  const cpu = process.cpuUsage();
  const left = new Map(names.map((name) => [name, changes]));
  /** The last change of each node: when, and who does not know it yet. */
  const pending = new Map<string, { atMs: number; seq: number; missing: Set<string> }>();
  const delaysMs: number[] = [];
  for (const name of names)
    for (let count = 0; count < changes; count += 1) fleet.after(fleet.rng() * stormMs, () => change(name));
  fleet.onChange = (observer, owner) => {
    const last = owner === undefined ? undefined : pending.get(owner);
    if (owner === undefined || last === undefined || !last.missing.has(observer)) return;
    const { words } = fleet.of(observer).look(owner);
    if (words === undefined || words.seq < last.seq) return;
    last.missing.delete(observer);
    delaysMs.push(fleet.nowMs - last.atMs);
  };
  function change(name: string): void {
    const count = (left.get(name) ?? 0) - 1;
    left.set(name, count);
    fleet.publish(name, { db: { ready: true, state: "healthy", start: `run-${count}`, why: "x".repeat(120) } });
    if (count === 0)
      pending.set(name, { atMs: fleet.nowMs, seq: fleet.of(name).version.seq, missing: new Set(interests.get(name)) });
  }
  fleet.run(stormMs);
  const egress = fleet.sentBytes / nodes / (stormMs / 1_000);
  const { user, system } = process.cpuUsage(cpu);
  fleet.run(AFTERWARDS_MS);
  const missing = [...pending.values()].reduce((sum, one) => sum + one.missing.size, 0);
  return { delaysMs: delaysMs.toSorted((a, b) => a - b), missing, egress, cpuMs: (user + system) / 1_000 };
}

/** The delay that this share of the changes had at most. */
export function readPercentile({ delaysMs }: Pick<StormOutcome, "delaysMs">, share: number): number {
  return delaysMs[Math.min(delaysMs.length - 1, Math.floor(delaysMs.length * share))] ?? Number.NaN;
}
