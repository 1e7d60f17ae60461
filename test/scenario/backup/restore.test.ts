// Restores into place by a whole agent on a fake engine, with the child in the test's hand: each end that one can have, what is kept and
// removed, and an agent that is killed before any call of it.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { RestoreKeeper } from "../../../agent/backup/restore/restore-keeper.ts";
import { listBackups } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { DockerReader } from "../../../agent/docker/reader.ts";
import type { ContainerShape, Restores } from "../../../agent/docker/restores.ts";
import type { ChildEnd } from "../../../agent/host/os/child-process.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { listSwitches, type RestoreRecord } from "../../../shared/state/restore.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";

const ACTOR = { uid: 7, user: "ops" };
const ORDER = { service: "pg", store: "db" };
const BACKUP = "pg_dump_20261120_0217";
/** What the engine calls the image app:1. */
const IMAGE_ID = `sha256:${"1".repeat(64)}`;
const NAMES = { postgres: BACKUP, files: "files_20261120_0217", command: "backup_20261120_0217" };
const NEVER = new Promise<never>(() => undefined);

let node: TestNode;
let keeper: RestoreKeeper | undefined;
/** What the child answers; each run of it is counted. */
let child: () => Promise<ChildEnd>;
let runs = 0;
/** The keeper dies before this call of its own, counted from 1. */
let diesAt = 0;
let calls = 0;
/** A keeper that was killed does nothing more, however late it comes to it. */
let life = { alive: true };
let told: RestoreRecord[] = [];
/** The store that the service has; `files` lies in two volumes. */
let engine: "postgres" | "files" | "command" = "postgres";

beforeEach(() => {
  [runs, diesAt, calls, told] = [0, 0, 0, []];
  engine = "postgres";
  child = () => answer({ kind: "restored", detail: "restored app" });
  node = new TestNode({ openSink: () => ({ hear, close: async () => undefined, isBusy: false }) as never });
});

afterEach(async () => {
  await keeper?.close();
  keeper = undefined;
  await node.dispose();
});

function hear(event: AgentEvent): void {
  if (event.kind === "turn") keeper?.follow(event.turn);
}

function answer(what: object): Promise<ChildEnd> {
  return Promise.resolve({ kind: "answered", answer: Buffer.from(JSON.stringify(what)) });
}

function manifest(more = ""): string {
  return buildManifest({
    top: `${more}\nvolumes = [{ name = "data", target = "/var/lib/postgresql/data" }${engine === "files" ? ', { name = "index", target = "/srv/index" }' : ""}]`,
    tables: `[update]\nsettle = "5s"\nhealthy_within = "20s"\n[[backups]]\nname = "db"\nengine = "${engine}"\nschedule = "every 5h"\n${engine === "command" ? 'command = ["dump-it"]' : ""}`,
  });
}

function writeBackup(name = NAMES[engine], verdicts: readonly string[] = ["good"], startedMs = 1_000): void {
  const folder = join(node.stateDir, "backups", NODE, "pg", "db");
  mkdirSync(folder, { recursive: true });
  const sha256 = "0".repeat(64);
  const measured = { bytes: 100, sha256 };
  const record = {
    version: 1,
    node: NODE,
    ...ORDER,
    engine,
    name,
    files: [
      {
        file: `${name}.dump`,
        kind: "database",
        content: "/srv/index, /var/lib/postgresql/data",
        plain: measured,
        stored: measured,
      },
    ],
    trigger: "asked",
    startedMs,
    endedMs: startedMs,
    image: "app:1",
    recipients: [],
    restoreWith: ["cat it | undump-it"],
    verifications: verdicts.map((verdict) => ({ atMs: startedMs, verdict, detail: "" })),
  };
  writeFileSync(join(folder, `${name}.dump`), "x");
  writeFileSync(join(folder, `${name}.manifest.json`), JSON.stringify(record));
}

/** A call that a dead keeper never comes back from. */
function mortal<T>(own: { alive: boolean }, work: () => T): Promise<T> {
  if (!own.alive) return NEVER;
  calls += 1;
  return calls === diesAt ? NEVER : Promise.resolve(work());
}

function shape(): ContainerShape {
  const mounts = (node.engine.of("pg")[0]?.request?.spec.volumes ?? []).map(({ name = "", target }) => {
    return { kind: "volume" as const, source: name, target, readOnly: false };
  });
  return { image: IMAGE_ID, entrypoint: [], command: [], env: {}, user: "", mounts, shmSizeBytes: 0 };
}

