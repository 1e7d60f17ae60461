// "60 requests a second for stage at the proxy", and no route but auth's, on the real part: the shipped proxy's manifest and template,
// rendered and run by Orca as a real HAProxy before a server in Keycloak's place, with clients at stage's address and production's.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { MARKS } from "../../../scripts/lab/canary/canary.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { findSubnet } from "../../builders/engine/free-port.ts";

const EDGE = fileURLToPath(new URL("../../topologies/breakpilot/orca/manifests/vm-edge/", import.meta.url));
const IMAGE = "orca-test/haproxy:1";
const HOST = "auth.breakpilot.com";
const SUBNET = await findSubnet();
const STAGE = `${SUBNET}.200`;
const PRODUCTION = `${SUBNET}.100`;
const RATE = 60;
const TRIALS = 4;
const directory = mkdtempSync(join(tmpdir(), "orca-stage-rate-"));
const file = join(directory, "secrets.age");
const node = new RealNode("stage-rate", {
  secretFile: { file, identityFile: nameIdentityFile(file), plain: false },
});
const agents: Agent[] = [];
let proxy = "";

/** What one kind of client saw: how often each status came, how long the slowest twentieth took, and all together. */
interface Seen {
  statuses: Record<number, number>;
  p95Ms: number;
  tookSeconds: number;
}

function openssl(...words: string[]): void {
  execFileSync("openssl", words, { cwd: directory, stdio: "ignore" });
}

beforeAll(async () => {
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=inside",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
  );
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-subj",
    `/CN=${HOST}`,
    "-addext",
    `subjectAltName=DNS:${HOST}`,
    "-addext",
    "basicConstraints=CA:FALSE",
    "-keyout",
    "tls.key",
    "-out",
    "tls.crt",
  );
  const read = (name: string): string => readFileSync(join(directory, name), "utf8");
  const pem = read("tls.crt") + read("tls.key");
  const secrets = {
    ...MARKS,
    "/prod/edge/WILDCARD_PEM": pem,
    "/prod/edge/INTERNAL_CA_PEM": read("ca.pem"),
    "/prod/keycloak/PEM": pem,
  };
  await writeSecretTable(
    { file, identityFile: nameIdentityFile(file), plain: false },
    new Map(Object.entries(secrets)),
  );
  const fleet = [
    `[nodes.${node.node}]`,
    `address = "${SUBNET}.1"`,
    'env = "prod"',
    'memory = "4GiB"',
    `network = { subnet = "${SUBNET}.0/24" }`,
    "[nodes.stage]",
    `address = "${STAGE}"`,
    'env = "stage"',
    'memory = "4GiB"',
  ];
  node.setFile("../../fleet.toml", `${fleet.join("\n")}\n`);
  node.setFile("files/haproxy/haproxy.cfg.tmpl", readFileSync(join(EDGE, "files/haproxy/haproxy.cfg.tmpl"), "utf8"));
  const server = [
    "global",
    "defaults",
    "  mode http",
    "  timeout connect 5s",
    "  timeout client 60s",
    "  timeout server 60s",
    "frontend all",
    "  bind :8000",
    "  bind :8443 ssl crt /run/secrets/tls.pem",
    "  http-request return status 200",
  ];
  node.setFile("files/keycloak.cfg", `${server.join("\n")}\n`);
  node.set({ "orca-proxy": adaptProxy(), "keycloak-26": buildKeycloak() });
  await node.start();
  const services = ["orca-proxy", "keycloak-26"];
  await node.until("both are healthy", () => services.every((name) => node.view(name)?.state === "healthy"), 60_000);
  const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
  proxy = await docker("inspect", "-f", format, await node.idOf("orca-proxy"));
  const network = await docker("network", "inspect", "-f", "{{.Id}}", `orca-${node.node}`);
  // The machines that ask, on the network's own bridge: the proxy sees their addresses as they are.
  for (const address of [STAGE, PRODUCTION])
    execFileSync("ip", ["addr", "add", `${address}/32`, "dev", `br-${network.slice(0, 12)}`]);
});

