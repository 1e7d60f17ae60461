// From a commit to a healthy container through the webhook, beside raw engine calls for the same change; and what a poll costs
// while nothing changes. The Git server is git's own http-backend, the agent the bundle with an agent.toml.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import Docker from "dockerode";

import { GitServer } from "../lab/git/git-server.ts";
import { buildPush, postPush } from "../lab/git/push.ts";
import type { Extent } from "./extent.ts";
import { HTTPD, IMAGE, type Lab, median, readMemoryMiB, type RunningAgent, until } from "./lab.ts";
import { openLink, PEER, Relay } from "./link.ts";
import type { Row } from "./table.ts";

const NODE = "bench";
const SECRET = "bench-secret";
const [HOOK_PORT, ORCA_PORT, FLOOR_PORT] = [18_411, 18_412, 18_413];
/** A push soon after another fetch waits for it; this measures one alone. */
const WAITS = { apartMs: 8_000, pollsMs: 20_000 };
const SMOKE_WAITS: typeof WAITS = { apartMs: 6_000, pollsMs: 3_000 };

/** Measures; answers the rows. */
export async function measureMerge(lab: Lab, { rounds, isSmoke }: Extent): Promise<Row[]> {
  const waits = { rounds, ...(isSmoke ? SMOKE_WAITS : WAITS) };
  await lab.clear();
  const unlink = openLink(lab);
  const server = await new GitServer().start();
  const relay = await Relay.open(Number(new URL(server.url).port));
  try {
    return [
      ...(await measureCommits(lab, server, { relay, ...waits })),
      await measurePolls(lab, server, { relay, ...waits }),
    ];
  } finally {
    await relay.close();
    await server.dispose();
    unlink();
  }
}

