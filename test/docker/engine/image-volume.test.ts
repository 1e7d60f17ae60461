// Images with a VOLUME on the real engine: nothing that a service keeps there is lost by a change, none is left behind, and the way
// out that the messages name is one.

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, IMAGE, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun, RUN } from "../../../scripts/lab/engine/run-name.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";

const DATA_IMAGE = `orca-test/with-volume-${RUN}:1`;
const node = new RealNode("image-volume");
/** Every volume that the engine makes for the image begins with this file. */
const MARK = nameForRun("image-volume");
const NAMED = nameForRun("app-data");

async function listVolumes(): Promise<string[]> {
  const all = (await docker("volume", "ls", "-q")).split("\n").filter(Boolean);
  const places = all.map(async (name) => {
    // Another test may have removed it meanwhile.
    const place = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", name).catch(() => undefined);
    return place !== undefined && existsSync(join(place, MARK)) ? [name] : [];
  });
  return (await Promise.all(places)).flat();
}

function manifest(value: string, parts: { top?: string; tables?: string } = {}): string {
  const { top = "", tables = "" } = parts;
  return buildHttpd({ image: DATA_IMAGE, top, tables: `${tables}\n[env]\nVALUE = "${value}"` });
}

async function read(service: string): Promise<string> {
  return docker("exec", await node.idOf(service), "cat", "/data/db");
}

async function hasValue(service: string, value: string): Promise<boolean> {
  const rows = await node.of(service);
  const running = rows.filter((row) => row.status === "running");
  if (running.length !== 1 || rows.length !== 1) return false;
  return (await docker("inspect", "-f", "{{json .Config.Env}}", running[0]?.id ?? "")).includes(`VALUE=${value}`);
}

beforeAll(async () => {
  const made = nameForRun("image-volume-made");
  await docker(
    "run",
    "--name",
    made,
    "--label",
    `orca.node=${made}`,
    IMAGE,
    "sh",
    "-c",
    `mkdir /data; touch /data/${MARK}`,
  );
  await docker("commit", "--change", "VOLUME /data", made, DATA_IMAGE);
  await docker("rm", made);
  node.set({ app: manifest("0") });
  await node.start();
  await node.untilSettled(["app"]);
  await docker("exec", await node.idOf("app"), "sh", "-c", "echo precious >/data/db");
});

afterAll(async () => {
  await node.dispose();
  for (const name of await listVolumes()) await docker("volume", "rm", name);
  await docker("rmi", DATA_IMAGE);
});

test("a change is held, also for a new agent, and a crash is healed with the data", async () => {
  expect(node.view("app")?.notes.join()).toContain("the data at /data is in no volume of its manifest");
  const container = await node.idOf("app");
  node.set({ app: manifest("1") });
  await node.until("held", () => node.view("app")?.state === "held");
  await node.stop();
  await node.start();
  await node.until("held", () => node.view("app")?.state === "held");
  await docker("kill", container);
  await node.until("healed", async () => (await node.of("app")).some((row) => row.status === "running"));
  expect([await node.idOf("app"), await read("app")]).toEqual([container, "precious"]);
  expect(await listVolumes()).toHaveLength(1);
});

test("its container is removed by hand: the next one has the data", async () => {
  node.set({ app: manifest("0") });
  await node.until("as it was", () => node.view("app")?.state === "healthy");
  await docker("rm", "-f", await node.idOf("app"));
  await node.until("made anew", () => hasValue("app", "0"));
  expect([await read("app"), (await listVolumes()).length]).toEqual(["precious", 1]);
});

test("with a reason for no backup changes are made, with the data and without a volume more", async () => {
  const top = 'backup = { none = "a test" }';
  for (const value of ["2", "3"]) {
    node.set({ app: manifest(value, { top }) });
    await node.until(`it has ${value}, alone`, () => hasValue("app", value));
    expect([await read("app"), (await listVolumes()).length]).toEqual(["precious", 1]);
  }
  await node.untilSettled(["app"]);
});

test("the way out: a volume of its manifest, into which a person has brought the data", async () => {
  node.set({ app: manifest("3") });
  await node.until("without its reason", () => node.view("app")?.notes.join().includes("is in no volume") === true);
  const tables = `[[volumes]]\nname = "${NAMED}"\ntarget = "/data"\n[[backups]]\nname = "all"\nengine = "files"\nschedule = "every 5h"\n`;
  node.set({ app: manifest("4", { tables }) });
  await node.until("held", () => node.view("app")?.state === "held");
  const from = /the engine's volume ([0-9a-f]{64})/.exec(node.view("app")?.reason ?? "")?.[1] ?? "";
  const actor = { uid: 0, user: "root" };
  node.agent.request({ kind: "stop", service: "app", actor });
  await node.until("stopped", async () => (await node.of("app")).every((row) => row.status !== "running"));
  await docker("volume", "create", "--label", `orca.node=${node.node}`, "--label", "orca.service=app", NAMED);
  await docker(
    "run",
    "--rm",
    "--label",
    `orca.node=${node.node}-copy`,
    "-v",
    `${from}:/from:ro`,
    "-v",
    `${NAMED}:/to`,
    IMAGE,
    "cp",
    "-a",
    "/from/.",
    "/to/",
  );
  node.agent.request({ kind: "start", service: "app", ignoreRequires: false, actor });
  await node.until("it has 4, alone", () => hasValue("app", "4"));
  expect(await read("app")).toBe("precious");
  // What it had before is left to a person: no volume is ever removed.
  expect((await listVolumes()).toSorted()).toEqual([from, NAMED].toSorted());
  await node.untilSettled(["app"]);
  expect(node.view("app")?.notes.join()).not.toContain("is in no volume");
});
