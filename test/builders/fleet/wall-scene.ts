// The scene that the firewall's tests play on: BreakPilot's edge with an engine and published ports, another production VM, a stage
// VM with an engine and containers, a second one without, and the cloud's metadata server. Every probe has a caller in production.

import type { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { docker, readFirewall, WallLab, type WallPeer } from "./wall-lab.ts";

export const EDGE = "10.0.0.10";
export const EDGE6 = "fd00:10::10";
export const PUBLIC = "203.0.113.10";
const PUBLIC6 = "2001:db8::10";
export const CONTROL = "10.0.0.20";
export const STAGE = "10.0.1.10";
export const METADATA = "169.254.169.254";

/** Ports of the scene; the first two are the doors, the next two those of the VM itself. */
export const PORTS = {
  auth: 443,
  mail: 587,
  git: 4443,
  infisical: 8080,
  keycloak: 8443,
  database: 5432,
  redis: 6379,
  hostNetwork: 9100,
} as const;
export const GOSSIP = 7946;
const SSH = 22;

/** Everything that plays. */
export interface WallScene {
  lab: WallLab;
  edge: WallPeer;
  edgeEngine: PrivateEngine;
  control: WallPeer;
  /** A stage VM's host, and inside its containers: behind translation, on the host's network, with IPv6 of its own. */
  stage: WallPeer;
  stageEngine: PrivateEngine;
  container: WallPeer;
  hostNetwork: WallPeer;
  container6: WallPeer;
  /** Stage without an engine: nothing there has made the kernel follow connections. */
  plain: WallPeer;
  cloud: WallPeer;
}

/** Which sides have their firewall. */
export type Walls = "none" | "stage" | "production" | "both";

export async function buildWallScene(): Promise<WallScene> {
  const lab = new WallLab();
  const [edge, edgeEngine] = await lab.addEngine([], `${EDGE}/16`, `${EDGE6}/48`, `${PUBLIC}/24`, `${PUBLIC6}/64`);
  const control = lab.addHost(`${CONTROL}/16`, "fd00:10::20/48", "203.0.113.11/24", "2001:db8::11/64");
  const [stage, stageEngine] = await lab.addEngine(
    ["--live-restore"],
    `${STAGE}/16`,
    "fd00:10:0:1::10/48",
    "203.0.113.40/24",
    "2001:db8::40/64",
  );
  const plain = lab.addHost("10.0.1.11/16", "fd00:10:0:1::11/48");
  const cloud = lab.addHost(`${METADATA}/32`, "10.0.200.1/16");
  for (const host of [edge, stage]) host.run("ip", "route", "add", METADATA, "dev", "lan0");
  await cloud.listen(80, 53);
  await control.listen(PORTS.mail, PORTS.database);
  await edge.listen(SSH, GOSSIP);
  await edge.ask({ do: "listen", port: GOSSIP, udp: true });
  publish(edgeEngine);
  const enter = runContainers(stageEngine, stage);
  edge.run("ip", "route", "add", "fd99::/64", "via", "fd00:10:0:1::10");
  const [container, hostNetwork, container6] = await Promise.all(enter.map((name) => lab.enter(stageEngine, name)));
  if (container === undefined || hostNetwork === undefined || container6 === undefined) throw new Error("no peer");
  // A new IPv6 network takes a second or two until it is used.
  for (let attempt = 0; (await container6.connect(EDGE6, PORTS.auth)) !== "open"; attempt += 1)
    if (attempt > 10) throw new Error("the container with IPv6 does not reach the edge");
  return { lab, edge, edgeEngine, control, stage, stageEngine, container, hostNetwork, container6, plain, cloud };
}

/** What Orca publishes on the edge: on every address, and on the node's own. */
function publish(engine: PrivateEngine): void {
  const { auth, mail, git, infisical, keycloak, database, redis, hostNetwork } = PORTS;
  const ports = [auth, mail, git, infisical, keycloak, database].map((port) => `${port}:8000`);
  const echo = (port: number): string[] => [IMAGE, "nc", "-ll", "-p", String(port), "-e", "cat"];
  const publishing = [...ports, `${EDGE}:${redis}:8000`].flatMap((port) => ["-p", port]);
  docker(engine, "run", "-d", "--name", "services", ...publishing, ...echo(8000));
  docker(engine, "run", "-d", "--name", "host-network", "--network", "host", ...echo(hostNetwork));
}

function runContainers(engine: PrivateEngine, host: WallPeer): string[] {
  const asleep = [IMAGE, "sleep", "100000"];
  docker(engine, "run", "-d", "--name", "app", ...asleep);
  docker(engine, "run", "-d", "--name", "on-host", "--network", "host", ...asleep);
  docker(engine, "network", "create", "--ipv6", "--subnet", "fd99::/64", "six");
  docker(engine, "run", "-d", "--name", "six", "--network", "six", ...asleep);
  host.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1");
  return ["app", "on-host", "six"];
}

/** Loads the shipped files, or takes them down. */
export function wall({ edge, control, stage, plain }: WallScene, walls: Walls): void {
  const isOn = (side: Walls): boolean => walls === side || walls === "both";
  for (const host of [stage, plain]) host.load(isOn("stage") ? readFirewall("stage") : undefined);
  for (const host of [edge, control]) host.load(isOn("production") ? readProduction() : undefined);
}

/** As its comment says where containers of stage have addresses of their own. */
export function readProduction(): string {
  return readFirewall("production").replace(/^define stage6 .*$/m, "define stage6 = { fd00:10:0:1::/64, fd99::/64 }");
}

/** One way in. `callers` says who in stage can try it at all. */
export interface WallProbe {
  what: string;
  callers: readonly ("stage" | "container" | "hostNetwork" | "container6")[];
  try: (peer: WallPeer) => Promise<string>;
}

const FOUR = ["stage", "container", "hostNetwork"] as const;
const SIX = ["stage", "hostNetwork", "container6"] as const;

/** Every way from stage into production that must be closed. */
export function listForbidden({ edge }: WallScene): WallProbe[] {
  const tcp = (what: string, host: string, port: number, fromPort?: number): WallProbe => ({
    // Two cannot have one port of the same host at once.
    what,
    callers: fromPort !== undefined ? ["stage", "container"] : host.includes(":") ? SIX : FOUR,
    try: (peer) => peer.connect(host, port, fromPort === undefined ? {} : { fromPort }),
  });
  const udp = (what: string, host: string, fromPort?: number): WallProbe => ({
    what,
    callers: fromPort !== undefined ? ["stage", "container"] : host.includes(":") ? SIX : FOUR,
    try: (peer) => peer.datagram(host, GOSSIP, fromPort === undefined ? {} : { fromPort }),
  });
  const linkLocal = /inet6 (fe80::[\da-f:]+)/.exec(edge.run("ip", "-6", "addr", "show", "dev", "lan0"))?.[1] ?? "";
  return [
    tcp("a database that Docker publishes", EDGE, PORTS.database),
    tcp("Keycloak, past the proxy", EDGE, PORTS.keycloak),
    tcp("what is published on the node's address", EDGE, PORTS.redis),
    tcp("a container on the host's network", EDGE, PORTS.hostNetwork),
    tcp("gossip", EDGE, GOSSIP),
    udp("gossip by UDP", EDGE),
    tcp("SSH", EDGE, SSH),
    tcp("mail at its own VM, past the proxy", CONTROL, PORTS.mail),
    tcp("a database on a VM without an engine", CONTROL, PORTS.database),
    tcp("a database from the port of a door", EDGE, PORTS.database, 443),
    udp("gossip from the port of DNS", EDGE, 53),
    tcp("a database by IPv6", EDGE6, PORTS.database),
    tcp("gossip by IPv6", EDGE6, GOSSIP),
    udp("gossip by UDP and IPv6", EDGE6),
    { ...tcp("gossip by its link-local address", `${linkLocal}%lan0`, GOSSIP), callers: ["stage", "hostNetwork"] },
    { ...udp("gossip by UDP and its link-local address", `${linkLocal}%lan0`), callers: ["stage", "hostNetwork"] },
    tcp("a database by its public address", PUBLIC, PORTS.database),
    { ...tcp("a database by its public IPv6 address", PUBLIC6, PORTS.database), callers: ["stage", "hostNetwork"] },
  ];
}

/** What a VM of stage needs for its agent and its engine, and no container of it. */
export function listHostOnly(): WallProbe[] {
  const doors: [string, string, number][] = [
    ["Git", EDGE, PORTS.git],
    ["Infisical", EDGE, PORTS.infisical],
    ["Git by IPv6", EDGE6, PORTS.git],
  ];
  return doors.map(([what, host, port]) => ({
    what,
    callers: host.includes(":") ? ["container6"] : ["container"],
    try: (peer) => peer.connect(host, port),
  }));
}

/** The doors as the world resolves them: by its public address stage has none. */
export function listNamed(): WallProbe[] {
  const doors: [string, string, number][] = [
    ["auth", PUBLIC, PORTS.auth],
    ["mail", PUBLIC, PORTS.mail],
    ["auth by IPv6", PUBLIC6, PORTS.auth],
  ];
  return doors.map(([what, host, port]) => ({
    what: `${what} by its public address`,
    callers: host.includes(":") ? (["stage", "hostNetwork"] as const) : FOUR,
    try: (peer) => peer.connect(host, port),
  }));
}

/** All that stage may call. */
export function listAllowed(): WallProbe[] {
  const doors: [string, string, number][] = [
    ["auth", EDGE, PORTS.auth],
    ["mail", EDGE, PORTS.mail],
    ["auth by IPv6", EDGE6, PORTS.auth],
    ["mail by IPv6", EDGE6, PORTS.mail],
  ];
  return doors.map(([what, host, port]) => ({
    what,
    callers: host.includes(":") ? (["stage", "hostNetwork"] as const) : FOUR,
    try: (peer) => peer.connect(host, port),
  }));
}
