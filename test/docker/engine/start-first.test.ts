// start-first on the real engine under constant load: no request is lost over good rollouts, and none over rollouts of
// every kind of bad release, through which the old container serves. ORCA_SLOW=1 tries twenty of both, in place of five.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { MARKED_FILES, MARKS } from "../../../scripts/lab/canary/canary.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { Load } from "../../builders/engine/load.ts";
import { IMAGE, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { REGISTRY_PASSWORD, REGISTRY_USER, TestRegistry } from "../../builders/engine/registry.ts";
import { RegistryProxy } from "../../builders/engine/registry-proxy.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";

const PROXY = "orca-test/haproxy:1";
const PORT = await findPort();
const TARGET = `127.0.0.1:${PORT}`;
const SLOW = process.env["ORCA_SLOW"] !== undefined;
const ROLLOUTS = SLOW ? 20 : 5;
const ROUNDS = SLOW ? 4 : 1;

const registry = new TestRegistry(await findPort());
const moodyPort = await findPort();
const moody = new RegistryProxy(moodyPort, registry.host);
const image = `127.0.0.1:${moodyPort}/team/app`;
const config = mkdtempSync(join(tmpdir(), "orca-docker-config-"));
const secretPath = join(config, "secrets.age");
const secretFile = { file: secretPath, identityFile: nameIdentityFile(secretPath), plain: false };
const node = new RealNode("start-first", { frontImage: PROXY, authFiles: [registry.authFile], secretFile });

/** The lane's marked secrets, and one that changes. */
function holdSecret(value: string): Promise<void> {
  return writeSecretTable(secretFile, new Map([...Object.entries(MARKS), ["/canary/lane/ROTATED", value]]));
}

/** A server that keeps connections, answers with its own name, and drops everything at once when it is told to end. */
function buildServer(name: string): string {
  const lines = [
    "global",
    "  maxconn 500",
    "defaults",
    "  mode http",
    "  timeout connect 5s",
    "  timeout client 60s",
    "  timeout server 60s",
    "frontend all",
    "  bind :9000",
    `  http-request return status 200 content-type text/plain string "${name}"`,
  ];
  return `${lines.join("\n")}\n`;
}

function buildManifest(parts: { image?: string; program?: string; settle?: string } = {}): string {
  const { settle = "1s" } = parts;
  const program =
    parts.program === undefined
      ? 'entrypoint = ["haproxy"]\ncommand = ["-db", "-f", "/etc/serve.cfg"]'
      : `entrypoint = ["/bin/sh"]\ncommand = ["-c", "${parts.program}"]`;
  return [
    `image = "${parts.image ?? PROXY}"`,
    program,
    `ports = ["${PORT}:9000"]`,
    'stop_timeout = "2s"',
    "[resources]",
    'memory = "48MiB"',
    "[health]",
    'http = { port = 9000, path = "/health" }',
    'interval = "1s"',
    "retries = 2",
    "[restart]",
    'backoff = { initial = "500ms", max = "2s" }',
    "[[files]]",
    'source = "files/serve.cfg"',
    'target = "/etc/serve.cfg"',
    "[update]",
    'order = "start-first"',
    `settle = "${settle}"`,
    'healthy_within = "16s"',
    'drain = "10s"',
    MARKED_FILES,
    '"app.key" = "/canary/lane/ROTATED"',
    "",
  ].join("\n");
}

/** Puts an image into the registry whose newest layer is not on this host. */
async function push(name: string): Promise<void> {
  const made = await docker("create", "--label", `orca.node=${nameForRun("start-first-layer")}`, PROXY, "true");
  const file = join(config, "layer");
  writeFileSync(file, randomBytes(1 << 20));
  await docker("cp", file, `${made}:/layer`);
  await docker("commit", made, `${image}:${name}`);
  await docker("rm", made);
  await docker("--config", config, "push", "-q", `${image}:${name}`);
  await docker("rmi", `${image}:${name}`);
}

let released = 0;
/** What the newest good release answers. */
let serving = "";

/** Changes what Git wants to a good release of another name, and waits until it has settled and the old one is gone. */
async function release(parts: Parameters<typeof buildManifest>[0] = {}): Promise<string> {
  released += 1;
  const name = `release-${released}`;
  const before = await node.of("app");
  node.setFile("files/serve.cfg", buildServer(name));
  node.set({ app: buildManifest(parts) });
  await node.until(
    `${name} serves alone`,
    async () => {
      const rows = await node.of("app");
      return rows.length === 1 && rows[0]?.id !== before[0]?.id && node.view("app")?.settled === true;
    },
    60_000,
  );
  serving = name;
  return name;
}

/** Takes back what is not good: what serves is what Git wants again, and nothing is made for that. */
async function takeBack(): Promise<void> {
  node.set({ app: buildManifest() });
  const isCalm = (): boolean => node.view("app")?.state === "healthy" && node.view("app")?.settled === true;
  await node.until("what serves is wanted again", isCalm, 60_000);
}

beforeAll(async () => {
  await registry.start();
  await moody.start();
  await docker("--config", config, "login", "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD, `127.0.0.1:${moodyPort}`);
  await holdSecret("the-first-value");
  writeFileSync(
    registry.authFile,
    readFileSync(registry.authFile, "utf8").replaceAll(String(registry.port), String(moodyPort)),
  );
  await node.start();
  await release();
  await node.untilSettled(["app", "app.front"]);
});

afterEach(() => Load.killAll());

afterAll(async () => {
  await node.dispose();
  await moody.stop();
  await registry.destroy();
  rmSync(config, { recursive: true, force: true });
  const left = await docker("images", image, "--format", "{{.Repository}}:{{.Tag}}");
  for (const name of left.split("\n")) if (name !== "" && !name.endsWith("<none>")) await docker("rmi", name);
});

test(`no request is lost over ${ROLLOUTS} rollouts`, async () => {
  const load = new Load(TARGET);
  await load.ready;
  const names: string[] = [];
  for (let count = 0; count < ROLLOUTS; count += 1) names.push(await release());
  const counts = await load.end();
  console.log(`start-first: ${counts.ok} requests, ${Math.round(counts.ok / (counts.elapsedMs / 1_000))} a second`);
  expect(counts.failed).toEqual({});
  expect(counts.ok).toBeGreaterThan(1_000);
  // Each of them has served.
  expect(names.filter((name) => (counts.answers[name] ?? 0) === 0)).toEqual([]);
}, 400_000);

const WWW = "mkdir -p /www; echo bad >/www/index.html; echo ok >/www/health; httpd -p 9000 -h /www;";
const BAD: [name: string, parts: Parameters<typeof buildManifest>[0]][] = [
  ["its image is not in the registry", { image: `${image}:nothing` }],
  ["it exits at once", { image: IMAGE, program: "exit 3" }],
  ["it exits after 11 s", { image: IMAGE, program: `${WWW} sleep 11; exit 3`, settle: "14s" }],
  ["it never gets healthy", { image: IMAGE, program: "exec sleep 600" }],
  [
    "it is healthy and then sick",
    { image: IMAGE, program: `${WWW} sleep 3; rm /www/health; exec sleep 600`, settle: "14s" },
  ],
];

describe("a bad release: the old one answers every request, and status says rolled back", () => {
  for (let round = 1; round <= ROUNDS; round += 1) {
    test.each(BAD)(`${round}: %s`, async (_name, parts) => {
      await takeBack();
      const before = await node.idOf("app");
      const load = new Load(TARGET);
      await load.ready;
      node.set({ app: buildManifest(parts) });
      await node.until("rolled back", () => node.view("app")?.state === "rolled-back", 60_000);
      await node.until("the bad one is gone", async () => (await node.of("app")).length === 1);
      const counts = await load.end();
      expect(counts.failed).toEqual({});
      expect(Object.keys(counts.answers)).toEqual([serving]);
      expect(await node.idOf("app")).toBe(before);
      expect(node.view("app")?.reason).toMatch(/^rolled back to dir:\w+: /);
    });
  }
});

test.each(["429", "500", "cut"] as const)(
  "a registry that answers %s in the middle of a pull: no rollback, the old one serves, and it heals",
  async (mood) => {
    await takeBack();
    await push(mood);
    moody.mood = mood;
    moody.refused = 0;
    const load = new Load(TARGET);
    await load.ready;
    node.set({ app: buildManifest({ image: `${image}:${mood}` }) });
    await node.until("the pull has failed", () => node.view("app")?.state === "backoff", 60_000);
    expect(moody.refused).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(node.view("app")?.state).not.toBe("rolled-back");
    moody.mood = "well";
    await node.until(
      "it heals by itself",
      async () => node.view("app")?.settled === true && (await node.of("app")).length === 1,
      90_000,
    );
    const counts = await load.end();
    expect(counts.failed).toEqual({});
    expect(Object.keys(counts.answers)).toEqual([serving]);
    expect((await node.of("app"))[0]?.image).toBe(`${image}:${mood}`);
  },
);

test("the agent killed and started anew in the middle of an update: no request is lost", async () => {
  await release();
  const load = new Load(TARGET);
  await load.ready;
  node.setFile("files/serve.cfg", buildServer("after-the-kill"));
  node.set({ app: buildManifest() });
  await node.until(
    "both run",
    async () => (await node.of("app")).filter((row) => row.status === "running").length === 2,
  );
  await node.stop();
  await node.start();
  await node.until(
    "the new one serves alone",
    async () => (await node.of("app")).length === 1 && node.view("app")?.settled === true,
  );
  const counts = await load.end();
  expect(counts.failed).toEqual({});
  expect(counts.answers["after-the-kill"]).toBeGreaterThan(0);
});

test("a new value of a secret in a file: a second container has it beside the first, and no request is lost", async () => {
  const name = await release();
  const [before] = await node.of("app");
  const read = async (id: string): Promise<string> => {
    const format = '{{range .Mounts}}{{if eq .Destination "/run/secrets"}}{{.Source}}{{end}}{{end}}';
    return readFileSync(join((await docker("inspect", "--format", format, id)).trim(), "app.key"), "utf8");
  };
  expect(await read(before?.id ?? "")).toBe("the-first-value");
  const load = new Load(TARGET);
  await load.ready;
  await holdSecret("the-second-value");
  await node.until(
    "both run, each with its own",
    async () => (await node.of("app")).filter((row) => row.status === "running").length === 2,
    60_000,
  );
  expect(await read(before?.id ?? "")).toBe("the-first-value");
  await node.until(
    "the new one serves alone",
    async () => (await node.of("app")).length === 1 && node.view("app")?.settled === true,
    60_000,
  );
  const [after] = await node.of("app");
  expect(after?.id).not.toBe(before?.id);
  expect(await read(after?.id ?? "")).toBe("the-second-value");
  const counts = await load.end();
  expect(counts.failed).toEqual({});
  expect(counts.answers[name]).toBeGreaterThan(100);
});
