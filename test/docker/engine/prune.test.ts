// A prune on the real engine: what nobody needs goes, one call at a time; a rollback's image, what is leased or foreign, what runs and every
// volume stay. The keeper sees only what this file has made: other files use the engine meanwhile.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { openEngine } from "../../../agent/docker/engine.ts";
import type { Pruner } from "../../../agent/docker/pruner.ts";
import { PruneKeeper, type PruneOptions } from "../../../agent/prune/prune-keeper.ts";
import type { PruneDocument } from "../../../shared/document/prune-document.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { describePruner } from "../../contract/pruner.ts";
import { findPort } from "../../builders/engine/free-port.ts";
import { buildDesired, buildRelease, buildTurn, buildView } from "../../builders/node/turns.ts";

const BASE = "orca-test/busybox:1";
const NODE = nameForRun("pruned");
const WEEK_MS = 168 * 3_600_000;

const directory = mkdtempSync(join(tmpdir(), "orca-prune-"));
const engine = openEngine("/var/run/docker.sock");
const images: Record<string, string> = {};
const containers: Record<string, string> = {};
let aheadMs = 0;
const events: AgentEvent[] = [];

function nameImage(name: string): string {
  return `orca-test/${nameForRun(`prune-${name}`)}:1`;
}

async function makeImage(from: string, name: string, ...more: string[]): Promise<void> {
  images[name] = await docker("commit", ...more, "--change", `LABEL prune-test=${name}`, from, nameImage(name));
}

async function makeContainer(name: string, options: string[], image = BASE, command = "true"): Promise<void> {
  const full = nameForRun(`prune-${name}`);
  containers[name] = await docker(
    "run",
    "-d",
    "--name",
    full,
    "--network",
    "none",
    ...options,
    image,
    "sh",
    "-c",
    command,
  );
  if (command === "true") await docker("wait", full);
}

function own(service: string, spec: string): string[] {
  return ["--label", `orca.node=${NODE}`, "--label", `orca.service=${service}`, "--label", `orca.spec=${spec}`];
}

/** The engine as if nobody else used it. */
const pruner: Pruner = {
  readImages: async (sizes) => {
    const mine = new Set(Object.values(images));
    return (await engine.pruner.readImages(sizes)).filter(({ id }) => mine.has(id));
  },
  readContainers: async (node) => {
    const mine = new Set(Object.values(containers));
    return (await engine.pruner.readContainers(node)).filter(({ id }) => mine.has(id));
  },
  // The builder's cache is everybody's.
  remove: async (item) => (item.kind === "build-cache" ? { freedBytes: 0 } : engine.pruner.remove(item)),
};

function open(more: Partial<PruneOptions> = {}): PruneKeeper {
  return new PruneKeeper({
    node: NODE,
    clock: {
      nowMs: () => Date.now() + aheadMs,
      monotonicMs: () => performance.now() + aheadMs,
      after: (delayMs, callback) => {
        const timer = setTimeout(callback, delayMs);
        return () => clearTimeout(timer);
      },
    },
    statePath: join(directory, "prune.json"),
    pruner,
    findImage: (reference) => engine.reader.findImage(reference),
    listReleases: (service) =>
      service === "app"
        ? [buildRelease("b"), buildRelease("a", { image: nameImage("rollback"), specHash: "v1:before" })]
        : [],
    listBackupImages: () => Promise.resolve([images["backup"] ?? ""]),
    isBusy: () => false,
    readDisk: () => Promise.resolve({ free: 0.5, inodesFree: 0.5 }),
    emit: (event) => events.push(event),
    ...more,
  });
}

function turn(image: string): Parameters<PruneKeeper["follow"]>[0] {
  return buildTurn({
    views: [buildView("app")],
    desired: [buildDesired("app", { spec: { image: nameImage(image) }, specHash: "v1:now" })],
  });
}

async function listLeft(kind: "image" | "container", made: Readonly<Record<string, string>>): Promise<string[]> {
  const ids = new Set((await docker(kind, "ls", "-aq", "--no-trunc")).split("\n"));
  return Object.keys(made).filter((name) => ids.has(made[name] ?? ""));
}

