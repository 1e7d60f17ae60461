// Thirty services from nothing: Orca beside raw engine calls at their best concurrency, beside docker-compose, and beside
// docker stack deploy on a swarm of its own. In turns, so that a slow minute of the machine is everybody's.

import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import Docker from "dockerode";

import type { Extent } from "./extent.ts";
import { HTTPD, IMAGE, type Lab, median, until } from "./lab.ts";
import type { Row } from "./table.ts";

const run = promisify(execFile);
const COUNT = 30;
const NAMES = Array.from({ length: COUNT }, (_, index) => `s${index + 10}`);
const CONCURRENCIES = [2, 4, 8];
const MEMORY = 16 * 2 ** 20;

/** Measures; answers the rows. */
export async function measureApply(lab: Lab, swarm: Lab, { rounds }: Extent): Promise<Row[]> {
  const times = new Map<string, number[]>();
  const note = (name: string, ms: number): void => void times.set(name, [...(times.get(name) ?? []), ms]);
  const contestants: [string, () => Promise<Record<string, number>>][] = [
    ...CONCURRENCIES.map((width): [string, () => Promise<Record<string, number>>] => [
      `floor ${width}`,
      () => applyRaw(lab, width),
    ]),
    ["orca", () => applyOrca(lab)],
    ["agent", () => applyMerge(lab)],
    ["compose", () => applyCompose(lab)],
    ["swarm", () => applySwarm(swarm)],
  ];
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, contest] of contestants) {
      for (const [what, ms] of Object.entries(await contest())) note(what === "" ? name : `${name} ${what}`, ms);
    }
  }
  const of = (name: string): number => median(times.get(name) ?? []);
  const floors = CONCURRENCIES.map((width) => ({ width, ms: of(`floor ${width}`) }));
  const floor = floors.toSorted((left, right) => left.ms - right.ms)[0] ?? { width: 0, ms: Number.NaN };
  const [orca, merged, healthy] = [of("orca"), of("agent"), of("agent healthy")];
  const [compose, stack] = [of("compose"), of("swarm")];
  const told = `a running agent is told of ${COUNT} new services: until all run`;
  const question = `from the start of the program until ${COUNT} services run`;
  const show = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;
  return [
    {
      question: told,
      orca: show(merged),
      beside: `raw calls, ${floor.width} at once: ${show(floor.ms)}`,
      ratio: merged / floor.ms,
      bar: { text: "≤ 1.10 × the floor", met: merged <= 1.1 * floor.ms },
    },
    {
      question: told,
      orca: show(merged),
      beside: `docker-compose up -d: ${show(compose)}`,
      ratio: merged / compose,
      bar: { text: "not slower", met: merged <= compose },
    },
    {
      question,
      orca: show(orca),
      beside: `docker-compose up -d: ${show(compose)}`,
      ratio: orca / compose,
      bar: { text: "faster", met: orca < compose },
    },
    {
      question,
      orca: show(orca),
      beside: `docker stack deploy: ${show(stack)}`,
      ratio: orca / stack,
      bar: { text: "faster", met: orca < stack },
    },
    {
      question: `the same, until all are healthy`,
      orca: show(healthy),
      beside: "the others do not look",
      ratio: healthy / floor.ms,
    },
  ];
}

async function applyRaw(lab: Lab, width: number): Promise<Record<string, number>> {
  await lab.clear();
  const docker = new Docker({ socketPath: lab.engine.socketPath });
  const startMs = performance.now();
  const network = await docker.createNetwork({ Name: "floor", CheckDuplicate: true });
  const left = [...NAMES];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const container = await docker.createContainer({
        name,
        Image: IMAGE,
        Cmd: HTTPD,
        HostConfig: {
          Memory: MEMORY,
          MemorySwap: MEMORY,
          NetworkMode: "floor",
          PidsLimit: 512,
          LogConfig: { Type: "local", Config: {} },
        },
        NetworkingConfig: { EndpointsConfig: { floor: { Aliases: [name] } } },
      });
      await container.start();
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  const ms = performance.now() - startMs;
  await lab.clear();
  await network.remove();
  return { "": ms };
}

/** The raw calls come from a program that runs already, and so do these. */
async function applyMerge(lab: Lab): Promise<Record<string, number>> {
  await lab.clear();
  const directory = lab.writeRepository("merge", []);
  const agent = lab.startAgent(directory);
  await until(() => agent.ask("GET", "/healthz").catch(() => undefined), "the agent's first turn");
  const startMs = performance.now();
  lab.writeRepository("merge", NAMES);
  await agent.ask("POST", "/v1/sync", "{}");
  const runningMs = await lab.untilEvents("start", COUNT);
  const healthyMs = await agent.untilLine(/^\S+ \S+ +healthy /, COUNT);
  await agent.stop();
  await lab.clear();
  await lab.engine.client.writer.removeNetwork("orca-merge");
  rmSync(directory, { recursive: true });
  return { "": runningMs - startMs, healthy: healthyMs - startMs };
}

async function applyOrca(lab: Lab): Promise<Record<string, number>> {
  await lab.clear();
  const agent = lab.startAgent(lab.writeRepository("apply", NAMES));
  const runningMs = await lab.untilEvents("start", COUNT);
  const healthyMs = await agent.untilLine(/^\S+ \S+ +healthy /, COUNT);
  await agent.stop();
  await lab.clear();
  await lab.engine.client.writer.removeNetwork("orca-apply");
  return { "": runningMs - agent.startedMs, healthy: healthyMs - agent.startedMs };
}

function writeCompose(lab: Lab, swarm: boolean): string {
  const directory = join(lab.root, swarm ? "stack" : "compose");
  mkdirSync(directory, { recursive: true });
  const limits = swarm
    ? { deploy: { resources: { limits: { memory: "16M" } } } }
    : { mem_limit: "16m", memswap_limit: "16m", pids_limit: 512 };
  const services = Object.fromEntries(
    NAMES.map((name) => [name, { image: IMAGE, command: HTTPD, logging: { driver: "local" }, ...limits }]),
  );
  writeFileSync(join(directory, "docker-compose.json"), JSON.stringify({ version: swarm ? "3.8" : "2.4", services }));
  return join(directory, "docker-compose.json");
}

async function applyCompose(lab: Lab): Promise<Record<string, number>> {
  await lab.clear();
  const file = writeCompose(lab, false);
  const host = ["-H", `unix://${lab.engine.socketPath}`, "-p", "bench", "-f", file];
  const startMs = performance.now();
  await run("docker-compose", [...host, "up", "-d"]);
  const ms = performance.now() - startMs;
  await run("docker-compose", [...host, "down", "-t", "0"]);
  return { "": ms };
}

async function applySwarm(lab: Lab): Promise<Record<string, number>> {
  await lab.clear();
  const file = writeCompose(lab, true);
  const host = ["-H", `unix://${lab.engine.socketPath}`];
  const startMs = performance.now();
  await run("docker", [...host, "stack", "deploy", "--resolve-image", "never", "-c", file, "bench"]);
  const runningMs = await lab.untilEvents("start", COUNT);
  await run("docker", [...host, "stack", "rm", "bench"]);
  await lab.untilEvents("destroy", COUNT);
  // Its network goes a little later than its containers.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  return { "": runningMs - startMs };
}

/** Makes a swarm of one. */
export async function initSwarm(lab: Lab): Promise<void> {
  await run("docker", ["-H", `unix://${lab.engine.socketPath}`, "swarm", "init", "--advertise-addr", "127.0.0.1"]);
}
