// How soon what broke is put right: a crash beside Docker's own restart policy, and drift.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import Docker from "dockerode";

import { LABEL } from "../../shared/state/identity.ts";
import { EngineProxy } from "../lab/engine/engine-proxy.ts";
import type { Extent } from "./extent.ts";
import { HTTPD, IMAGE, type Lab, median } from "./lab.ts";
import type { Row } from "./table.ts";

const run = promisify(execFile);
const INITIAL_MS = 1_000;

/** Crashes, each of a service without any history. */
export async function measureCrash(lab: Lab, { rounds }: Extent): Promise<Row[]> {
  await lab.clear();
  const names = Array.from({ length: rounds }, (_, index) => `c${index + 10}`);
  const proxy = new EngineProxy(join(lab.engine.root, "bench.sock"), lab.engine.socketPath);
  await proxy.listen();
  const agent = lab.startAgent(lab.writeRepository("crash", names), { socket: proxy.socketPath });
  await agent.untilLine(/^\S+ \S+ +settled /, rounds);
  const [noticed, issued, started, total, told]: number[][] = [[], [], [], [], []];
  for (const name of names) {
    const { id, pid } = await find(lab, name);
    lab.events.length = 0;
    proxy.reset();
    const crashMs = performance.now();
    process.kill(pid, "SIGKILL");
    noticed?.push((await agent.untilLine(new RegExp(` ${name} +backoff `))) - crashMs);
    told?.push((await lab.untilEvents("die", 1, (event) => event.id === id)) - crashMs);
    const runningMs = await lab.untilEvents("start", 1, (event) => event.id === id);
    const startMs = proxy.calls.find((call) => call.path.includes(`/${id}/start`))?.atMs ?? Number.NaN;
    issued?.push(startMs - crashMs);
    started?.push(runningMs - startMs);
    total?.push(runningMs - crashMs);
    await sleep(500);
  }
  await agent.stop();
  await proxy.close();
  const engineStart = await measureEngineStart(lab, rounds);
  const policy = await measureRestartPolicy(lab, rounds);
  const ms = (value: number): string => `${value.toFixed(0)} ms`;
  const [noticedMs, issuedMs, startedMs, totalMs, toldMs] = [noticed, issued, started, total, told].map((list) =>
    median(list ?? []),
  ) as [number, number, number, number, number];
  const within = (issued ?? []).every((value) => value >= 0.8 * INITIAL_MS && value <= INITIAL_MS + 150);
  return [
    {
      question: "crash to noticed",
      orca: ms(noticedMs),
      beside: `the engine's own event of it: ${ms(toldMs)}`,
      ratio: noticedMs / toldMs,
      bar: { text: "< 100 ms", met: noticedMs < 100 },
    },
    {
      question: "crash to start issued, no history, initial 1 s",
      orca: ms(issuedMs),
      beside: "0.8 to 1.0 × initial",
      ratio: issuedMs / INITIAL_MS,
      bar: { text: "0.8–1.0 × initial", met: within },
    },
    {
      question: "start issued to running",
      orca: ms(startedMs),
      beside: `the engine's own start: ${ms(engineStart)}`,
      ratio: startedMs / engineStart,
      bar: { text: "≤ 1.3 ×", met: startedMs <= 1.3 * engineStart },
    },
    {
      question: "crash to running again",
      orca: ms(totalMs),
      beside: `Docker's restart policy (100 ms at first): ${ms(policy)}`,
      ratio: totalMs / policy,
    },
  ];
}

async function find(lab: Lab, service: string): Promise<{ id: string; pid: number }> {
  const { reader } = lab.engine.client;
  const row = (await reader.listContainers()).find(
    (entry) => entry.labels[LABEL.service] === service && entry.status === "running",
  );
  if (row === undefined) throw new Error(`${service} does not run`);
  return { id: row.id, pid: (await reader.inspectContainer(row.id))?.pid ?? 0 };
}

/** A start of a stopped container, by one raw call. */
async function measureEngineStart(lab: Lab, rounds: number): Promise<number> {
  await lab.clear();
  const docker = new Docker({ socketPath: lab.engine.socketPath });
  const container = await docker.createContainer({
    Image: IMAGE,
    Cmd: HTTPD,
    HostConfig: { Memory: 16 * 2 ** 20, MemorySwap: 16 * 2 ** 20 },
  });
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    lab.events.length = 0;
    const startMs = performance.now();
    await container.start();
    times.push((await lab.untilEvents("start", 1)) - startMs);
    await container.kill();
    await sleep(300);
  }
  return median(times);
}

async function measureRestartPolicy(lab: Lab, rounds: number): Promise<number> {
  await lab.clear();
  const docker = new Docker({ socketPath: lab.engine.socketPath });
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const container = await docker.createContainer({
      Image: IMAGE,
      Cmd: HTTPD,
      HostConfig: { RestartPolicy: { Name: "always" } },
    });
    await container.start();
    const { State } = await container.inspect();
    await sleep(500);
    lab.events.length = 0;
    const crashMs = performance.now();
    process.kill(State.Pid, "SIGKILL");
    times.push((await lab.untilEvents("start", 1)) - crashMs);
    await container.remove({ force: true });
  }
  return median(times);
}

/** Things changed by hand, until they are as declared again. */
export async function measureDrift(lab: Lab, { rounds }: Extent): Promise<Row[]> {
  await lab.clear();
  const agent = lab.startAgent(lab.writeRepository("drift", ["app"]));
  await agent.untilLine(/^\S+ \S+ +settled /);
  const docker = (...parameters: string[]): Promise<unknown> =>
    run("docker", ["-H", `unix://${lab.engine.socketPath}`, ...parameters]);
  const kinds: [string, (id: string) => Promise<unknown>, string, number][] = [
    ["caps changed", (id) => docker("update", "--memory", "64m", "--memory-swap", "64m", id), "update", 2],
    ["network detached", (id) => docker("network", "disconnect", "orca-drift", id), "connect", 1],
    ["container removed", (id) => docker("rm", "-f", id), "start", 1],
  ];
  const rows: Row[] = [];
  for (const [what, change, action, count] of kinds) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const { id } = await find(lab, "app");
      lab.events.length = 0;
      await change(id);
      const changedMs = performance.now();
      times.push((await lab.untilEvents(action, count)) - changedMs);
      await sleep(2_000);
    }
    rows.push({ question: `drift to corrected: ${what}`, orca: `${median(times).toFixed(0)} ms`, beside: "" });
  }
  await agent.stop();
  return rows;
}