async function prune(keeper: PruneKeeper, early = false): Promise<NonNullable<PruneKeeper["status"]["lastRun"]>> {
  const before = keeper.status.lastRun?.endedMs;
  // A look that the keeper takes by itself comes first.
  await expect.poll(() => keeper.ask(early), { timeout: 30_000 }).toBeUndefined();
  await expect.poll(() => keeper.status.lastRun?.endedMs, { timeout: 60_000 }).not.toBe(before);
  if (keeper.status.lastRun === undefined) throw new Error("it has ended");
  return keeper.status.lastRun;
}

beforeAll(async () => {
  const from = await docker("create", BASE, "true");
  for (const name of ["current", "rollback", "old", "backup", "foreign", "shared", "held"]) await makeImage(from, name);
  await makeImage(from, "pinned", "--change", "LABEL orca.keep=yes");
  await docker("tag", nameImage("shared"), nameImage("mine"));
  await makeImage(from, "dangling");
  await docker("rm", from);
  await docker("tag", nameImage("old"), nameImage("dangling"));
  await docker("rmi", nameImage("dangling"));
  await docker("volume", "create", nameForRun("prune-data"));
  const data = ["-v", `${nameForRun("prune-data")}:/data`];
  await makeContainer("gone", [...own("gone", "v1:x"), ...data]);
  await makeContainer("gone-too", own("gone", "v1:y"));
  await makeContainer("current", own("app", "v1:now"), BASE, "sleep 600");
  await makeContainer("before", own("app", "v1:before"));
  await makeContainer("unnamed", [...own("gone", "v1:z"), "-v", "/data"]);
  await makeContainer("job", ["--label", "orca.job=backup:app/db", "--label", `orca.job.node=${NODE}`]);
  await makeContainer("leased", [...own("gone", "v1:l"), "--label", "orca.keep=backup"]);
  await makeContainer("foreign", data);
  await makeContainer("holder", [], nameImage("held"));
});

afterAll(async () => {
  engine.close();
  for (const id of Object.values(containers)) await docker("rm", "-fv", id).catch(() => undefined);
  for (const id of Object.values(images)) await docker("rmi", "-f", id).catch(() => undefined);
  await docker("volume", "rm", nameForRun("prune-data")).catch(() => undefined);
  rmSync(directory, { recursive: true });
});

test("nothing goes of what a service has just used, and of what nobody here ever did", async () => {
  const keeper = open();
  // Each was in force once, so that it is known to be used.
  for (const name of ["old", "shared", "held", "pinned", "current"]) {
    keeper.follow(turn(name));
    await keeper.preview(false);
  }
  const run = await prune(keeper, true);
  expect(run).toMatchObject({ removed: [], troubles: [] });
  await keeper.close();
});

test("a week later what nobody needs goes, and nothing else", async () => {
  aheadMs = WEEK_MS + 60_000;
  const volumes = (await docker("volume", "ls", "-q")).split("\n");
  const keeper = open();
  keeper.follow(turn("current"));
  expect((await prune(keeper)).troubles).toEqual([]);
  expect(await listLeft("image", images)).toEqual([
    "current",
    "rollback",
    "backup",
    "foreign",
    "shared",
    "held",
    "pinned",
  ]);
  expect(await listLeft("container", containers)).toEqual([
    "current",
    "before",
    "unnamed",
    "job",
    "leased",
    "foreign",
    "holder",
  ]);
  const left = (await docker("volume", "ls", "-q")).split("\n");
  expect(volumes.filter((name) => name.startsWith(nameForRun("prune-data")) && !left.includes(name))).toEqual([]);
  const told = events.flatMap((event) => (event.kind === "pruned" ? [event.item] : []));
  expect(told.map(({ kind }) => kind)).toEqual(["container", "container", "image", "image"]);
  await keeper.close();
});

