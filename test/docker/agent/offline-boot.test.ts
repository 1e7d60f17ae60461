// The bad hour: the host lost power, and Git, Infisical and the registry are all unreachable when it comes back. An engine of
// the test's own is killed with everything in it; what comes back comes from the disk alone, in order.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Agent } from "../../../agent/loop/agent.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { openSecrets } from "../../../agent/secrets/open-secrets.ts";
import { DEFAULT_PLAN_SETTINGS } from "../../../agent/plan/world.ts";
import type { TurnSummary } from "../../../shared/state/event.ts";
import { LABEL, sha256 } from "../../../shared/state/identity.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { CanaryFinder } from "../../../scripts/lab/canary/canary.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { openGitSource } from "../../builders/git/git-node.ts";
import { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { eventually } from "../../contract/docker-port.ts";
import { FakeInfisical } from "../../fakes/fake-infisical.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const NODE = nameForRun("offline");
const NAMES = ["db", "api", "web"];
const engine = new PrivateEngine();
const git = new GitServer();
const infisical = new FakeInfisical(2026);
const stateDir = mkdtempSync("/var/tmp/orca-offline-");
const runDir = mkdtempSync("/dev/shm/orca-offline-");
const VALUES = Object.fromEntries(NAMES.map((name) => [`/prod/${name}/TOKEN`, `canary-9e40b1-value-of-${name}`]));
let agent: Agent | undefined;
const told: string[] = [];
let turn: TurnSummary | undefined;
let starts: { service: string; atMs: number }[] = [];

function manifestOf(name: string, tables: string, top = ""): string {
  // Healthy only with the secret that it was given, which the manifest knows by its digest; the probe runs inside, since the
  // engine has a network of its own.
  const read = 'printf %s \\"$TOKEN$(cat /run/secrets/token 2>/dev/null)\\" | sha256sum | cut -c1-64';
  const digest = sha256(VALUES[`/prod/${name}/TOKEN`] ?? "");
  return [
    `image = "${IMAGE}"`,
    'command = ["/bin/sleep", "1000000"]\nstop_timeout = "1s"\ninit = true',
    top,
    '[resources]\nmemory = "16MiB"',
    `[health]\nexec = ["/bin/sh", "-c", "test $(${read}) = ${digest}"]\ninterval = "1s"`,
    '[update]\nsettle = "1s"',
    tables,
  ].join("\n");
}

async function start(bootId: string): Promise<void> {
  const { url, project, environment } = infisical;
  const [clientIdFile, clientSecretFile] = [join(stateDir, "id"), join(stateDir, "secret")];
  writeFileSync(clientIdFile, infisical.clientId, { mode: 0o600 });
  writeFileSync(clientSecretFile, infisical.clientSecret, { mode: 0o600 });
  const place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined };
  const provider = { kind: "infisical", place, pollMs: 5_000 } as const;
  turn = undefined;
  starts = [];
  agent = new Agent({
    node: NODE,
    engine: engine.client,
    source: openGitSource(git, systemClock, { node: NODE, pollMs: 1_000, directory: join(stateDir, "git") }),
    stateDir,
    runDir,
    settings: {
      node: NODE,
      policy: buildStrictPolicy(),
      standIns: undefined,
      address: "127.0.0.1",
      ports: "as-written",
      budget: "warn",
      hostNotes: [],
      assumeDataMounted: false,
      agentPorts: [],
      templates: undefined,
      frontImage: undefined,
    },
    planSettings: DEFAULT_PLAN_SETTINGS,
    peers: { kind: "known", services: {} },
    secrets: await openSecrets(
      { provider, keyFile: undefined, maxStaleMs: 7 * 86_400_000 },
      { node: NODE, stateDir, program: PROGRAM },
    ),
    authFiles: [],
    clock: systemClock,
    bootId,
    emit: (event) => {
      told.push(JSON.stringify(event));
      if (event.kind === "turn") turn = event.turn;
      if (event.kind === "step-done" && event.step.kind === "start-container")
        starts.push({ service: event.lane, atMs: event.atMs });
    },
  });
  await agent.start();
}

