// A node without any network: an engine of the test's own in a namespace that no route leaves, without a single image. What it needs comes
// in a bundle, by the commands of the page bundle. The images are named by a registry's digests, and the registry is gone.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { sha256 } from "../../../shared/state/identity.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { PrivateEngine } from "../../../scripts/lab/engine/private-engine.ts";
import { IMAGE } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";
import { listShellLines, readOrcaWords, readPage } from "../../builders/data/readme.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { REGISTRY_PASSWORD, REGISTRY_USER, TestRegistry } from "../../builders/engine/registry.ts";
import { eventually } from "../../contract/docker-port.ts";

const NODE = nameForRun("airgap");
const engine = new PrivateEngine();
const registry = new TestRegistry(await findPort());
/** Where bundles are made, with the machine's own engine. */
const maker = mkdtempSync("/var/tmp/orca-bundle-maker-");
const root = mkdtempSync("/var/tmp/orca-airgap-");
const runDir = mkdtempSync("/dev/shm/orca-airgap-");
const [config, state, manifests] = [join(root, "agent.toml"), join(root, "state"), join(root, "manifests")];
const MODEL = Buffer.from("weights of a model, first version\n");
const images: Record<"web" | "db", string> = { web: "", db: "" };
let agent: OrcaProcess | undefined;

interface Ran {
  code: number | null;
  output: string;
}

/** Runs a command on the node: in its namespace, by its agent.toml. */
function onNode(words: readonly string[], directory = maker): Ran {
  const options = words[0] === "bundle" ? ["--config", config] : [];
  const program = [`--net=${engine.namespace}`, process.execPath, PROGRAM, ...words, ...options];
  const { status, stdout, stderr } = spawnSync("nsenter", program, {
    cwd: directory,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", RUNTIME_DIRECTORY: runDir, ORCA_SOCKET: join(runDir, "agent.sock") },
  });
  return { code: status, output: stdout + stderr };
}

/** Runs a line of the page where bundles are made. */
function onMaker(line: string): Ran {
  const words = readOrcaWords(line);
  const [program = "", ...rest] = words === undefined ? splitWords(line) : [process.execPath, PROGRAM, ...words];
  const quiet = program === "ssh-keygen" ? ["-q", "-N", ""] : [];
  const { status, stdout, stderr } = spawnSync(program, [...rest, ...quiet], { cwd: maker, encoding: "utf8" });
  return { code: status, output: stdout + stderr };
}