/** One build by BuildKit, which leaves a cache. */
function build(): Promise<void> {
  const context = execFileSync("tar", ["cf", "-", "-C", directory, "Dockerfile"]);
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        socketPath: "/var/run/docker.sock",
        method: "POST",
        path: "/build?version=2",
        headers: { "content-type": "application/x-tar" },
      },
      (answer) => answer.resume().once("end", resolve),
    );
    asked.once("error", reject).end(context);
  });
}

test("the builder's cache goes once it was not used for long enough", async () => {
  writeFileSync(
    join(directory, "Dockerfile"),
    `FROM ${BASE}
RUN head -c 100000 /dev/urandom > /${nameForRun("cached")}
`,
  );
  await build();
  expect(await engine.pruner.remove({ kind: "build-cache", unusedMs: 100 * WEEK_MS })).toEqual({ freedBytes: 0 });
  let freedBytes = 0;
  // The builder lets go of what it has just used a moment later.
  const remove = async (): Promise<number> => {
    const removal = await engine.pruner.remove({ kind: "build-cache", unusedMs: 1 });
    return (freedBytes += "stays" in removal ? 0 : removal.freedBytes);
  };
  await expect.poll(remove, { timeout: 30_000, interval: 200 }).toBeGreaterThan(0);
});

test("the engine lets nothing go that has come into use since it was chosen", async () => {
  const id = images["held"] ?? "";
  const item = { kind: "image", id, tags: [nameImage("held")], digests: [], freesBytes: 1 } as const;
  expect(await engine.pruner.remove(item)).toEqual({ stays: expect.stringContaining("has it by now") as string });
  const running = (await pruner.readContainers(NODE)).find(({ id: found }) => found === containers["current"]);
  if (running?.owner.kind !== "own") throw new Error("it is own");
  const removal = await engine.pruner.remove({ kind: "container", id: running.owner.id, name: "x", service: "app" });
  expect(removal).toEqual({ stays: expect.stringContaining("running container") as string });
});

describePruner("the real engine", () => ({
  pruner,
  node: NODE,
  idleImage: images["foreign"] ?? "",
  heldImage: images["held"] ?? "",
  running: nameForRun("prune-current"),
  stopped: nameForRun("prune-before"),
}));

test("an ephemeral volume goes where nothing has it, and no other volume does whatever is said", async () => {
  const names = ["free", "held", "foreign", "plain"].map((name) => nameForRun(`prune-${name}`));
  const [free = "", held = "", foreign = "", plain = ""] = names.map((name) => `${name}.e-00000000`);
  const ephemeral = (name: string): string => name.replace(".e-00000000", "");
  for (const name of [free, held])
    await engine.writer.createVolume({ name, node: NODE, service: "app", ephemeral: ephemeral(name) });
  await engine.writer.createVolume({ name: foreign, node: "other", service: "app", ephemeral: ephemeral(foreign) });
  await engine.writer.createVolume({ name: plain, node: NODE, service: "app" });
  // A label alone, on a volume that a person has made, is not enough.
  const named = nameForRun("prune-named");
  const labels = [`orca.node=${NODE}`, "orca.service=app", "orca.ephemeral=other"];
  await docker("volume", "create", ...labels.flatMap((label) => ["--label", label]), named);
  const holder = await docker("create", "-v", `${held}:/data`, BASE, "true");
  try {
    const listed = (await engine.ephemeral.list(NODE)).map(({ name }) => name);
    expect(listed.toSorted()).toEqual([free, held, named].toSorted());
    const gone: boolean[] = [];
    for (const name of [free, held, foreign, plain, named, nameForRun("prune-data"), "absent"])
      gone.push(await engine.ephemeral.remove(name, NODE));
    expect(gone).toEqual([true, false, false, false, false, false, false]);
    const left = (await docker("volume", "ls", "-q")).split("\n");
    expect([free, held, foreign, plain, named].filter((name) => left.includes(name))).toEqual([
      held,
      foreign,
      plain,
      named,
    ]);
  } finally {
    await docker("rm", "-f", holder);
    await docker("volume", "rm", "-f", held, foreign, plain, named);
  }
});

