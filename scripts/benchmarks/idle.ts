// What the agent costs while nothing happens: memory and CPU with thirty probed services beside bare Node, the price of a
// turn that changes nothing, and how long it takes from its start to its first plan.

import { setTimeout as sleep } from "node:timers/promises";

import type { Extent } from "./extent.ts";
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

/** How long it is left alone before it is looked at (by then it rests: agent/daemon/resting-memory.ts), and for how long it is looked at. */
const IDLE = { settleMs: 45_000, windowMs: 60_000 };
const SMOKE_IDLE: typeof IDLE = { settleMs: 500, windowMs: 1_000 };

/** Idle memory and CPU. */
export async function measureIdle(lab: Lab, { isSmoke }: Extent): Promise<Row[]> {
  const { settleMs, windowMs } = isSmoke ? SMOKE_IDLE : IDLE;
  const agent = await bringUp(lab, "idle", 30);
  const bare = lab.spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  await sleep(settleMs);
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
const SPACING_MS = 250;

/**
 * A turn that changes nothing, from the request to its end: engine calls and CPU, by the number of services. What probes
 * cost in the same time without any turn is taken off.
 */
export async function measureNoop(lab: Lab, { isSmoke }: Extent): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of isSmoke ? [10] : [10, 50, 100]) {
    const agent = await bringUp(lab, `noop${count}`, count);
    await sleep(3_000);
    await syncOften(agent, 5);
    const before = await readCounters(agent);
    await sleep(2_000);
    const idleMs = await measureCpu(agent, () => sleep(SYNCS * SPACING_MS));
    const busyMs = await measureCpu(agent, () => syncOften(agent, SYNCS));
    const after = await readCounters(agent);
    const turns = after.turns - before.turns;
    const calls = (after.calls - before.calls) / turns;
    const cpuMs = (busyMs - idleMs) / SYNCS;
    await agent.stop();
    const bar = count === 100 ? { bar: { text: "≤ 20 ms CPU", met: cpuMs <= 20 } } : {};
    rows.push({
      question: `a turn with ${count} services and no change`,
      orca: `${cpuMs.toFixed(1)} ms CPU, ${calls.toFixed(1)} engine calls`,
      beside: `probes alone: ${((idleMs / (SYNCS * SPACING_MS)) * 100).toFixed(1)} % of a core`,
      ...bar,
    });
  }
  return rows;
}

async function measureCpu(agent: RunningAgent, work: () => Promise<unknown>): Promise<number> {
  const beforeMs = agent.cpuMs;
  await work();
  return agent.cpuMs - beforeMs;
}

async function syncOften(agent: RunningAgent, times: number): Promise<void> {
  for (let turn = 0; turn < times; turn += 1) {
    await agent.ask("POST", "/v1/sync", "{}");
    await sleep(SPACING_MS);
  }
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
export async function measureStart(lab: Lab, { rounds }: Extent): Promise<Row[]> {
  const first = await bringUp(lab, "start", 30);
  await first.stop();
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const agent = lab.startAgent(lab.writeRepository("start", names(30)));
    times.push((await agent.untilLine(/ services at /)) - agent.startedMs);
    await agent.stop();
  }
  const bare: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startMs = performance.now();
    const child = lab.spawn(process.execPath, [...readUnitFlags().flags, "-e", "0"]);
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