function lendRestores(own: typeof life): Pick<Restores, "readShape" | "createVolume" | "discardVolume"> {
  return {
    readShape: async () => shape(),
    createVolume: ({ name, of }) =>
      mortal(own, () => void node.engine.volumes.set(name, { "orca.node": NODE, "orca.volume": of })),
    discardVolume: (name) => mortal(own, () => void node.engine.volumes.delete(name)),
  };
}

const findImage: DockerReader["findImage"] = async (image) =>
  node.engine.reader.findImage(image === IMAGE_ID ? "app:1" : image);

function openKeeper(): RestoreKeeper {
  const own = { alive: true };
  life = own;
  return new RestoreKeeper({
    node: NODE,
    clock: node.clock,
    lockDirectory: join(node.stateDir, "run"),
    spool: join(node.stateDir, "run"),
    listArea: async () => [],
    shipLog: async () => ({}),
    listSources: async (service, store) => {
      const directory = join(node.stateDir, "backups");
      const repository = openLocalRepository("local", directory);
      const { records } = await listBackups(repository, { node: NODE, service, store });
      return [{ place: { kind: "local", name: "local", directory }, records, identities: [] }];
    },
    memoryDirectory: join(node.stateDir, "run"),
    readSecret: () => ({ reason: "there is none" }),
    socket: "/nowhere.sock",
    program: "orca",
    statePath: join(node.stateDir, "restores.json"),
    progressPath: join(node.stateDir, "restore-progress.json"),
    engine: {
      reader: {
        ...node.engine.reader,
        findImage,
        info: async () => ({ id: "", version: "", cgroupVersion: "2", rootDir: "/" }),
      },
      restores: lendRestores(own),
    },
    swept: Promise.resolve(),
    runChild: () => {
      runs += 1;
      return mortal(own, () => child()).then((end) => end);
    },
    request: (request) => {
      void mortal(own, () => node.agent.request(request));
    },
    emit: (event) => {
      if (event.kind === "backup-restored") told.push(event.record);
    },
  });
}

async function begin(more = ""): Promise<void> {
  node.source.set({ pg: manifest(more) });
  keeper = openKeeper();
  await node.start();
  if (more === "") await node.untilSettled(["pg"]);
  writeBackup();
}

/** Goes on in fake time until the newest restore has ended, or nothing more comes of it. */
async function untilEnded(withinMs = 120_000, isDead = () => false): Promise<RestoreRecord | undefined> {
  for (let ms = 0; ms < withinMs; ms += 500) {
    await node.clock.advance(500);
    // The keeper's own files are real.
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (keeper?.list()[0]?.stage === "ended" || isDead()) break;
  }
  return keeper?.list()[0];
}

/** The agent and its keeper, in one moment. */
function kill(): void {
  life.alive = false;
  node.kill();
}

function mounted(): string[] {
  return node.engine.running("pg")?.detail.writes.toSorted() ?? [];
}

test("the service gets the new volume, and the old one is kept and named", async () => {
  await begin();
  expect(await keeper?.begin(ORDER, ACTOR)).toMatchObject({ backup: BACKUP, from: "data", to: "data.r2" });
  expect(await untilEnded()).toMatchObject({ outcome: { kind: "restored" }, uid: 7, tries: 1 });
  expect([mounted(), [...node.engine.volumes.keys()]]).toEqual([["data.r2"], ["data", "data.r2"]]);
  expect(told.map(({ stage }) => stage)).toEqual(["asked", "filling", "switching", "ended"]);
  await node.clock.advance(60_000);
  expect(keeper?.notes.map(({ text }) => text)).toEqual([expect.stringContaining("docker volume rm data removes it")]);
});

test("one that fails leaves no volume, and the service as it was", async () => {
  child = () => answer({ kind: "failed", reason: "app: restore data: out of luck" });
  await begin();
  const id = node.engine.running("pg")?.id;
  await keeper?.begin(ORDER, ACTOR);
  expect(await untilEnded()).toMatchObject({ outcome: { kind: "failed", detail: "app: restore data: out of luck" } });
  expect([node.engine.running("pg")?.id, [...node.engine.volumes.keys()]]).toEqual([id, ["data"]]);
  expect(keeper?.notes[0]?.text).toContain("the restore of pg from pg_dump_20261120_0217 failed: app: restore data");
});

