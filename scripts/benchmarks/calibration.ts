// The simulator beside real members in namespaces: one scenario, run by both. What work costs on a core is measured on the real
// members in the same run and given to the simulator; nothing else is fitted.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { type ScenarioTimes, simulateScenario } from "../lab/gossip/gossip-calibration.ts";
import type { CpuModel } from "../lab/gossip/gossip-cores.ts";
import type { Extent } from "./extent.ts";
import { measureChanges, measureFreezes, measureHeals, measureKills } from "./fleet-scenario.ts";
import { median } from "./lab.ts";
import { MemberFleet, now } from "./members.ts";
import type { Row } from "./table.ts";

const SIZES = (process.env["ORCA_FLEET_SIZES"] ?? "3,10,30").split(",").map(Number);
/** When a mended wire is used again is drawn by the hour of the next dial: a median of it wants many. */
const ROUNDS = { changes: 30, kills: 6, freezes: 6, heals: 12 };
const SMOKE_ROUNDS: Rounds = { changes: 3, kills: 1, freezes: 1, heals: 1 };
const SEEDS = 40;

/** How often each thing is done to the real members. */
export type Rounds = typeof ROUNDS;

/** The medians of one size, real and simulated, in milliseconds. */
export interface Calibration {
  real: Record<keyof ScenarioTimes, number>;
  simulated: Record<keyof ScenarioTimes, number>;
  /** Each mended wire, heard by one: the medians are of these. */
  heals: Record<"real" | "simulated", readonly number[]>;
  cpu: CpuModel;
}

/** Measures every size; one row for each part of the scenario. */
export async function measureCalibration({ isSmoke }: Extent): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of isSmoke ? [3] : SIZES) {
    const { real, simulated } = await calibrate(count, isSmoke ? SMOKE_ROUNDS : ROUNDS);
    for (const part of Object.keys(real) as (keyof ScenarioTimes)[])
      rows.push({
        question: `${count} nodes: ${WORDS[part]}, medians`,
        orca: `simulated ${show(simulated[part])}`,
        beside: `real ${show(real[part])}`,
        ratio: simulated[part] / real[part],
        bar: { text: "0.8–1.2", met: Math.abs(simulated[part] / real[part] - 1) <= 0.2 },
      });
  }
  return rows;
}

const WORDS: Record<keyof ScenarioTimes, string> = {
  changeOne: "a change, one member",
  changeLast: "a change, last member",
  killed: "kill -9 known by the last",
  frozen: "frozen, known by the last",
  healed: "a wire mended, heard by one",
};

/** Runs the scenario on real members, then in the simulator. */
export async function calibrate(count: number, rounds: Rounds): Promise<Calibration> {
  const fleet = new MemberFleet();
  try {
    await fleet.create(count);
    const sinceMs = now();
    for (const member of fleet.members) fleet.start(member);
    await fleet.times(({ what }) => what === "all", { sinceMs });
    await sleep(3_000);
    const { one, last, sendMs, receiveMs, idleShare, othersShare } = await measureChanges(fleet, rounds.changes);
    const dialMs = await fleet.measureDialMs();
    const { killed, ended } = await measureKills(fleet, rounds.kills);
    const frozen = await measureFreezes(fleet, rounds.freezes);
    const healed = await measureHeals(fleet, rounds.heals);
    // Where other work takes its share of the cores, everything takes the longer.
    const slow = 1 / (1 - Math.min(0.9, othersShare));
    const cpu = {
      cores: availableParallelism(),
      sendMs: slow * mean(sendMs),
      receiveMs: slow * mean(receiveMs),
      dialMs: slow * dialMs,
      // When nothing happens a member sends a heartbeat to each peer in each second, and takes one in from each.
      smallMs: (slow * idleShare * 1_000) / (2 * (count - 1)),
    };
    const machine = { cpu, endMs: median(ended), synLinearTimeouts: readSynLinearTimeouts() };
    const simulated = simulateScenario(count, SEEDS, machine);
    return {
      real: middle({ changeOne: one, changeLast: last, killed, frozen, healed }),
      simulated: middle(simulated),
      heals: { real: healed, simulated: simulated.healed },
      cpu,
    };
  } finally {
    await fleet.destroy();
  }
}

/** How this kernel repeats the first packet of a dial; those before 6.5 have no such setting, and double from the first on. */
function readSynLinearTimeouts(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", "utf8"));
  } catch {
    return 0;
  }
}

function middle(times: ScenarioTimes): Record<keyof ScenarioTimes, number> {
  const { changeOne, changeLast, killed, frozen, healed } = times;
  return {
    changeOne: median(changeOne),
    changeLast: median(changeLast),
    killed: median(killed),
    frozen: median(frozen),
    healed: median(healed),
  };
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

function show(ms: number): string {
  return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}
