// Data that an image keeps in a VOLUME of its own: covered, carried over, or its next container is held and said. A crash restart is
// never held, and no volume is ever removed or left behind by a change.

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { NODE, TestNode } from "../../builders/node/node.ts";

let node: TestNode;

beforeEach(() => {
  node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
  for (const image of ["db:1", "db:2"]) node.engine.images.set(image, { volumes: ["/data"] });
  node.engine.images.set(FRONT_IMAGE, {});
});

afterEach(() => node.dispose());

const NONE = 'backup = { none = "it is only a cache" }';
const COVER = `${NONE}\nvolumes = [{ name = "app-data", target = "/data" }]`;

async function begin(manifest: string): Promise<string> {
  node.source.set({ app: manifest });
  await node.start();
  await node.untilSettled(["app"]);
  return dataOf();
}

/** The volume without a name of the container that runs. */
function dataOf(): string {
  const volumes = node.engine.running("app")?.detail.ownVolumes ?? [];
  return volumes.map(({ name, target }) => `${target} ${name}`).join();
}

function imageOf(): string | undefined {
  return node.engine.running("app")?.image;
}

test("status says it as long as it is so", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  const [path, name = ""] = data.split(" ");
  expect(path).toBe("/data");
  expect(node.view("app").notes).toEqual([
    `the data at /data is in no volume of its manifest: its image keeps it in a VOLUME of its own (${name.slice(0, 12)}); ` +
      'a change that needs a new container is held until [[volumes]] covers it, or backup = { none = "…" } says that losing it is fine',
  ]);
  expect(node.view("app")).toMatchObject({ state: "healthy", settled: true });
});

test("a change that needs a new container is held with its way out, and the old one goes on being healed", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  const before = node.engine.running("app");
  node.source.set({ app: buildManifest({ image: "db:2" }) });
  await node.until("held", ["app"]);
  const name = data.split(" ")[1];
  expect(node.view("app").reason).toContain(
    `a new container of it would begin without the data at /data: its image keeps that in a VOLUME of its own, the engine's volume ` +
      `${name}, which no [[volumes]] covers. Write [[volumes]] with name = "app-data" and target = "/data", and bring the data over; ` +
      'or backup = { none = "why losing it is fine" }',
  );
  if (before !== undefined) node.engine.end(before, 1);
  await node.clock.advance(20_000);
  expect([imageOf(), dataOf(), node.view("app").state]).toEqual(["db:1", data, "held"]);
  expect(node.engine.calls.map(({ call }) => call)).not.toContain("removeContainer");
  expect(node.engine.volumes.size).toBe(1);
});

test("the hold stands over an agent that was killed, and ends with the commit that takes the change back", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  node.source.set({ app: buildManifest({ image: "db:2" }) });
  await node.until("held", ["app"]);
  node.kill();
  await node.start();
  await node.clock.advance(60_000);
  expect([imageOf(), dataOf(), node.view("app").state]).toEqual(["db:1", data, "held"]);
  node.source.set({ app: buildManifest({ image: "db:1" }) });
  await node.clock.advance(1_000);
  expect(node.view("app").state).toBe("healthy");
});

test("a change of caps, which needs no new container, is made", async () => {
  const data = await begin(buildManifest({ image: "db:1", memory: "64MiB" }));
  node.source.set({ app: buildManifest({ image: "db:1", memory: "96MiB" }) });
  await node.clock.advance(5_000);
  expect(node.engine.running("app")?.detail.caps.memoryBytes).toBe(96 * 2 ** 20);
  expect([dataOf(), node.view("app").state]).toEqual([data, "healthy"]);
});

describe.each(["stop-first", "start-first"])("with a reason for no backup, %s", (order) => {
  test("the change is made, the volume is carried over, and none is left behind", async () => {
    const update = `[update]\norder = "${order}"\nsettle = "5s"\ndrain = "1s"\n`;
    const manifest = (image: string): string =>
      buildManifest({ image, top: `ports = ["8080:80"]\n${NONE}`, health: "tcp = { port = 80 }", tables: update });
    const data = await begin(manifest("db:1"));
    for (const image of ["db:2", "db:1", "db:2"]) {
      node.source.set({ app: manifest(image) });
      await node.clock.advance(1_000);
      await node.untilSettled(["app"]);
      await node.clock.advance(10_000);
      expect([imageOf(), dataOf()]).toEqual([image, data]);
    }
    expect(node.view("app").notes).toEqual([]);
    expect(node.engine.of("app")).toHaveLength(1);
    expect(node.engine.volumes.size).toBe(1);
  });
});