test("a service that is not healthy with it gets the old volume back", async () => {
  await begin();
  node.engine.rejects = ({ spec }) => spec.volumes?.[0]?.name === "data.r2";
  await keeper?.begin(ORDER, ACTOR);
  const ended = await untilEnded();
  expect(ended?.outcome?.kind).toBe("went-back");
  expect(ended?.outcome?.detail).toMatch(
    /^pg has data again, since with the restored data it was not healthy within 20s: /,
  );
  await node.untilSettled(["pg"]);
  expect([mounted(), [...node.engine.volumes.keys()]]).toEqual([["data"], ["data", "data.r2"]]);
  // A second one does not take the name of the first.
  node.engine.rejects = () => false;
  expect(await keeper?.begin(ORDER, ACTOR)).toMatchObject({ to: "data.r3" });
  expect(await untilEnded()).toMatchObject({ outcome: { kind: "restored" } });
});

test("a stopped service stays stopped, and has the data from its next start on", async () => {
  await begin();
  node.agent.request({ kind: "stop", service: "pg", actor: ACTOR });
  await node.until("stopped", ["pg"]);
  await keeper?.begin(ORDER, ACTOR);
  expect(await untilEnded()).toMatchObject({
    outcome: { kind: "restored", detail: expect.stringContaining("pg is stopped") as string },
  });
  expect(node.engine.running("pg")).toBe(undefined);
  node.agent.request({ kind: "start", service: "pg", ignoreRequires: false, actor: ACTOR });
  await node.untilSettled(["pg"]);
  expect(mounted()).toEqual(["data.r2"]);
});

test("what cannot be restored is said before anything is made", async () => {
  await begin();
  const refuse = async (order: object): Promise<unknown> => keeper?.plan({ ...ORDER, ...order });
  expect(await refuse({ store: "other" })).toBe("pg has no backup other that is in force here");
  expect(await refuse({ backup: "pg_dump_x" })).toContain("pg/db has no backup pg_dump_x");
  expect(await refuse({ atMs: 999 })).toContain("pg/db has no backup from 1970-01-01T00:00:00.999Z or before");
  writeBackup(BACKUP, []);
  expect(await refuse({})).toContain("no backup of pg/db is verified");
  expect(await refuse({ backup: BACKUP })).toMatchObject({ verified: false });
  expect(await refuse({ atMs: 1_000 })).toMatchObject({ backup: BACKUP });
  writeBackup(BACKUP, ["bad"]);
  expect(await refuse({ atMs: 1_000 })).toContain("has no backup from");
  expect(await refuse({ backup: BACKUP })).toMatchObject({ to: "data.r2" });
  expect([...node.engine.volumes.keys()]).toEqual(["data"]);
});

test("one goes on at a time, and a volume of somebody else is not chosen", async () => {
  child = () => NEVER;
  await begin();
  node.engine.volumes.set("stranger", { "orca.node": NODE });
  expect(await keeper?.use({ service: "pg", generation: "stranger" }, ACTOR)).toBe(
    "stranger is no volume of pg: it has data",
  );
  await keeper?.begin(ORDER, ACTOR);
  expect(await keeper?.begin(ORDER, ACTOR)).toContain("a restore of pg goes on");
  expect(await keeper?.use({ service: "pg", generation: "data" }, ACTOR)).toContain("a restore of pg goes on");
});

test("with the record of restores lost, a volume that may be half-filled is not taken unless a person says so", async () => {
  await begin();
  await keeper?.begin(ORDER, ACTOR);
  await untilEnded();
  // Left by a restore that was killed, and of which nothing is remembered.
  node.engine.volumes.set("data.r3", { "orca.node": NODE, "orca.volume": "data" });
  rmSync(join(node.stateDir, "restores.json"));
  await keeper?.close();
  keeper = openKeeper();
  await node.clock.advance(60_000);
  const use = async (generation: string, unproven = false): Promise<unknown> =>
    keeper?.use({ service: "pg", generation, unproven }, ACTOR);
  expect(await use("data.r3")).toContain("nothing here says that data.r3 was filled to its end");
  await node.clock.advance(30_000);
  expect(mounted()).toEqual(["data.r2"]);
  // What has run, and the manifest's own, need no record.
  for (const generation of ["data.r2", "data"]) expect(await use(generation)).toBe(undefined);
  await node.clock.advance(30_000);
  expect(await use("data.r3", true)).toBe(undefined);
  await node.clock.advance(30_000);
  await node.untilSettled(["pg"]);
  expect(mounted()).toEqual(["data.r3"]);
});