test("orca prune says what would go and why the rest stays, and is in the audit log", async () => {
  const root = mkdtempSync(join(tmpdir(), "orca-prune-up-"));
  const state = join(root, "state");
  const node = nameForRun("prune-up");
  mkdirSync(join(root, "orca", "manifests", node), { recursive: true });
  const manifest = `image = "${nameImage("current")}"\ncommand = ["sleep", "600"]\nstop_timeout = "1s"\n[resources]\nmemory = "16MiB"\n[health]\nexec = ["true"]\ninterval = "1s"\n[update]\nsettle = "1s"\n`;
  writeFileSync(join(root, "orca", "manifests", node, "app.toml"), manifest);
  const policy = join(root, "policy.toml");
  writeFileSync(policy, "volumes = { allow_ephemeral = true }\n");
  const listen = `127.0.0.1:${await findPort()}`;
  const agent = new OrcaProcess(["up", root, "--state", state, "--listen", listen, "--policy", policy]);
  const orca = async (...parameters: string[]): Promise<{ code: number | null; output: string }> => {
    const run = new OrcaProcess([...parameters, "--socket", join(state, "agent.sock")]);
    return { code: await run.exited, output: run.output };
  };
  await expect.poll(async () => (await orca("status")).code, { timeout: 120_000, interval: 500 }).toBe(0);
  const dry = await orca("prune", "--dry-run", "--json");
  expect(dry.code).toBe(0);
  const { choice } = JSON.parse(dry.output) as PruneDocument;
  expect(choice?.keep).toContainEqual(
    expect.objectContaining({ name: nameImage("current"), reason: { code: "needed", by: "manifest" } }),
  );
  expect(choice?.keep).toContainEqual(
    expect.objectContaining({ name: nameImage("rollback"), reason: { code: "foreign" } }),
  );
  expect((await orca("prune", "--dry-run")).output).toContain("a manifest names it");
  const run = await orca("prune");
  expect(run.output).toContain("there is nothing to remove");
  expect(run.code).toBe(0);
  const audit = readFileSync(join(state, "audit.jsonl"), "utf8");
  expect(audit).toContain('"action":"prune"');
  // On the same agent: a volume that each release begins empty, and the job that fills it.
  const data = nameForRun("prune-fresh");
  const job = `image = "${nameImage("current")}"\ncommand = ["sh", "-c", "cat /data/log; echo filled >>/data/log"]\nschedule = "@once"\nrequires = ["app"]\nvolumes = [{ name = "${data}", target = "/data", ephemeral = true }]\n[resources]\nmemory = "16MiB"\n`;
  const release = (name: string): void => {
    const begins = manifest
      .replace('["sleep", "600"]', `["sh", "-c", "echo ${name} >>/data/log; exec sleep 600"]`)
      .replace("\n[resources]", `\nvolumes = [{ name = "${data}", target = "/data", ephemeral = true }]\n[resources]`);
    writeFileSync(join(root, "orca", "manifests", node, "app.toml"), begins);
    writeFileSync(join(root, "orca", "manifests", node, "seed.toml"), job);
  };
  const readLog = async (): Promise<string> => {
    const id = await docker("ps", "-q", "--filter", `label=orca.node=${node}`, "--filter", "label=orca.service=app");
    return id === "" ? "" : docker("exec", id, "cat", "/data/log");
  };
  for (const name of ["first", "second"]) {
    release(name);
    await expect.poll(readLog, { timeout: 60_000, interval: 300 }).toBe(`${name}\nfilled`);
    await expect.poll(async () => (await orca("status")).code, { timeout: 60_000, interval: 500 }).toBe(0);
  }
  expect((await orca("why", "app")).output).toContain(`each release of it begins with an empty ${data}`);
  const volumes = (await docker("volume", "ls", "-q")).split("\n").filter((name) => name.startsWith(data));
  expect(volumes).toHaveLength(2);
  await agent.stop();
  await expectNoSecretLeft({ node, stateDir: state, unread: "no manifest here takes a secret" }, async () => {
    await new OrcaProcess(["up", root, "--state", state, "--down"]).exited;
    await docker("volume", "rm", ...volumes);
    rmSync(root, { recursive: true });
  });
});