/** Runs a command and looks how much of memory it ever had, by the kernel's own count. */
async function measure([program = "", ...rest]: readonly string[]): Promise<{ code: number | null; isSmall: boolean }> {
  const child = spawn(program, rest, {
    cwd: maker,
    stdio: "ignore",
    env: { ...process.env, RUNTIME_DIRECTORY: runDir },
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  let peakKib = 0;
  const look = setInterval(() => {
    const status = existsSync(`/proc/${child.pid}/status`) ? readFileSync(`/proc/${child.pid}/status`, "utf8") : "";
    peakKib = Math.max(peakKib, Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0));
  }, 50);
  const code = await ended.finally(() => clearInterval(look));
  if (peakKib > 128 * 1024) throw new Error(`${rest.join(" ")}: ${peakKib} KiB`);
  return { code, isSmall: peakKib > 0 };
}

function splitWords(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

/** The lines of the page that begin so. */
function findLine(start: string): string {
  const line = listShellLines(readPage("bundle")).find((text) => text.startsWith(start));
  if (line === undefined) throw new Error(`the page bundle has no line that begins with ${start}`);
  return line;
}

function git(...parameters: string[]): string {
  const identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"];
  return execFileSync("git", ["-C", join(maker, "platform"), ...identity, ...parameters], { encoding: "utf8" }).trim();
}

function manifest(image: string, parts: { top?: string; health: string; tables?: string }): string {
  return [
    `image = "${image}"`,
    'command = ["/bin/sleep", "1000000"]\nstop_timeout = "1s"\ninit = true',
    parts.top ?? "",
    '[resources]\nmemory = "16MiB"',
    `[health]\nexec = ["/bin/sh", "-c", "${parts.health}"]\ninterval = "1s"`,
    '[update]\nsettle = "1s"',
    parts.tables ?? "",
  ].join("\n");
}

/** Healthy only with the model in its volume. */
function buildWeb(model: Buffer, top = ""): string {
  const isModel = `test $(sha256sum < /models/tiny/model.gguf | cut -c1-64) = ${sha256(model.toString())}`;
  return manifest(images.web, {
    top: `requires = ["db"]\nbackup = { none = "a model from the bundle" }\n${top}`,
    health: isModel,
    tables: '[[volumes]]\nname = "models"\ntarget = "/models"\nread_only = true',
  });
}

function writeSpec(target = "tiny/model.gguf"): void {
  const model = `[[models]]\nname = "tiny"\nsource = "model.gguf"\nvolume = "models"\ntarget = "${target}"\n`;
  const file = '[[files]]\nsource = "notes"\npath = "package"\n';
  writeFileSync(join(maker, "bundle.toml"), `bundle_id = "offline"\nrepository = "platform"\n${model}${file}`);
}

function writeManifest(service: string, text: string): void {
  writeFileSync(join(maker, "platform", "orca", "manifests", NODE, `${service}.toml`), text);
}

async function push(name: string): Promise<string> {
  const tagged = `${registry.host}/acme/${name}:1`;
  const container = await docker("create", IMAGE, name);
  await docker("commit", "--message", name, container, tagged);
  await docker("rm", container);
  await docker("--config", maker, "push", "-q", tagged);
  const digest = await docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", tagged);
  return digest;
}

function readStatus(): StatusDocument | undefined {
  const { output } = onNode(["status", "--json"]);
  return output.startsWith("{") ? (JSON.parse(output) as StatusDocument) : undefined;
}

/** @param newer what its manifest has now, and the revision before, which is not enough */
async function untilHealthy(newer?: { holds: string; before: string | null | undefined }): Promise<void> {
  await eventually(() => {
    const services = readStatus()?.services ?? [];
    return (
      services.length === 2 &&
      services.every((entry) => entry.state === "healthy" && entry.settled) &&
      (newer === undefined ||
        (services.find((entry) => entry.name === "web")?.revision !== newer.before &&
          readFileSync(join(manifests, "orca", "manifests", NODE, "web.toml"), "utf8").includes(newer.holds)))
    );
  }, 240_000).catch((error: unknown) => {
    throw new Error(`${onNode(["status"]).output}\n${agent?.output.slice(-3_000)}`, { cause: error });
  });
}

/** The images of the node's engine, which lists those of one second in any order. */
async function listImages(...options: string[]): Promise<string[]> {
  const lines = await docker("-H", `unix://${engine.socketPath}`, "images", ...options);
  return lines.split("\n").toSorted();
}

interface Line {
  action: string;
  result: string;
  message?: string;
  what: { manifest?: string; key?: string; revision?: string };
}

/** What the audit log says of bundles. */
function readEvidence(): Line[] {
  const lines = readFileSync(join(state, "audit.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Line).filter(({ action }) => action.startsWith("bundle-"));
}

beforeAll(async () => {
  await registry.start();
  const auth = Buffer.from(`${REGISTRY_USER}:${REGISTRY_PASSWORD}`).toString("base64");
  writeFileSync(join(maker, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
  for (const name of ["web", "db"] as const) images[name] = await push(name);
  await registry.stop();
  await engine.create([]);
  mkdirSync(join(maker, "platform", "orca", "manifests", NODE), { recursive: true });
  mkdirSync(join(maker, "notes"));
  writeFileSync(join(maker, "notes", "README"), "install the package first\n");
  writeFileSync(join(maker, "model.gguf"), MODEL);
  const fleet = `[nodes.${NODE}]\naddress = "127.0.0.1"\nenv = "trial"\nmemory = "2GiB"\nnetwork = { internal = true }\n`;
  writeFileSync(join(maker, "platform", "orca", "fleet.toml"), fleet);
  writeManifest("db", manifest(images.db, { health: "true" }));
  writeManifest("web", buildWeb(MODEL));
  writeSpec();
  git("init", "-q");
  git("add", "-A");
  git("commit", "-q", "-m", "the platform");
});

afterAll(async () => {
  const machine = { socketPath: engine.socketPath, execRoot: join(engine.root, "exec") };
  await expectNoSecretLeft(
    {
      node: NODE,
      stateDir: state,
      engine: machine,
      unread: "no manifest here takes a secret",
      texts: { agent: agent?.output ?? "" },
    },
    async () => {
      await agent?.kill();
      await engine.destroy();
      await registry.destroy();
      for (const name of ["web", "db"]) await docker("rmi", "-f", `${registry.host}/acme/${name}:1`);
      for (const directory of [maker, root, runDir]) rmSync(directory, { recursive: true, force: true });
    },
  );
});

test("there is no way out of the node, and no image on it", async () => {
  const inside = (...words: string[]): string =>
    execFileSync("nsenter", [`--net=${engine.namespace}`, ...words], { encoding: "utf8" });
  expect(inside("ip", "route", "show", "default")).toBe("");
  expect(inside("ip", "-6", "route", "show", "default")).toBe("");
  expect(await docker("-H", `unix://${engine.socketPath}`, "images", "-q", "--all")).toBe("");
});

test("a bundle is made of a commit by the lines of the page", () => {
  expect(onMaker(findLine("ssh-keygen "))).toMatchObject({ code: 0 });
  // What was not committed is not in it.
  writeManifest("web", "this is not even TOML");
  const made = onMaker(findLine("orca bundle create "));
  git("checkout", "-q", ".");
  expect(made).toEqual({
    code: 0,
    output: expect.stringContaining(`offline at ${git("rev-parse", "HEAD")} for ${NODE}`),
  });
  expect(readFileSync(join(maker, "offline-7", "package", "README"), "utf8")).toContain("first");
});

test("without the key in the node's policy it is refused, and nothing is there", async () => {
  writeFileSync(join(root, "policy.toml"), 'realm = "trial"\n');
  const lines = [
    `node = "${NODE}"`,
    `source = { dir = "${manifests}" }`,
    `state = { dir = "${state}" }`,
    `docker = { socket = "${engine.socketPath}" }`,
    `policy = { file = "${root}/policy.toml" }`,
    `backups = { dir = "${state}/backups" }`,
    `status = { listen = ["127.0.0.1:${await findPort()}"] }`,
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const refused = onNode(["bundle", "install", join(maker, "offline-7")]);
  expect(refused).toEqual({ code: 1, output: expect.stringContaining("policy.toml names no key whose bundles count") });
  const [type, key] = readFileSync(join(maker, "bundle-key.pub"), "utf8").split(" ");
  writeFileSync(join(root, "policy.toml"), `realm = "trial"\n[pinned]\nbundle_keys = ["${type} ${key}"]\n`);
  expect(existsSync(manifests)).toBe(false);
});

test("it is verified and installed by the lines of the page, and the agent reaches healthy from it alone", async () => {
  for (const line of ["orca bundle verify ", "orca bundle install "].map(findLine)) {
    const ran = onNode(readOrcaWords(line) ?? []);
    expect(ran).toEqual({ code: 0, output: expect.stringContaining("offline of 20") });
  }
  agent = new OrcaProcess(["agent", "--config", config], { namespace: engine.namespace, runDir });
  await untilHealthy();
  // The engine itself does not know the digest, and the agent does.
  expect(await engine.client.reader.findImage(images.web)).toBeUndefined();
  expect(onNode(["restart", "web"]).code).toBe(0);
  await untilHealthy();
});

test("a prune, however early, keeps what came with the bundle", async () => {
  const before = await listImages("-q");
  expect(before).toHaveLength(2);
  expect(onNode(["prune", "--early"])).toMatchObject({ code: 0 });
  expect(await listImages("-q")).toEqual(before);
});

test("a newer one is installed while the agent runs: a new model, and the service that needs it", async () => {
  const model = Buffer.from("weights of a model, second version\n");
  const before = readStatus()?.services.find((entry) => entry.name === "web")?.revision;
  writeFileSync(join(maker, "model.gguf"), model);
  writeManifest("web", buildWeb(model));
  git("commit", "-q", "-a", "-m", "a better model");
  expect(onMaker("orca bundle create bundle.toml --out ./offline-8 --key ./bundle-key")).toMatchObject({ code: 0 });
  expect(onNode(["bundle", "install", join(maker, "offline-8")])).toMatchObject({ code: 0 });
  await untilHealthy({ holds: sha256(model.toString()), before });
  const evidence = readEvidence().map(({ action, result }) => `${action} ${result}`);
  expect(evidence).toEqual([
    "bundle-verify failed",
    "bundle-verify ok",
    "bundle-verify ok",
    "bundle-install ok",
    "bundle-verify ok",
    "bundle-install ok",
  ]);
  expect(onNode(["audit", "verify", "--state", state])).toMatchObject({ code: 0 });
});

test("the one before is older now, and refused", () => {
  const refused = onNode(["bundle", "install", join(maker, "offline-7")]);
  expect(refused).toEqual({
    code: 1,
    output: expect.stringContaining("make a newer bundle of the commit that you want"),
  });
});

test("one that fails half-way is taken back: images, names, volumes, manifests, and what is known of digests", async () => {
  // A directory is where the file is to go, which only shows once images are loaded.
  const volume = await docker(
    "-H",
    `unix://${engine.socketPath}`,
    "volume",
    "inspect",
    "--format",
    "{{.Mountpoint}}",
    "models",
  );
  mkdirSync(join(volume, "taken"));
  writeSpec("taken");
  const other = `${nameForRun("bundle-extra")}:1`;
  const container = await docker("create", IMAGE, "extra");
  await docker("commit", "--message", "extra", container, other);
  await docker("rm", container);
  writeFileSync(
    join(maker, "bundle.toml"),
    `images = ["${other}"]\n${readFileSync(join(maker, "bundle.toml"), "utf8")}`,
  );
  expect(onMaker("orca bundle create bundle.toml --out ./offline-9 --key ./bundle-key")).toMatchObject({ code: 0 });
  await docker("rmi", other);
  const look = async (): Promise<unknown> => [
    await listImages("--all", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"),
    await docker("-H", `unix://${engine.socketPath}`, "volume", "ls", "-q"),
    execFileSync("find", [manifests, volume, "-printf", "%p %s %i\n"], { encoding: "utf8" }),
    readFileSync(join(state, "bundles.json"), "utf8"),
  ];
  const before = await look();
  const failed = onNode(["bundle", "install", join(maker, "offline-9")]);
  expect(failed).toEqual({
    code: 1,
    output: expect.stringContaining("it is a directory\nwhat was done was taken back\n"),
  });
  expect(await look()).toEqual(before);
  expect(
    readEvidence()
      .slice(-3)
      .map(({ action, result }) => `${action} ${result}`),
  ).toEqual(["bundle-verify ok", "bundle-install failed", "bundle-undo ok"]);
  await untilHealthy();
});

test("a bundle that was changed on its way is refused by name, and the line of the audit log says so", () => {
  const changed = join(maker, "changed");
  cpSync(join(maker, "offline-9"), changed, { recursive: true });
  const path = "repository/orca/fleet.toml";
  writeFileSync(join(changed, path), readFileSync(join(changed, path), "utf8").replace("2GiB", "3GiB"));
  expect(onNode(["bundle", "install", changed])).toEqual({
    code: 1,
    output: expect.stringContaining(`${path} was changed`),
  });
  expect(readEvidence().at(-1)).toMatchObject({
    action: "bundle-verify",
    result: "failed",
    message: expect.stringContaining(path),
  });
});

test("a bundle of a gigabyte is made, checked and installed in 128 MiB", async () => {
  truncateSync(join(maker, "model.gguf"), 2 ** 30);
  writeSpec("tiny/large.gguf");
  const bundle = join(maker, "offline-large");
  const make = ["bundle", "create", "bundle.toml", "--out", bundle, "--key", "./bundle-key"];
  expect(await measure([process.execPath, PROGRAM, ...make])).toEqual({ code: 0, isSmall: true });
  const own = ["nsenter", `--net=${engine.namespace}`, process.execPath, PROGRAM, "bundle"];
  for (const verb of ["verify", "install"])
    expect([verb, await measure([...own, verb, bundle, "--config", config])]).toEqual([
      verb,
      { code: 0, isSmall: true },
    ]);
  rmSync(bundle, { recursive: true });
});

test("the audit log and the backups are carried out, whole, and can be checked outside", () => {
  mkdirSync(join(state, "backups", NODE), { recursive: true });
  writeFileSync(join(state, "backups", NODE, "files_20261201_0100.tar"), "a backup");
  writeFileSync(join(state, "backups", NODE, "files_20261201_0200.tar.partial"), "half of one");
  const line = findLine("orca bundle export ");
  expect(onNode([...(readOrcaWords(line) ?? []), "--key", "./bundle-key"])).toMatchObject({ code: 0 });
  const out = join(maker, "out-of-the-gap");
  expect(existsSync(join(out, "backups", NODE, "files_20261201_0200.tar.partial"))).toBe(false);
  expect(readFileSync(join(out, "backups", NODE, "files_20261201_0100.tar"), "utf8")).toBe("a backup");
  expect(onMaker(`orca bundle verify ./out-of-the-gap --policy ${root}/policy.toml`)).toMatchObject({ code: 0 });
  expect(onMaker("orca audit verify --file ./out-of-the-gap/audit/audit.jsonl")).toMatchObject({ code: 0 });
  expect(onNode(["bundle", "install", out])).toEqual({
    code: 1,
    output: expect.stringContaining("this is an export and no bundle"),
  });
  expect(readEvidence().find(({ action }) => action === "bundle-export")).toMatchObject({ result: "ok" });
});
