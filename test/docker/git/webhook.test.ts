// The daemon with a webhook on the real engine and a real Git server: a push is followed although the next poll is an hour
// away, what became of it is told at the forge, and a changed agent.toml moves the webhook while the agent runs.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeMarkedSecrets } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { buildPush, postPush } from "../../../scripts/lab/git/push.ts";
import { buildHttpd } from "../../../scripts/lab/engine/real-node.ts";
import { FakeGitea } from "../../fakes/fake-gitea.ts";
import { eventually } from "../../contract/docker-port.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { findPort } from "../../builders/engine/free-port.ts";

const NODE = nameForRun("webhook");
const [FIRST, SECOND, STATUS, OTHER_STATUS] = (await Promise.all(
  Array.from({ length: 4 }, async () => `127.0.0.1:${await findPort()}` as const),
)) as [string, string, string, string];
const runDir = mkdtempSync("/dev/shm/orca-webhook-");
const SECRET = "correct horse battery staple";
const root = mkdtempSync(join(tmpdir(), "orca-webhook-daemon-"));
const server = new GitServer();
const forge = new FakeGitea();
let agent: OrcaProcess;

function configure(listen: string, listenStatus = STATUS): void {
  const lines = [
    `node = "${NODE}"`,
    `state = { dir = "${root}/state" }`,
    `status = { listen = ["${listenStatus}"] }`,
    `policy = { file = "${root}/policy.toml" }`,
    describeMarkedSecrets(),
    "[source]",
    `git = { url = "${server.url}", poll = "1h" }`,
    `webhook = { listen = "${listen}", secret_file = "${root}/secret" }`,
    `status_token_file = "${root}/status-token"`,
    `status_url = "https://status.example/{node}"`,
    `api_url = "${forge.origin}/api/v1"`,
  ];
  writeFileSync(join(root, "agent.toml"), lines.join("\n"));
}

function commit(env: string): string {
  return server.repository.commit({
    files: {
      "orca/fleet.toml": `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "trial"\nmemory = "2GiB"\n`,
      [`orca/manifests/${NODE}/web.toml`]: buildHttpd({ tables: `[env]\nPUSH = "${env}"` }),
    },
  });
}

async function readStatus(): Promise<StatusDocument> {
  const response = await fetch(`http://${STATUS}/v1/status`);
  return (await response.json()) as StatusDocument;
}

/** The agent has been started, and does not listen yet. */
function isUp(): Promise<boolean> {
  return readStatus().then(
    ({ healthy }) => healthy,
    () => false,
  );
}

beforeAll(async () => {
  await Promise.all([server.start(), forge.start()]);
  writeFileSync(join(root, "status-token"), "writer", { mode: 0o600 });
  writeFileSync(join(root, "secret"), SECRET, { mode: 0o600 });
  writeFileSync(join(root, "policy.toml"), "");
  configure(FIRST);
  commit("first");
  agent = new OrcaProcess(["agent", "--config", join(root, "agent.toml")], { runDir });
  await eventually(isUp, 30_000);
});

afterAll(async () => {
  const texts = { "its output": agent.output, "what the forge was told": JSON.stringify(forge.rows) };
  const places = { node: NODE, stateDir: join(root, "state"), directories: [root], texts };
  await expectNoSecretLeft({ ...places, listen: STATUS, socketPath: join(runDir, "agent.sock") }, clear);
});

async function clear(): Promise<void> {
  await agent.kill();
  const ids = await docker("ps", "-aq", "--filter", `label=orca.node=${NODE}`);
  if (ids !== "") await docker("rm", "-f", ...ids.split("\n"));
  await docker("network", "rm", `orca-${NODE}`).catch(() => undefined);
  await Promise.all([server.dispose(), forge.stop()]);
  rmSync(runDir, { recursive: true, force: true });
  rmSync(root, { recursive: true, force: true });
}

test("a signed push is followed at once, and its id is in the log with the commit", async () => {
  const tip = commit("second");
  const { status, body } = await postPush(FIRST, { body: buildPush({ after: tip }), secret: SECRET });
  expect(status).toBe(202);
  const readEnv = async (): Promise<string> => {
    const own = ["--filter", `label=orca.node=${NODE}`, "--filter", "label=orca.service=web"];
    const ids = (await docker("ps", "-q", ...own)).split("\n").filter((id) => id !== "");
    return ids.length === 0 ? "" : docker("inspect", "--format", "{{.Config.Env}}", ...ids);
  };
  await eventually(async () => (await readEnv()).includes("PUSH=second"), 60_000);
  const line = agent.output.split("\n").find((text) => text.includes("a revision is in force") && text.includes(tip));
  expect(line).toContain(body.id);
  expect((await readStatus()).webhook).toMatchObject({
    listen: FIRST,
    accepted: 1,
    last: { id: body.id, status: 202 },
  });
});

test("what became of the commit is told at the forge, by the token of its own", async () => {
  const tip = server.repository.tip();
  await eventually(() => forge.newest(`orca/${NODE}`)?.state === "success", 60_000);
  expect(forge.rows.filter(({ sha }) => sha === tip)).toMatchObject([
    { state: "pending", target_url: `https://status.example/${NODE}` },
    { state: "success", description: "1 service is settled" },
  ]);
  expect(agent.output).not.toContain("writer");
});

test("agent.toml is read again: the webhook moves, and what needs a restart is said", async () => {
  configure(SECOND);
  await eventually(async () => (await readStatus()).webhook?.listen === SECOND, 10_000);
  expect((await postPush(SECOND, { body: buildPush(), secret: SECRET })).status).toBe(202);
  await expect(postPush(FIRST, { body: buildPush(), secret: SECRET })).rejects.toThrow(/ECONNREFUSED/);
  configure(SECOND, OTHER_STATUS);
  await eventually(async () => (await readStatus()).notes.some((note) => note.includes("status.listen")), 10_000);
  writeFileSync(join(root, "agent.toml"), "node = \n");
  await eventually(async () => (await readStatus()).notes.some((note) => note.includes("agent.toml:1")), 10_000);
  expect((await postPush(SECOND, { body: buildPush(), secret: SECRET })).status).toBe(202);
  expect(agent.output).not.toContain(SECRET);
});
