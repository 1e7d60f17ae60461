// A spare without a way out and without a single image takes a lost node's place by `orca recover --bundle`: manifests and images come from
// the bundle alone, and a bundle that was changed on its way brings nothing.

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ensureBackupIdentity } from "../../../agent/backup/backup-identity.ts";
import { makeIdentity } from "../../../agent/gossip/node-identity.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { eventually } from "../../contract/docker-port.ts";

const EDGE = nameForRun("packed");
const engine = new PrivateEngine();
const root = mkdtempSync("/var/tmp/orca-packed-");
const runDir = mkdtempSync("/dev/shm/orca-packed-");
/** What lies on the machine of the node: at the same places on its spare. */
const host = join(root, "host");
const [bundle, escrow] = [join(root, "edge-12"), join(root, "edge.escrow")];
const socket = join(runDir, "agent.sock");
let agent: OrcaProcess | undefined;

const write = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, text, { mode: 0o600 });
};

/** Runs a command where bundles are made, and on the node before it is lost. */
function orca(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...words], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", RUNTIME_DIRECTORY: runDir },
  });
  if (status !== 0) throw new Error(`orca ${words.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

/** Runs it on the spare, where no systemd answers. */
function recover(from: string): OrcaProcess {
  const words = ["recover", EDGE, "--escrow", escrow, "--key", join(root, "offline.key"), "--bundle", from];
  return new OrcaProcess([...words, "--source", join(host, "manifests")], {
    namespace: engine.namespace,
    runDir,
    environment: { ORCA_SOCKET: socket, PATH: join(root, "bin") },
  });
}

beforeAll(async () => {
  await engine.create([]);
  mkdirSync(join(root, "bin"));
  for (const program of ["nsenter", "ssh-keygen"])
    symlinkSync(execFileSync("which", [program], { encoding: "utf8" }).trim(), join(root, "bin", program));
  const recoveryKey = /recovery_key = ".*"/.exec(orca("keygen", "--recovery", join(root, "recovery.key")))?.[0] ?? "";
  execFileSync("ssh-keygen", ["-q", "-N", "", "-t", "ed25519", "-f", join(root, "bundle-key")]);
  const [type, key] = readFileSync(join(root, "bundle-key.pub"), "utf8").split(" ");
  const own = await makeIdentity(join(host, "identity.key"));
  const spare = await makeIdentity(join(root, "spare", "identity.key"));
  const entry = (name: string, address: string, publicKey: string, more = ""): string =>
    `[nodes.${name}]\naddress = "${address}"\nenv = "prod"\nmemory = "2GiB"\nnetwork = { internal = true }\npublic_key = "${publicKey}"\n${more}`;
  write(
    join(root, "platform/orca/fleet.toml"),
    entry(EDGE, "127.0.0.1", own.publicKey) +
      entry(`${EDGE}-spare`, "127.0.0.2", spare.publicKey, `standby_for = "${EDGE}"\n`),
  );
  write(
    join(root, `platform/orca/manifests/${EDGE}/web.toml`),
    [
      `image = "${IMAGE}"\ncommand = ["/bin/sleep", "1000000"]\nstop_timeout = "1s"\ninit = true`,
      '[resources]\nmemory = "16MiB"',
      '[health]\nexec = ["/bin/true"]\ninterval = "1s"',
      '[update]\nsettle = "1s"\n',
    ].join("\n"),
  );
  write(join(root, "bundle.toml"), 'bundle_id = "edge"\nrepository = "platform"\n');
  orca("bundle", "create", "bundle.toml", "--out", bundle, "--key", "./bundle-key");
  write(join(host, "policy.toml"), `[pinned]\n${recoveryKey}\nbundle_keys = ["${type} ${key?.trim()}"]\n`);
  write(
    join(host, "agent.toml"),
    [
      `node = "${EDGE}"`,
      `source = { dir = "${join(root, "platform")}" }`,
      `status = { listen = ["127.0.0.1:${await findPort()}"] }`,
      `state = { dir = "${join(host, "state")}" }`,
      `docker = { socket = "${engine.socketPath}" }`,
      `policy = { file = "${join(host, "policy.toml")}" }`,
      `gossip = { listen = "127.0.0.1:${await findPort()}", identity_file = "${join(host, "identity.key")}" }`,
      "",
    ].join("\n"),
  );
  await ensureBackupIdentity(join(host, "state", "backup.key"));
  const { recipient } = await ensureBackupIdentity(join(root, "offline.key"));
  const files = ["--config", join(host, "agent.toml"), "--out", escrow];
  orca("escrow", "create", EDGE, ...files, "--recovery-key", join(root, "recovery.key"), "--recipient", recipient);
  // The machine is lost, and the repository with it.
  for (const gone of [host, join(root, "platform"), join(root, "recovery.key")]) rmSync(gone, { recursive: true });
  cpSync(join(root, "spare"), host, { recursive: true });
}, 120_000);

afterAll(async () => {
  await expectNoSecretLeft(
    {
      node: EDGE,
      stateDir: join(host, "state"),
      engine: { socketPath: engine.socketPath, execRoot: join(engine.root, "exec") },
      unread: "no manifest here takes a secret",
      texts: { agent: agent?.output ?? "" },
    },
    async () => {
      await agent?.kill();
      await engine.destroy();
      for (const directory of [root, runDir]) rmSync(directory, { recursive: true, force: true });
    },
  );
});

test("a bundle that was changed on its way brings nothing, and no takeover is signed", async () => {
  const changed = join(root, "changed");
  cpSync(bundle, changed, { recursive: true });
  const manifest = join(changed, `repository/orca/manifests/${EDGE}/web.toml`);
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace("16MiB", "17MiB"));
  const run = recover(changed);
  expect(await run.exited).toBe(1);
  expect(run.output).toContain(`${EDGE}/web.toml was changed`);
  expect(existsSync(join(host, "state", "takeovers.json"))).toBe(false);
  expect(existsSync(join(host, "manifests"))).toBe(false);
}, 60_000);

test("from the bundle alone the spare takes the place, and everything is healthy", async () => {
  expect(await docker("-H", `unix://${engine.socketPath}`, "images", "-q", "--all")).toBe("");
  const run = recover(bundle);
  await eventually(() => run.output.includes("start it now with"), 60_000);
  agent = new OrcaProcess(["agent", "--config", join(host, "agent.toml")], { namespace: engine.namespace, runDir });
  const code = await run.exited;
  expect({ code, output: run.output }).toEqual({
    code: 0,
    output: expect.stringContaining(`${EDGE}-spare at 127.0.0.2 stands in the place of ${EDGE}: takeover 1 is signed`),
  });
  const running = await docker("-H", `unix://${engine.socketPath}`, "ps", "--format", "{{.Image}}");
  expect(running).toBe(IMAGE);
  const lines = readFileSync(join(host, "state", "audit.jsonl"), "utf8")
    .trim()
    .split("\n");
  const actions = lines.map((line) => (JSON.parse(line) as { action: string; result: string }).action);
  expect(actions.filter((action) => /^bundle|^recover/.test(action))).toEqual([
    "bundle-verify",
    "bundle-verify",
    "bundle-install",
    "recover",
  ]);
}, 120_000);