test("an agent that is killed again and again while it fills the volume gives up, and the service has what it had", async () => {
  child = () => NEVER;
  await begin();
  await keeper?.begin(ORDER, ACTOR);
  for (let death = 0; death < 6; death += 1) {
    await untilEnded(5_000);
    kill();
    keeper = openKeeper();
    await node.start();
  }
  expect(await untilEnded()).toMatchObject({
    outcome: { kind: "failed", detail: "the agent ended 5 times while it was filled" },
  });
  expect([runs, mounted(), [...node.engine.volumes.keys()]]).toEqual([5, ["data"], ["data"]]);
});

test.each<{ kind: "postgres" | "files"; leaves: string[] }>([
  { kind: "postgres", leaves: ["data"] },
  { kind: "files", leaves: ["data", "index"] },
])(
  "killed before any call of a restore ($kind), the next agent ends it: nothing half-filled, and never one of two volumes",
  async ({ kind, leaves }) => {
    engine = kind;
    await begin();
    await keeper?.begin(ORDER, ACTOR);
    await untilEnded();
    const all = calls;
    expect(all).toBeGreaterThanOrEqual(5);
    for (let at = 1; at <= all; at += 1) {
      const before = new Set(node.engine.volumes.keys());
      [calls, diesAt] = [0, at];
      await keeper?.begin(ORDER, ACTOR);
      await untilEnded(120_000, () => calls >= at);
      kill();
      [calls, diesAt] = [0, 0];
      keeper = openKeeper();
      await node.start();
      const ended = await untilEnded();
      expect(ended, `killed before call ${at}`).toMatchObject({ outcome: { kind: "restored" } });
      const given = listSwitches(ended ?? { volume: "", from: "", to: "" });
      expect(given.map(({ volume }) => volume)).toEqual(leaves);
      expect(mounted()).toEqual(given.map(({ to }) => to));
      expect([...node.engine.volumes.keys()].filter((name) => !before.has(name))).toEqual(given.map(({ to }) => to));
      // All that the service ever ran with are volumes of one restore, or of none.
      for (const { writes } of node.engine.of("pg").map(({ detail }) => detail))
        expect(new Set(writes.map((name) => /\.r\d+$/.exec(name)?.[0])).size).toBe(1);
    }
  },
);

test("two volumes of one store go back together", async () => {
  engine = "files";
  await begin();
  await keeper?.begin(ORDER, ACTOR);
  await untilEnded();
  expect(mounted()).toEqual(["data.r2", "index.r2"]);
  expect(await keeper?.use({ service: "pg", generation: "index" }, ACTOR)).toBe(undefined);
  await node.clock.advance(30_000);
  await node.untilSettled(["pg"]);
  expect(mounted()).toEqual(["data", "index"]);
});

test("a command's backup is not restored by itself: what a person does is said with the refusal", async () => {
  engine = "command";
  await begin();
  const refusal =
    "pg cannot be restored into place: its backup is what dump-it has written, and what reads that again Orca does not know. Without Orca:\n  cat it | undump-it";
  expect(await keeper?.plan(ORDER)).toBe(refusal);
  // Nobody is sent to a backup that is not verified: that one could not be restored either.
  writeBackup(NAMES.command, []);
  expect(await keeper?.plan(ORDER)).toBe(refusal);
});

test("a plan names the image as the manifest does, whatever its id is", async () => {
  engine = "postgres";
  await begin();
  const plan = await keeper?.plan(ORDER);
  expect(typeof plan === "object" ? plan.steps[1] : plan).toMatch(
    /^start a throw-away server of app:1 without a network/,
  );
});

test("while a restore goes on, its backup and the image that made it are held", async () => {
  child = () => NEVER;
  await begin();
  await keeper?.begin(ORDER, ACTOR);
  expect([keeper?.listHeld(ORDER), keeper?.heldImages]).toEqual([[BACKUP], ["app:1"]]);
  expect(keeper?.listHeld({ ...ORDER, store: "other" })).toEqual([]);
  await keeper?.close();
  // The next agent holds them too, and lets them go at the end.
  child = () => answer({ kind: "failed", reason: "out of luck" });
  keeper = openKeeper();
  expect(keeper.listHeld(ORDER)).toEqual([BACKUP]);
  await untilEnded();
  expect([keeper.listHeld(ORDER), keeper.heldImages]).toEqual([[], []]);
});