test("the reason that is written later lets the held change pass, with the data", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  node.source.set({ app: buildManifest({ image: "db:2" }) });
  await node.until("held", ["app"]);
  node.source.set({ app: buildManifest({ image: "db:2", top: NONE }) });
  await node.clock.advance(1_000);
  await node.untilSettled(["app"]);
  expect([imageOf(), dataOf()]).toEqual(["db:2", data]);
});

test("a container that was removed by hand is made anew with the data that it had", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  node.engine.remove(node.engine.running("app")?.id ?? "");
  await node.clock.advance(10_000);
  expect([imageOf(), dataOf()]).toEqual(["db:1", data]);
});

describe("covered by [[volumes]]", () => {
  const covered = buildManifest({
    image: "db:1",
    top: COVER.replace(NONE, 'backups = [{ name = "all", engine = "files", schedule = "every 5h" }]'),
  });

  test("from the beginning: nothing is said or held", async () => {
    await begin(covered);
    expect([dataOf(), node.view("app").notes.filter((note) => note.includes("VOLUME"))]).toEqual(["", []]);
  });

  test("later, by a volume that is not there: held, since it would begin empty", async () => {
    const data = await begin(buildManifest({ image: "db:1" }));
    node.source.set({ app: covered });
    await node.until("held", ["app"]);
    expect(node.view("app").reason).toContain(
      `the data at /data is in the engine's volume ${data.split(" ")[1]}, and the volume app-data that shall take its place does not ` +
        "exist yet and would begin empty. Bring the data over: orca stop app, make app-data with docker volume create, copy from one " +
        "to the other, orca start app; orca start app --empty begins without it",
    );
    await node.clock.advance(60_000);
    expect([dataOf(), node.engine.volumes.has("app-data")]).toEqual([data, false]);
  });

  test("later, by a volume that somebody has filled: the change is made", async () => {
    await begin(buildManifest({ image: "db:1" }));
    node.source.set({ app: covered });
    await node.until("held", ["app"]);
    node.agent.request({ kind: "stop", service: "app", actor: { uid: 0, user: "root" } });
    await node.clock.advance(5_000);
    expect(node.engine.running("app")).toBe(undefined);
    // It stays stopped while the volume is filled.
    node.engine.volumes.set("app-data", { "orca.node": NODE, "orca.service": "app" });
    await node.clock.advance(90_000);
    expect(node.engine.running("app")).toBe(undefined);
    node.agent.request({ kind: "start", service: "app", ignoreRequires: false, actor: { uid: 0, user: "root" } });
    await node.clock.advance(1_000);
    await node.untilSettled(["app"]);
    expect([dataOf(), node.view("app").state]).toEqual(["", "healthy"]);
    expect(node.engine.running("app")?.request?.spec.volumes).toEqual([{ name: "app-data", target: "/data" }]);
  });

  test("later, and a person says that it begins without: the change is made", async () => {
    await begin(buildManifest({ image: "db:1" }));
    node.source.set({ app: covered });
    await node.until("held", ["app"]);
    node.agent.request({
      kind: "start",
      service: "app",
      ignoreRequires: false,
      empty: true,
      actor: { uid: 0, user: "root" },
    });
    await node.clock.advance(1_000);
    await node.untilSettled(["app"]);
    expect([dataOf(), node.engine.volumes.has("app-data")]).toEqual(["", true]);
  });
});

test("under another name of the service the data is asked for as well, and the old name serves meanwhile", async () => {
  const data = await begin(buildManifest({ image: "db:1" }));
  node.source.set({ app: undefined, web: buildManifest({ image: "db:1", top: `moved_from = "${NODE}/app"` }) });
  await node.until("held", ["web"]);
  await node.clock.advance(60_000);
  expect(dataOf()).toBe(data);
  node.source.set({ web: buildManifest({ image: "db:1", top: `moved_from = "${NODE}/app"\n${NONE}` }) });
  await node.untilSettled(["web"]);
  expect(node.engine.running("web")?.detail.ownVolumes.map(({ name, target }) => `${target} ${name}`)).toEqual([data]);
});

test("a job's container is never held: it takes its volume over", async () => {
  const job = (env: string): string =>
    `image = "db:1"\nschedule = "every 1h"\n[resources]\nmemory = "64MiB"\n[env]\nA = "${env}"\n`;
  node.engine.images.set("db:1", { volumes: ["/data"], endsAfterMs: 100 });
  node.source.set({ app: job("1") });
  await node.start();
  await node.clock.advance(3_700_000);
  const volumes = node.engine.volumes.size;
  node.source.set({ app: job("2") });
  await node.clock.advance(3_700_000);
  expect(node.engine.of("app").map((entry) => entry.request?.spec.env)).toContainEqual({ A: "2" });
  expect([volumes, node.engine.volumes.size]).toEqual([1, 1]);
});