async function untilSettled(): Promise<void> {
  const settled = (): boolean =>
    NAMES.every((name) => turn?.services.find((entry) => entry.name === name)?.settled === true);
  await eventually(settled, 60_000).catch((error: unknown) => {
    throw new Error(JSON.stringify(turn?.services, undefined, 1), { cause: error });
  });
}

async function listStarted(): Promise<Record<string, number | undefined>> {
  const rows = await engine.client.reader.listContainers();
  const mine = rows.filter((row) => row.labels[LABEL.node] === NODE && row.status === "running");
  const details = await Promise.all(mine.map((row) => engine.client.reader.inspectContainer(row.id)));
  return Object.fromEntries(mine.map((row, index) => [row.labels[LABEL.service], details[index]?.startedMs]));
}

beforeAll(async () => {
  await engine.create([IMAGE]);
  await git.start();
  await infisical.listen();
  for (const [path, value] of Object.entries(VALUES)) infisical.secrets.set(path, value);
  git.repository.commit({
    files: {
      "orca/fleet.toml": `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "prod"\nmemory = "2GiB"\n`,
      [`orca/manifests/${NODE}/db.toml`]: manifestOf("db", '[secrets.env]\nTOKEN = "/prod/db/TOKEN"'),
      [`orca/manifests/${NODE}/api.toml`]: manifestOf(
        "api",
        '[secrets.files]\ntoken = "/prod/api/TOKEN"',
        'requires = ["db"]',
      ),
      [`orca/manifests/${NODE}/web.toml`]: manifestOf(
        "web",
        '[secrets.files]\ntoken = "/prod/web/TOKEN"',
        'requires = ["api"]',
      ),
    },
    message: "the platform",
  });
  await start("boot-1");
  await untilSettled();
});

afterAll(async () => {
  const finder = new CanaryFinder(VALUES);
  const { root, socketPath } = engine;
  const place = { socketPath, dataRoot: join(root, "data"), execRoot: join(root, "exec") };
  const visible = [{ service: "db", name: "TOKEN" }];
  const texts = { "its events": told.join("\n") };
  await expectNoSecretLeft({ node: NODE, stateDir, engine: place, visible, texts, finder }, clear);
});

async function clear(): Promise<void> {
  await agent?.stop("test");
  await engine.destroy();
  await git.dispose();
  await infisical.close();
  for (const directory of [stateDir, runDir]) rmSync(directory, { recursive: true, force: true });
}

test("everything that ran comes back in order from what is on the disk, with its age; nothing restarts when the world returns", async () => {
  const { length: logins } = infisical.seen;
  expect(logins).toBeGreaterThan(0);
  await agent?.stop("the power fails");
  await engine.end("SIGKILL");
  rmSync(join(runDir, "secrets"), { recursive: true, force: true });
  await git.stop();
  await infisical.close();

  await engine.start();
  expect(await listStarted()).toEqual({});
  await start("boot-2");
  await untilSettled();
  expect(starts.map((entry) => entry.service)).toEqual(NAMES);
  expect(turn?.source.trouble).toMatchObject({
    code: "unread",
    fault: { code: "exchange", fault: { kind: "network", code: "ECONNREFUSED" } },
  });
  expect(turn?.secrets?.location).toMatch(/^http:\/\/127\.0\.0\.1:\d+ /);
  expect(turn?.secrets?.reason).toMatch(/ECONNREFUSED/);
  const web = turn?.services.find((entry) => entry.name === "web");
  expect(web?.notes.join()).toMatch(/its secrets are as they were at \d{4}-\d\d-\d\dT/);
  const before = await listStarted();
  expect(Object.keys(before).toSorted()).toEqual(NAMES.toSorted());

  await git.start();
  await infisical.listen();
  agent?.request({ kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: undefined } });
  await eventually(() => turn?.source.trouble === undefined && turn?.secrets === undefined, 90_000);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(await listStarted()).toEqual(before);
});