afterAll(async () => {
  for (const agent of agents) agent.destroy();
  await node.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** The shipped manifest, less what is not on this machine: the image, the other services, the ports of the host. */
function adaptProxy(): string {
  const text = readFileSync(join(EDGE, "orca-proxy.toml"), "utf8");
  return (
    text
      .replace(/^image .*$/m, `image = "${IMAGE}"`)
      // As the official image's entrypoint runs it: with a master, so that it can be reloaded.
      .replace(/^command = \["haproxy", /m, 'command = ["haproxy", "-W", "-db", ')
      .replace(/^requires = \[\n[^]*?^\]$/m, 'requires = ["keycloak-26"]')
      .replace(/^ports .*$/m, "")
      .replace(/^stop_timeout .*$/m, 'stop_timeout = "1s"')
  );
}

/** A server in Keycloak's place behind Keycloak's own route, as shipped. */
function buildKeycloak(): string {
  const text = readFileSync(join(EDGE, "keycloak-26.toml"), "utf8");
  const [route = ""] = /^\[\[routes\]\][^]*?(?=^\[)/m.exec(text) ?? [];
  expect(route).toContain(`rate  = "${RATE}/s"`);
  // What the proxy has beside auth: for the office's and the machines' addresses, stage's among them; and for everybody.
  const others = [`host = "git.breakpilot.com"\nallow = ["${SUBNET}.0/24"]`, 'host = "*.breakpilot.com"'];
  const routes = others.map((other) => `[[routes]]\nport = 8000\n${other}\n`).join("");
  return buildHttpd({
    image: IMAGE,
    command: '["haproxy", "-db", "-f", "/etc/keycloak.cfg"]',
    memory: "64MiB",
    health: "tcp = { port = 8443 }",
    tables: `[[files]]\nsource = "files/keycloak.cfg"\ntarget = "/etc/keycloak.cfg"\n${route}${routes}`,
    secrets: '[secrets.files]\n"tls.pem" = "/prod/keycloak/PEM"',
  });
}

interface Client {
  from: string;
  port?: number;
  host?: string;
  path?: string;
  body?: string;
  headers?: Record<string, string>;
}

function ask(
  { from, port = 443, host = HOST, path = "/realms/breakpilot", body, headers = {} }: Client,
  agent: Agent,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const form =
      body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded", "content-length": body.length };
    const call = request({
      host: proxy,
      port,
      servername: HOST,
      localAddress: from,
      agent,
      path,
      method: body === undefined ? "GET" : "POST",
      ca: readFileSync(join(directory, "ca.pem")),
      headers: { host, ...form, ...headers },
    });
    call.once("response", (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    call.once("error", reject).end(body);
  });
}

/**
 * Asks so many times a second for some seconds, whatever the answers are. Never sooner after each other than that: what a busy machine
 * has let pass is not made up for, which would be another rate.
 */
async function press(client: Client, perSecond: number, seconds: number): Promise<Seen> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  agents.push(agent);
  const seen: Seen = { statuses: {}, p95Ms: 0, tookSeconds: 0 };
  const tookMs: number[] = [];
  const begunMs = performance.now();
  const calls: Promise<void>[] = [];
  let nextMs = begunMs;
  for (let index = 0; index < perSecond * seconds; index += 1) {
    const waitMs = nextMs - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    nextMs = Math.max(nextMs, performance.now()) + 1_000 / perSecond;
    calls.push(note(seen, tookMs, ask(client, agent)));
  }
  await Promise.all(calls);
  seen.tookSeconds = (performance.now() - begunMs) / 1_000;
  seen.p95Ms = tookMs.toSorted((left, right) => left - right)[Math.floor(tookMs.length * 0.95)] ?? 0;
  return seen;
}

/** What the rate lets through: the first second has its whole budget at once, and the count slides. */
function mostIn(seconds: number): number {
  return RATE * (seconds + 1) + 10;
}

async function note(seen: Seen, tookMs: number[], answer: Promise<number>): Promise<void> {
  const askedMs = performance.now();
  const status = await answer;
  seen.statuses[status] = (seen.statuses[status] ?? 0) + 1;
  tookMs.push(performance.now() - askedMs);
}

test("stage has its 60 a second, and what is beyond gets 429, for as long as it floods", async () => {
  // Far enough below it that requests which a busy machine hands on together are not too many for one second.
  const below = RATE - 15;
  expect((await press({ from: STAGE }, below, 4)).statuses).toEqual({ 200: below * 4 });
  await sleep(1_100);
  const { statuses, tookSeconds } = await press({ from: STAGE }, 240, 5);
  const [passed = 0, refused = 0] = [statuses[200], statuses[429]];
  console.log(`stage at 240/s for ${tookSeconds.toFixed(1)} s: ${passed} passed, ${refused} got 429`);
  expect(passed + refused).toBe(240 * 5);
  expect(passed).toBeLessThanOrEqual(mostIn(tookSeconds));
  // A flood does not lose what is its own.
  expect(passed).toBeGreaterThanOrEqual(RATE * 4);
});

test("production's clients are neither refused nor slowed while stage floods, whatever rate they have", async () => {
  const ratios: number[] = [];
  // A proxy that lets a flood slow the others does so each time; what else the machine does comes and goes.
  while (ratios.length < TRIALS && !ratios.some((ratio) => ratio < 1)) {
    const alone = await press({ from: PRODUCTION }, 150, 4);
    const [beside, flood] = await Promise.all([press({ from: PRODUCTION }, 150, 4), press({ from: STAGE }, 240, 4)]);
    console.log(`production: p95 ${alone.p95Ms.toFixed(1)} ms alone, ${beside.p95Ms.toFixed(1)} ms beside the flood`);
    expect(alone.statuses).toEqual({ 200: 600 });
    expect(beside.statuses).toEqual({ 200: 600 });
    expect(flood.statuses[429]).toBeGreaterThan(0);
    // Three times the requests go through one client process on the same cores.
    ratios.push(beside.p95Ms / Math.max(50, alone.p95Ms * 5));
  }
  expect(Math.min(...ratios)).toBeLessThan(1);
});

test("stage has no other route of production's proxy, whatever its name; production has them", async () => {
  const agent = new Agent();
  agents.push(agent);
  for (const host of ["git.breakpilot.com", "acme.breakpilot.com", "GIT.breakpilot.com:443"]) {
    expect([host, await ask({ from: STAGE, host }, agent)]).toEqual([host, 403]);
    expect([host, await ask({ from: PRODUCTION, host }, agent)]).toEqual([host, 200]);
  }
});

/** A connection over which one request was answered and that is kept. */
async function keepConnection(): Promise<TLSSocket> {
  const ca = readFileSync(join(directory, "ca.pem"));
  const to: ConnectionOptions & { localAddress: string } = { host: proxy, port: 443, localAddress: PRODUCTION };
  const socket = connect({ ...to, servername: HOST, ca });
  expect(await askOver(socket)).toMatch(/^HTTP\/1.1 200 /);
  return socket;
}

function askOver(socket: TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.once("data", (chunk: Buffer) => {
      socket.removeAllListeners("close").removeAllListeners("error");
      resolve(chunk.toString());
    });
    socket.write(`GET /realms/breakpilot HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  });
}

test("a reload of the proxy ends no kept connection before its next answer", async () => {
  const container = await node.idOf("orca-proxy");
  const kept = await Promise.all(Array.from({ length: 20 }, keepConnection));
  await docker("kill", "-s", "USR2", container);
  await node.until("the proxy before the reload takes no new connection", async () =>
    (await docker("logs", container)).includes("Proxy web stopped"),
  );
  expect(kept.filter((socket) => socket.readableEnded || socket.destroyed)).toEqual([]);
  for (const socket of kept) {
    const answer = await askOver(socket);
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(answer.toLowerCase()).toContain("connection: close");
    socket.destroy();
  }
});

test("its machine's own door has the routes that list its address, under the same rate, and no other", async () => {
  const agent = new Agent();
  agents.push(agent);
  const door = { from: STAGE, port: 4443 };
  expect(await ask({ ...door, host: "git.breakpilot.com" }, agent)).toBe(200);
  expect(await ask({ ...door, host: "acme.breakpilot.com" }, agent)).toBe(403);
  expect(await ask({ ...door, host: "none.example.com" }, agent)).toBe(404);
  await sleep(1_100);
  const [one, other] = await Promise.all([press(door, 120, 2), press({ from: STAGE }, 120, 2)]);
  const passed = (one.statuses[200] ?? 0) + (other.statuses[200] ?? 0);
  expect(passed).toBeLessThanOrEqual(mostIn(Math.max(one.tookSeconds, other.tookSeconds)));
  expect(passed).toBeGreaterThanOrEqual(RATE);
  await sleep(1_100);
});

const token = "/realms/breakpilot/protocol/openid-connect/token";
/** A client that proves itself by a signed assertion (RFC 7523) and sends no id beside it. */
function assert(claims: Record<string, string>): string {
  const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const assertion = `${encode({ alg: "RS256", typ: "JWT" })}.${encode({ aud: "https://auth", jti: "1", ...claims })}.c2ln`;
  const type = encodeURIComponent("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
  return `grant_type=client_credentials&client_assertion_type=${type}&client_assertion=${assertion}`;
}
const stageClient = assert({ iss: "stage_client_id", sub: "stage_client_id" });
test.each<[string, Client]>([
  ["in the body", { from: PRODUCTION, path: token, body: "grant_type=client_credentials&client_id=stage_client_id" }],
  ["in the body, encoded", { from: PRODUCTION, path: token, body: "client_id=stage%5Fclient_id&grant_type=x" }],
  [
    "in the query",
    { from: PRODUCTION, path: "/realms/x/protocol/openid-connect/auth?scope=a&client_id=stage_client_id" },
  ],
  [
    "as the user of Basic",
    {
      from: PRODUCTION,
      path: token,
      body: "grant_type=client_credentials",
      headers: { authorization: `Basic ${Buffer.from("stage_client_id:x").toString("base64")}` },
    },
  ],
  ["in an assertion", { from: PRODUCTION, path: token, body: stageClient }],
  ["in an assertion, as its issuer", { from: PRODUCTION, path: token, body: assert({ iss: "stage_client_id" }) }],
  ["nowhere that can be read: its machine", { from: STAGE, path: token, body: assert({ sub: "opaque" }) }],
])("stage's client is limited wherever it asks from: its id %s", async (_where, client) => {
  await sleep(2_100);
  const { statuses, tookSeconds } = await press(client, 240, 2);
  const [passed = 0, refused = 0] = [statuses[200], statuses[429]];
  expect(passed + refused).toBe(480);
  expect(passed).toBeLessThanOrEqual(mostIn(tookSeconds));
  expect(passed).toBeGreaterThanOrEqual(RATE);
});

test.each<[string, Client]>([
  ["in the body", { from: PRODUCTION, path: token, body: "grant_type=client_credentials&client_id=portal" }],
  ["that only begins like stage's", { from: PRODUCTION, path: token, body: "client_id=stage_client_id2" }],
  ["in an assertion", { from: PRODUCTION, path: token, body: assert({ iss: "portal", sub: "portal" }) }],
  ["with stage's id as a state", { from: PRODUCTION, path: `${token}?state=stage_client_id&client_id=portal` }],
])("another client's id %s is not limited", async (_where, client) => {
  expect((await press(client, 240, 1)).statuses).toEqual({ 200: 240 });
});
