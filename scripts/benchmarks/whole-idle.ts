// What an agent costs with everything that a node of a fleet has: Git, a webhook, gossip with two neighbours, thirty probed services.

import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { makeIdentity } from "../../agent/gossip/node-identity.ts";
import { GitServer } from "../lab/git/git-server.ts";
import type { Extent } from "./extent.ts";
import { HTTPD, IMAGE, type Lab, readCpuMs, readMemoryMiB, readUnitFlags, type RunningAgent } from "./lab.ts";
import { NEIGHBOURS, openLink, PEER, Relay } from "./link.ts";
import type { MemberStart } from "./member-words.ts";
import { buildMember } from "./members.ts";
import type { Row } from "./table.ts";

const NODE = "bench";
const SERVICES = Array.from({ length: 30 }, (_, index) => `s${index + 100}`);
const BAR = { residentMiB: 64, share: 0.003 };
/** How long it is left alone before it is looked at (by then it rests: agent/daemon/resting-memory.ts), and for how long it is looked at. */
const WAITS = { settleMs: 45_000, windowMs: 60_000 };
const SMOKE_WAITS: typeof WAITS = { settleMs: 500, windowMs: 1_000 };

type Fleet = MemberStart["source"]["fleet"];

/** Measures; answers the rows. */
export async function measureWhole(lab: Lab, { isSmoke }: Extent): Promise<Row[]> {
  const { settleMs, windowMs } = isSmoke ? SMOKE_WAITS : WAITS;
  await lab.clear();
  const unlink = openLink(lab);
  const server = await new GitServer().start();
  const relay = await Relay.open(Number(new URL(server.url).port));
  const bare = lab.spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const members: ChildProcess[] = [];
  try {
    const fleet = await nameFleet(lab);
    commit(server, fleet);
    for (const member of fleet.slice(1)) members.push(await startMember(lab, member, fleet));
    const agent = startAgent(lab, relay.lead(server.url));
    for (const service of SERVICES) await agent.untilLine(new RegExp(`"service":"${service}","state":"healthy"`));
    await sleep(settleMs);
    const measured = await measure(agent, bare.pid ?? 0, windowMs);
    await agent.stop();
    return describeRows(measured);
  } finally {
    for (const member of members) member.kill("SIGKILL");
    bare.kill();
    await lab.endChildren();
    await relay.close();
    await server.dispose();
    unlink();
  }
}

interface Measured {
  share: number;
  bareShare: number;
  memory: ReturnType<typeof readMemoryMiB>;
  floor: ReturnType<typeof readMemoryMiB>;
}

async function measure(agent: RunningAgent, bare: number, windowMs: number): Promise<Measured> {
  const [agentMs, bareMs] = [agent.cpuMs, readCpuMs(bare)];
  await sleep(windowMs);
  const share = (agent.cpuMs - agentMs) / windowMs;
  const bareShare = (readCpuMs(bare) - bareMs) / windowMs;
  return { share, bareShare, memory: readMemoryMiB(agent.pid), floor: readMemoryMiB(bare) };
}

function describeRows({ share, bareShare, memory, floor }: Measured): Row[] {
  const mib = (value: number): string => `${value.toFixed(1)} MiB`;
  const percent = (value: number): string => `${(value * 100).toFixed(2)} %`;
  const what = "idle with Git, a webhook, gossip with two nodes and 30 services";
  return [
    {
      question: `${what}: resident memory`,
      orca: `${mib(memory.resident)}, of it anonymous ${mib(memory.anonymous)}`,
      beside: `bare Node: ${mib(floor.resident)}, ${mib(floor.anonymous)}`,
      ratio: memory.resident / floor.resident,
      bar: { text: `≤ ${BAR.residentMiB} MiB`, met: memory.resident <= BAR.residentMiB },
    },
    {
      question: `${what}, probed every 10 s: CPU`,
      orca: `${percent(share)} of a core`,
      beside: `bare Node: ${percent(bareShare)}`,
      bar: { text: "≤ 0.3 %", met: share <= BAR.share },
    },
  ];
}

async function nameFleet(lab: Lab): Promise<Fleet> {
  const addresses = { [NODE]: PEER, "vm-b": NEIGHBOURS[0], "vm-c": NEIGHBOURS[1] };
  const fleet: Fleet[number][] = [];
  for (const [node, address] of Object.entries(addresses)) {
    const { publicKey } = await makeIdentity(join(lab.root, `${node}.key`));
    fleet.push({ node, realm: "bench", address, publicKey });
  }
  return fleet;
}

function commit(server: GitServer, fleet: Fleet): void {
  const nodes = fleet.map(
    ({ node, address, publicKey }) =>
      `[nodes.${node}]\naddress = "${address}"\nenv = "bench"\nmemory = "4GiB"\nreserve = "256MiB"\npublic_key = "${publicKey}"\n`,
  );
  const manifest = [
    `image = "${IMAGE}"\ncommand = ${JSON.stringify(HTTPD)}\nstop_timeout = "1s"\n[resources]\nmemory = "16MiB"`,
    '[health]\nhttp = { port = 8080, path = "/passwd" }\ninterval = "10s"\n[update]\nsettle = "1s"\n',
  ].join("\n");
  server.repository.commit({
    files: {
      "orca/fleet.toml": nodes.join("\n"),
      ...Object.fromEntries(SERVICES.map((service) => [`orca/manifests/${NODE}/${service}.toml`, manifest])),
    },
  });
}

async function startMember(lab: Lab, { node, address }: Fleet[number], fleet: Fleet): Promise<ChildProcess> {
  const program = join(lab.root, "member.mjs");
  await buildMember(program);
  const start: MemberStart = {
    node,
    listen: `${address}:7946`,
    identityFile: join(lab.root, `${node}.key`),
    stateDir: join(lab.root, `${node}-state`),
    source: { fleet, interests: [NODE] },
  };
  const words = [...readUnitFlags().flags, program, JSON.stringify(start)];
  return spawn(process.execPath, words, { stdio: ["pipe", "ignore", "inherit"] });
}

function startAgent(lab: Lab, url: string): RunningAgent {
  const file = (name: string): string => join(lab.root, name);
  writeFileSync(file("secret"), "bench-secret", { mode: 0o600 });
  const stateDir = file("agent-whole");
  const lines = [
    `node = "${NODE}"\nstatus = { listen = ["127.0.0.1:18419"] }\nstate = { dir = "${stateDir}" }`,
    `docker = { socket = "${lab.engine.socketPath}" }\npolicy = { file = "${file("none.toml")}" }`,
    `gossip = { listen = "${PEER}:7946", identity_file = "${file(`${NODE}.key`)}" }`,
    `[source]\ngit = { url = "${url}", poll = "60s" }`,
    `webhook = { listen = "${PEER}:18411", secret_file = "${file("secret")}" }`,
  ];
  writeFileSync(file("whole.toml"), lines.join("\n"));
  return lab.startCommand(["agent", "--config", file("whole.toml")], stateDir);
}
