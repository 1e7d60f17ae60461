// What scripts/benchmarks/fleet-scenario.ts does to real members, done to a simulated fleet: changes, a kill, a freeze, a cut wire
// that is mended. The simulator is worth as much as the two agree.

import { all, begin, READY } from "./gossip-checks.ts";
import type { CpuModel } from "./gossip-cores.ts";
import type { GossipFleet } from "./gossip-fleet.ts";

/** Times in milliseconds: of each member, or of the last one (`changeLast`, `killed`, `frozen`). */
export interface ScenarioTimes {
  changeOne: number[];
  changeLast: number[];
  killed: number[];
  frozen: number[];
  healed: number[];
}

/** A wire is cut for so long, and a little more each time. */
export const CUT_MS = 6_000;
/** Between namespaces of one machine a packet takes some hundredths of a millisecond: hardly a part of what is measured. */
const VETH_DELAY_MS: [number, number] = [0.02, 0.08];

/**
 * Runs the scenario by some seeds; each has its own hours of heartbeats and draws.
 * @param machine.endMs what the machine takes to end a killed process: its streams end then
 * @param machine.synLinearTimeouts how its kernel repeats the first packet of a dial
 */
export function simulateScenario(
  nodes: number,
  seeds: number,
  { cpu, endMs, synLinearTimeouts }: { cpu: CpuModel; endMs: number; synLinearTimeouts: number },
): ScenarioTimes {
  const times: ScenarioTimes = { changeOne: [], changeLast: [], killed: [], frozen: [], healed: [] };
  for (let seed = 1; seed <= seeds; seed += 1) {
    const fleet = begin(nodes, seed, 0, { cpu, delayMs: VETH_DELAY_MS, synLinearTimeouts });
    fleet.run(3_000 + fleet.rng() * 1_000);
    for (let change = 0; change < 3; change += 1) sayChange(fleet, `change-${change}`, times);
    const name = "n0002";
    fleet.crash(name);
    times.killed.push(endMs + fleet.until(all(fleet, name, "dead"), 30_000, "the kill"));
    fleet.run(2_000);
    fleet.start(name);
    fleet.until(all(fleet, name, "alive"), 30_000, "the way back");
    fleet.run(1_500 + fleet.rng() * 1_000);
    fleet.freeze(name, true);
    times.frozen.push(fleet.until(all(fleet, name, "dead"), 30_000, "the freeze"));
    fleet.freeze(name, false);
    fleet.until(all(fleet, name, "alive"), 30_000, "the thaw");
    fleet.run(1_500 + fleet.rng() * 1_000);
    fleet.isolate(name);
    fleet.run(CUT_MS + fleet.rng() * 1_500);
    fleet.join(name);
    const [mendedMs, from] = [fleet.nowMs, fleet.seen.length];
    fleet.until(all(fleet, name, "alive"), 30_000, "the mended wire");
    for (const { atMs, node, event } of fleet.seen.slice(from))
      if (node !== name && event.kind === "peer" && event.node === name && event.state === "alive")
        times.healed.push(atMs - mendedMs);
  }
  return times;
}

function sayChange(fleet: GossipFleet, start: string, times: ScenarioTimes): void {
  const [owner = ""] = fleet.names;
  const from = fleet.nowMs;
  const known = new Map<string, number>();
  const before = fleet.onChange;
  fleet.onChange = (observer, of) => {
    before(observer, of);
    if (of !== owner || known.has(observer)) return;
    if (fleet.of(observer).look(owner).words?.services["db"]?.start === start) known.set(observer, fleet.nowMs - from);
  };
  fleet.publish(owner, { db: { ...READY, start } });
  fleet.until(() => known.size === fleet.names.length - 1, 5_000, "the change");
  fleet.onChange = before;
  times.changeOne.push(...known.values());
  times.changeLast.push(Math.max(...known.values()));
  fleet.run(300 + fleet.rng() * 100);
}
