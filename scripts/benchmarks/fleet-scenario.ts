// What is done to a fleet of members, and how long it takes until all know: changes, kills, freezes, a cut wire that is mended.
// For the benchmark beside Serf, and for holding the simulator to what really happens.

import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import type { Notice } from "./member-words.ts";
import { CUT_MS } from "../lab/gossip/gossip-calibration.ts";
import { type Member, type MemberFleet, now } from "./members.ts";

/** Everything a change costs has been spent after so long. */
const SPENT_MS = 60;

/** How long changes took, in milliseconds, and what each cost. */
export interface Changes {
  /** Each member's time to know. */
  one: number[];
  /** The last member's. */
  last: number[];
  /** CPU of the one that said it, for each peer; and of each that heard it. */
  sendMs: number[];
  receiveMs: number[];
  /** What each spends when nothing happens, as a share of a core. */
  idleShare: number;
  /** What other work on the machine takes of all cores. */
  othersShare: number;
}

/** Lets members say something new, one after the other. */
export async function measureChanges(fleet: MemberFleet, count: number): Promise<Changes> {
  const idleShare = await measureIdleShare(fleet);
  const result: Changes = { one: [], last: [], sendMs: [], receiveMs: [], idleShare, othersShare: 0 };
  const [begun, busyMs] = [sum(fleet.readCpuMs()), readBusyMs()];
  const beganMs = now();
  for (let change = 0; change < count; change += 1) {
    const at = change % fleet.members.length;
    const member = fleet.members[at];
    if (member === undefined) continue;
    const before = fleet.readCpuMs();
    const toldMs = now();
    member.process?.stdin?.write(`change-${change}\n`);
    await sleep(SPENT_MS);
    const after = fleet.readCpuMs();
    const idleMs = (now() - toldMs) * idleShare;
    for (const [index, cpuMs] of after.entries()) {
      const spentMs = cpuMs - (before[index] ?? 0) - idleMs;
      if (index === at) result.sendMs.push(spentMs / (after.length - 1));
      else result.receiveMs.push(spentMs);
    }
    const says = ({ what, value }: Notice): boolean => what === "said" && value === `change-${change}`;
    const knows = ({ what, value }: Notice): boolean => what === "known" && value === `change-${change}`;
    const [from = toldMs] = await fleet.times(says, { sinceMs: toldMs, of: [member] });
    const times = await fleet.times(knows, { sinceMs: toldMs, of: fleet.except(member) });
    result.one.push(...times.map((atMs) => atMs - from));
    result.last.push(Math.max(...times) - from);
    await sleep(240);
  }
  const ownMs = sum(fleet.readCpuMs()) - begun;
  result.othersShare = Math.max(0, readBusyMs() - busyMs - ownMs) / (now() - beganMs) / availableParallelism();
  return result;
}

/** How long kills took, in milliseconds. */
export interface Kills {
  killed: number[];
  /** Until the process had ended, which is when its streams end. */
  ended: number[];
  /** From the first line of the new process until it is alive for all, and from its spawn. */
  back: number[];
  backFromSpawn: number[];
}

/** Kills members one after the other: until all know, and from the new beginning until it is alive for all. */
export async function measureKills(fleet: MemberFleet, rounds: number): Promise<Kills> {
  const result: Kills = { killed: [], ended: [], back: [], backFromSpawn: [] };
  for (let round = 0; round < rounds; round += 1) {
    const { member, others } = choose(fleet, round);
    const from = now();
    const exited = new Promise<number>((resolve) => member.process?.once("exit", () => resolve(now())));
    member.process?.kill("SIGKILL");
    result.ended.push((await exited) - from);
    result.killed.push(Math.max(...(await fleet.times(isState(member, "dead"), { sinceMs: from, of: others }))) - from);
    await sleep(2_000);
    const spawnedMs = fleet.start(member);
    const up = await fleet.times(isState(member, "alive"), { sinceMs: spawnedMs, of: others });
    const began = ({ what }: Notice): boolean => what === "began";
    const [begunMs = spawnedMs] = await fleet.times(began, { sinceMs: spawnedMs, of: [member] });
    result.back.push(Math.max(...up) - begunMs);
    result.backFromSpawn.push(Math.max(...up) - spawnedMs);
    await sleep(1_500);
  }
  return result;
}

/** Stops members' processes one after the other: until all know. */
export async function measureFreezes(fleet: MemberFleet, rounds: number): Promise<number[]> {
  const frozen: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { member, others } = choose(fleet, round);
    const from = now();
    member.process?.kill("SIGSTOP");
    frozen.push(Math.max(...(await fleet.times(isState(member, "dead"), { sinceMs: from, of: others }))) - from);
    const thawMs = now();
    member.process?.kill("SIGCONT");
    await fleet.times(isState(member, "alive"), { sinceMs: thawMs, of: others });
    await sleep(1_500 + round * 250);
  }
  return frozen;
}

/** Cuts members' wires one after the other and mends them: until each of the others hears them again. */
export async function measureHeals(fleet: MemberFleet, rounds: number): Promise<number[]> {
  const healed: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { member, others } = choose(fleet, round);
    const cutMs = now();
    fleet.cut(member);
    await sleep(CUT_MS + round * 370);
    await fleet.times(isState(member, "dead"), { sinceMs: cutMs, of: others });
    const from = now();
    fleet.cut(member, false);
    const heard = await fleet.times(isState(member, "alive"), { sinceMs: from, of: others });
    healed.push(...heard.map((atMs) => atMs - from));
    await sleep(1_500);
  }
  return healed;
}

/** CPU that a member spends when nothing happens, as a share of a core. */
async function measureIdleShare(fleet: MemberFleet): Promise<number> {
  const [before, from] = [fleet.readCpuMs(), now()];
  await sleep(4_000);
  const spentMs = sum(fleet.readCpuMs()) - sum(before);
  return spentMs / (now() - from) / before.length;
}

/** What all cores together have spent on anything since the machine was started. */
function readBusyMs(): number {
  return sum(cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function choose(fleet: MemberFleet, round: number): { member: Member; others: Member[] } {
  const member = fleet.members[1 + (round % (fleet.members.length - 1))];
  if (member === undefined) throw new Error("a fleet has two members at least");
  return { member, others: fleet.except(member) };
}

const isState =
  ({ start: { node } }: Member, state: string) =>
  ({ what, of, value }: Notice): boolean =>
    what === "state" && of === node && value === state;
