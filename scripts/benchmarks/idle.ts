// What the agent costs while nothing happens: memory and CPU with thirty probed services beside bare Node, the price of a
// turn that changes nothing, and how long it takes from its start to its first plan.

import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

import { type Lab, median, readCpuMs, readMemoryMiB, readUnitFlags, type RunningAgent } from "./lab.ts";
import type { Row } from "./table.ts";

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `s${index + 100}`);
}

async function bringUp(lab: Lab, node: string, count: number): Promise<RunningAgent> {
  await lab.clear();
  const agent = lab.startAgent(lab.writeRepository(node, names(count)));
  await agent.untilLine(/^\S+ \S+ +settled /, count);
  return agent;
}

/** Idle memory and CPU. */
export async function measureIdle(lab: Lab, windowMs: number): Promise<Row[]> {
  const agent = await bringUp(lab, "idle", 30);
  const bare = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  await sleep(10_000);
  const before = [agent.cpuMs, readCpuMs(bare.pid ?? 0)] as const;
  await sleep(windowMs);
  const share = (agent.cpuMs - before[0]) / windowMs;
  const bareShare = (readCpuMs(bare.pid ?? 0) - before[1]) / windowMs;
  const memory = readMemoryMiB(agent.pid);
  const floor = readMemoryMiB(bare.pid ?? 0);
  bare.kill();
  await agent.stop();
  const mib = (value: number): string => `${value.toFixed(1)} MiB`;
  const percent = (value: number): string => `${(value * 100).toFixed(2)} %`;
  return [
    {
      question: "idle with 30 services: anonymous memory",
      orca: mib(memory.anonymous),
      beside: `bare Node: ${mib(floor.anonymous)}`,
      ratio: memory.anonymous / floor.anonymous,
      bar: { text: "≤ 45 MB", met: memory.anonymous * 1.048576 <= 45 },
    },
    {
      question: "idle with 30 services: resident memory",
      orca: mib(memory.resident),
      beside: `bare Node: ${mib(floor.resident)}`,
      ratio: memory.resident / floor.resident,
      bar: { text: "≤ 85 MB", met: memory.resident * 1.048576 <= 85 },
    },
    {
      question: "idle with 30 services, probed every 10 s: CPU",
      orca: `${percent(share)} of a core`,
      beside: `bare Node: ${percent(bareShare)}`,
      bar: { text: "≤ 0.5 %", met: share <= 0.005 },
    },
  ];
}

const SYNCS = 20;

/** A turn that changes nothing: engine calls and CPU, by the number of services. */
export async function measureNoop(lab: Lab): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [10, 50, 100]) {
    const agent = await bringUp(lab, `noop${count}`, count);
    await sleep(3_000);
    for (let warm = 0; warm < 5; warm += 1) await sync(agent);
    const before = await readCounters(agent);
    const cpuBefore = agent.cpuMs;
    for (let turn = 0; turn < SYNCS; turn += 1) await sync(agent);
    const cpuMs = (agent.cpuMs - cpuBefore) / SYNCS;
    const after = await readCounters(agent);
    const calls = (after.calls - before.calls) / (after.turns - before.turns);
    await agent.stop();
    const bar = count === 100 ? { bar: { text: "≤ 20 ms CPU", met: cpuMs <= 20 } } : {};
    rows.push({
      question: `a turn with ${count} services and no change`,
      orca: `${cpuMs.toFixed(1)} ms CPU, ${calls.toFixed(1)} engine calls`,
      beside: "",
      ...bar,
    });
  }
  return rows;
}

async function sync(agent: RunningAgent): Promise<void> {
  const { turns } = await readCounters(agent);
  await agent.ask("POST", "/v1/sync", "{}");
  while ((await readCounters(agent)).turns <= turns) await sleep(20);
}

async function readCounters(agent: RunningAgent): Promise<{ turns: number; calls: number }> {
  const text = await agent.ask("GET", "/metrics");
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
      (total, match) => total + Number(match[1]),
      0,
    );
  return { turns: sum("orca_turns_total"), calls: sum("orca_docker_calls_total") };
}

/** From the start of the process to its first plan. */
export async function measureStart(lab: Lab, rounds: number): Promise<Row[]> {
  const first = await bringUp(lab, "start", 30);
  await first.stop();
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const agent = lab.startAgent(lab.writeRepository("start", names(30)));
    times.push((await agent.untilLine(/ services in /)) - agent.startedMs);
    await agent.stop();
  }
  const bare: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startMs = performance.now();
    const child = spawn(process.execPath, [...readUnitFlags().flags, "-e", "0"]);
    await new Promise((resolve) => child.once("exit", resolve));
    bare.push(performance.now() - startMs);
  }
  const [ms, floor] = [median(times), median(bare)];
  return [
    {
      question: "agent start to first plan, 30 services running",
      orca: `${ms.toFixed(0)} ms`,
      beside: `bare Node, start to end: ${floor.toFixed(0)} ms`,
      ratio: ms / floor,
    },
  ];
}