async function measureCommits(
  lab: Lab,
  server: GitServer,
  { relay, rounds, apartMs }: { relay: Relay; rounds: number; apartMs: number },
): Promise<Row[]> {
  commit(server, 0);
  const agent = startAgent(lab, { url: relay.lead(server.url), poll: "1h" });
  await agent.untilLine(HEALTHY);
  const floor = new Floor(lab);
  await floor.change(0);
  const [orcaMs, floorMs]: [number[], number[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    await sleep(apartMs);
    floorMs.push(await floor.change(round));
    const tip = commit(server, round);
    const startMs = performance.now();
    await postPush(`${PEER}:${HOOK_PORT}`, { body: buildPush({ after: tip }), secret: SECRET });
    orcaMs.push((await agent.untilLine(HEALTHY, round + 1)) - startMs);
  }
  await sleep(apartMs);
  const memory = readMemoryMiB(agent.pid);
  await agent.stop();
  await lab.clear();
  const [orca, beside] = [median(orcaMs), median(floorMs)];
  return [
    {
      question: `memory with Git and a webhook, after ${rounds} fetches and rollouts`,
      orca: `${memory.resident.toFixed(1)} MiB resident, ${memory.anonymous.toFixed(1)} MiB anonymous`,
      beside: "",
      bar: { text: "≤ 85 MB resident", met: memory.resident * 1.048576 <= 85 },
    },
    {
      question: "commit to healthy on the node, by webhook",
      orca: `${orca.toFixed(0)} ms`,
      beside: `stop, create, start and first good probe by raw calls: ${beside.toFixed(0)} ms`,
      ratio: orca / beside,
      bar: { text: `≤ 1 s over the floor (is ${(orca - beside).toFixed(0)} ms)`, met: orca - beside <= 1_000 },
    },
  ];
}

async function measurePolls(
  lab: Lab,
  server: GitServer,
  { relay, pollsMs }: { relay: Relay; pollsMs: number },
): Promise<Row> {
  const agent = startAgent(lab, { url: relay.lead(server.url), poll: "1s" });
  await agent.untilLine(HEALTHY);
  await sleep(3_000);
  const [before, bytes] = [server.seen.length, relay.bytes];
  const children = watchChildren(agent.pid);
  await sleep(pollsMs);
  const seen = server.seen.slice(before);
  const spent = relay.bytes - bytes;
  const born = children();
  await agent.stop();
  await lab.clear();
  // The first request of a poll names the protocol; one that knows it begins with the list.
  const polls = seen.filter(({ purpose }) => purpose === "list").length;
  const [requests, perPoll] = [seen.length / polls, spent / polls];
  const met = requests <= 2 && perPoll < 2_048 && born === 0;
  return {
    question: `a poll with no change, over ${polls} polls`,
    orca: `${requests.toFixed(2)} requests, ${perPoll.toFixed(0)} bytes with headers, ${born} processes`,
    beside: "",
    bar: { text: "≤ 2 requests, < 2 KB, no process", met },
  };
}

const HEALTHY = /"service":"app","state":"healthy"/;

function commit(server: GitServer, round: number): string {
  const manifest = [
    `image = "${IMAGE}"\ncommand = ${JSON.stringify(HTTPD)}\nstop_signal = "SIGKILL"\nports = ["${ORCA_PORT}:8080"]`,
    '[resources]\nmemory = "16MiB"\n[health]\nhttp = { port = 8080, path = "/passwd" }\n[update]\nsettle = "1s"',
    `[env]\nROUND = "${round}"\n`,
  ].join("\n");
  return server.repository.commit({
    files: {
      "orca/fleet.toml": `[nodes.${NODE}]\naddress = "${PEER}"\nenv = "bench"\nmemory = "1GiB"\nreserve = "256MiB"\n`,
      [`orca/manifests/${NODE}/app.toml`]: manifest,
    },
  });
}

function startAgent(lab: Lab, { url, poll }: { url: string; poll: string }): RunningAgent {
  const file = (name: string): string => join(lab.root, name);
  writeFileSync(file("secret"), SECRET, { mode: 0o600 });
  writeFileSync(file("policy.toml"), `[ports]\npublic = [${ORCA_PORT}]\n`);
  const stateDir = file(`agent-${poll}`);
  const lines = [
    `node = "${NODE}"\nstatus = { listen = ["127.0.0.1:18419"] }\nstate = { dir = "${stateDir}" }`,
    `docker = { socket = "${lab.engine.socketPath}" }\npolicy = { file = "${file("policy.toml")}" }\n[source]`,
    `git = { url = "${url}", poll = "${poll}" }`,
    `webhook = { listen = "${PEER}:${HOOK_PORT}", secret_file = "${file("secret")}" }`,
  ];
  writeFileSync(file("agent.toml"), lines.join("\n"));
  return lab.startCommand(["agent", "--config", file("agent.toml")], stateDir);
}

/** The same change by raw calls: the old container is stopped, the new one made, started and probed until it answers. */
class Floor {
  readonly #docker: Docker;
  #old: Docker.Container | undefined;

  constructor(lab: Lab) {
    this.#docker = new Docker({ socketPath: lab.engine.socketPath });
  }

  async change(round: number): Promise<number> {
    const startMs = performance.now();
    await this.#old?.stop({ t: 10 });
    const old = this.#old;
    this.#old = await this.#docker.createContainer({
      name: `floor-${round}`,
      Image: IMAGE,
      Cmd: HTTPD,
      Env: [`ROUND=${round}`],
      StopSignal: "SIGKILL",
      ExposedPorts: { "8080/tcp": {} },
      HostConfig: {
        Memory: 16 * 2 ** 20,
        MemorySwap: 16 * 2 ** 20,
        PidsLimit: 512,
        LogConfig: { Type: "local", Config: {} },
        PortBindings: { "8080/tcp": [{ HostIp: PEER, HostPort: String(FLOOR_PORT) }] },
      },
    });
    await this.#old.start();
    await until(() => probe(`http://${PEER}:${FLOOR_PORT}/passwd`), "the floor's probe");
    const tookMs = performance.now() - startMs;
    await old?.remove();
    return tookMs;
  }
}

function probe(url: string): Promise<true | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200 ? true : undefined);
    });
    request.on("error", () => resolve(undefined));
    request.on("timeout", () => request.destroy());
  });
}

/** Counts the processes that a process starts, by looking often; answers how to end that. */
function watchChildren(pid: number): () => number {
  const seen = new Set<string>();
  const timer = setInterval(() => {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const list = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8");
      for (const child of list.split(" ").filter((word) => word !== "")) seen.add(child);
    }
  }, 5);
  return () => {
    clearInterval(timer);
    return seen.size;
  };
}
