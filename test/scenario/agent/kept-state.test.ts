// The agent's state as it may be found: written by a later version, damaged in one place, on a disk that takes nothing. Real
// SQLite files, a whole agent.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { afterEach, describe, expect, test } from "vitest";

import { Store } from "../../../agent/host/store/store.ts";
import { SCHEMA_VERSION, StateTooNewError } from "../../../agent/host/store/store-schema.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node: TestNode;
afterEach(() => node.dispose());

const SETTLE = '[update]\nsettle = "1s"\nhealthy_within = "10s"';
const good = (image = "app:1"): string => buildManifest({ image, tables: SETTLE });
const sick = good("bad:1");

/** Two services; of `back` a bad release was rolled back. The agent is ended. */
async function rollBack(): Promise<void> {
  node = new TestNode();
  node.engine.images.set("bad:1", { endsAfterMs: 10, exitCode: 3 });
  node.source.set({ back: good(), other: good() });
  await node.start();
  await node.untilSettled(["back", "other"]);
  node.source.set({ back: sick, other: good() });
  await node.until("rolled-back", ["back"]);
  await node.clock.advance(5_000);
  await node.stop();
}

function edit(work: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(join(node.stateDir, "orca.db"));
  work(database);
  database.close();
}

/** Changes every stored release, as JSON. */
function editReleases(change: (release: { desired: Record<string, unknown> }) => void): void {
  edit((database) => {
    for (const { id, body } of database.prepare("SELECT id, body FROM release").all() as {
      id: number;
      body: string;
    }[]) {
      const release = JSON.parse(body) as { desired: Record<string, unknown> };
      if (release.desired["name"] === "back") change(release);
      database.prepare("UPDATE release SET body = ? WHERE id = ?").run(JSON.stringify(release), id);
    }
  });
}

function editDocument(name: string, change: (value: Record<string, unknown>) => void): void {
  edit((database) => {
    const row = database.prepare("SELECT body FROM document WHERE name = ?").get(name) as { body: string };
    const value = JSON.parse(row.body) as Record<string, unknown>;
    change(value);
    database.prepare("UPDATE document SET body = ? WHERE name = ?").run(JSON.stringify(value), name);
  });
}

function readDocument(name: string): Record<string, unknown> {
  let body = "";
  edit((database) => {
    body = (database.prepare("SELECT body FROM document WHERE name = ?").get(name) as { body: string }).body;
  });
  return JSON.parse(body) as Record<string, unknown>;
}

const saidOfState = (): string =>
  node.events.flatMap((event) => (event.kind === "state-not-saved" ? [event.message] : [])).join("\n");

const failedTurns = (): number => node.events.filter((event) => event.kind === "turn-failed").length;

describe("a stored release of another shape", () => {
  test("is said and not gone back to; the node goes on, and its service runs what Git wants", async () => {
    await rollBack();
    editReleases(({ desired }) => delete desired["update"]);
    node.events.length = 0;
    await node.start();
    await node.clock.advance(30_000);
    expect(failedTurns()).toBe(0);
    expect(saidOfState()).toMatch(
      /the release \S+ of back could not be read \(desired\.update: .*it cannot be gone back to/,
    );
    expect(node.view("other").state).toBe("healthy");
    expect(node.view("back").state).not.toBe("unknown");
    node.source.set({ back: sick, other: good("app:2") });
    await node.clock.advance(10_000);
    expect(node.engine.running("other")?.image).toBe("app:2");
  });

  test("with a field of a later version it is gone back to as ever", async () => {
    await rollBack();
    editReleases(({ desired }) => Object.assign(desired, { soon: { more: [1] } }));
    await node.start();
    await node.clock.advance(30_000);
    expect([saidOfState(), node.view("back").state]).toEqual(["", "rolled-back"]);
    expect(node.engine.running("back")?.image).toBe("app:1");
  });
});

describe("a memory that is damaged in one place", () => {
  test("costs that place: it is set aside by name, the rest is remembered", async () => {
    await rollBack();
    const calls = node.engine.calls.length;
    editDocument("memory", (memory) => {
      const services = memory["services"] as Record<string, Record<string, unknown>>;
      Object.assign(services["other"] as object, { release: { fingerprint: 7 }, restarts: "many" });
    });
    await node.start();
    await node.clock.advance(30_000);
    expect(saidOfState()).toMatch(/the stored memory\.services\.other\.release could not be read .*set aside/);
    expect(node.view("back").state).toBe("rolled-back");
    expect(node.view("other").state).toBe("healthy");
    expect(node.engine.calls.slice(calls)).toEqual([]);
    await node.stop();
    edit((database) => {
      const aside = database.prepare("SELECT path, body FROM aside ORDER BY path").all();
      expect(aside).toEqual([
        { path: "memory.services.other.release", body: '{"fingerprint":7}' },
        { path: "memory.services.other.restarts", body: '"many"' },
      ]);
    });
    await node.start();
  });

  test("that is no JSON any more begins anew, and nothing that runs is touched", async () => {
    await rollBack();
    edit((database) => database.exec("UPDATE document SET body = '{' WHERE name = 'memory'"));
    node.source.set({ back: good(), other: good() });
    const calls = node.engine.calls.length;
    await node.start();
    await node.clock.advance(30_000);
    expect(saidOfState()).toContain("the stored memory could not be read (it is no JSON)");
    expect(node.engine.calls.slice(calls)).toEqual([]);
    expect([node.view("back").state, node.view("other").state]).toEqual(["healthy", "healthy"]);
  });

  test("inputs in force without a service's text remove nothing, although Git is away", async () => {
    await rollBack();
    editDocument("in-force", (inForce) => {
      delete (inForce["services"] as Record<string, Record<string, unknown>>)["other"]?.["text"];
    });
    node.source.fail("gone");
    const calls = node.engine.calls.length;
    await node.start();
    await node.clock.advance(60_000);
    expect(node.engine.calls.slice(calls)).toEqual([]);
    expect(node.engine.running("other")).toBeDefined();
    node.source.fail(undefined);
    await node.clock.advance(60_000);
    expect(node.view("other").state).toBe("healthy");
  });
});

describe("the state of a later version", () => {
  test("that says it can be read is used, and what is not known here is found again", async () => {
    await rollBack();
    editDocument("memory", (memory) => {
      Object.assign(memory, { quotas: { a: 1 } });
      const services = memory["services"] as Record<string, Record<string, unknown>>;
      Object.assign(services["other"] as object, { lease: { until: 5 } });
    });
    editDocument("schema", (mark) => Object.assign(mark, { version: 99, writtenBy: "9.9.9" }));
    edit((database) => database.exec("CREATE TABLE tomorrow (id INTEGER PRIMARY KEY) STRICT"));
    await node.start();
    node.source.set({ back: sick, other: good("app:2") });
    await node.clock.advance(60_000);
    expect([saidOfState(), node.view("other").state]).toEqual(["", "healthy"]);
    await node.stop();
    const memory = readDocument("memory");
    expect(memory["quotas"]).toEqual({ a: 1 });
    expect((memory["services"] as Record<string, unknown>)["other"]).toMatchObject({ lease: { until: 5 } });
    expect(readDocument("schema")).toMatchObject({ version: 99, writtenBy: "9.9.9" });
    await node.start();
  });

  test("that says it cannot be read is refused with what to do, and stays as it is", async () => {
    await rollBack();
    editDocument("schema", (mark) => Object.assign(mark, { version: 99, readableFrom: 99, writtenBy: "9.9.9" }));
    const path = join(node.stateDir, "orca.db");
    const before = readFileSync(path);
    expect(() => Store.open(node.stateDir, 0)).toThrow(StateTooNewError);
    expect(() => Store.open(node.stateDir, 0)).toThrow(/written by Orca 9\.9\.9 .*Install Orca 9\.9\.9 or a later one/);
    expect(readFileSync(path).equals(before)).toBe(true);
    editDocument("schema", (mark) => Object.assign(mark, { readableFrom: 1 }));
    await node.start();
  });
});

/** Columns of the first schema: versions before this one read and write them, so they never change. */
const FIRST_SCHEMA = {
  document: ["name", "body"],
  content: ["hash", "body"],
  exit: ["id", "service", "finished_ms", "body"],
  release: ["id", "service", "settled_ms", "body"],
};

test("the version before finds its tables as it left them, and a file of it is brought to this schema", async () => {
  await rollBack();
  edit((database) => {
    for (const [table, columns] of Object.entries(FIRST_SCHEMA)) {
      const info = database.prepare(`SELECT name FROM pragma_table_info('${table}')`).all() as { name: string }[];
      expect(info.map(({ name }) => name)).toEqual(columns);
    }
    database.exec("DROP TABLE aside; DELETE FROM document WHERE name = 'schema'");
  });
  await node.start();
  await node.until("rolled-back", ["back"]);
  expect(readDocument("schema")).toMatchObject({ version: SCHEMA_VERSION, readableFrom: 1 });
});

test("a file that is no database is moved aside whole, and what runs is taken over", async () => {
  await rollBack();
  writeFileSync(join(node.stateDir, "orca.db"), Buffer.alloc(8_192, 7));
  node.source.set({ back: good(), other: good() });
  const calls = node.engine.calls.length;
  await node.start();
  await node.clock.advance(30_000);
  expect(saidOfState()).toMatch(
    /the state could not be read \(.*\); it was moved to .*orca\.db\.damaged-\d+ and begun anew/,
  );
  expect(node.engine.calls.slice(calls)).toEqual([]);
});

describe("a service of which neither Git nor what was accepted can be used", () => {
  const fronted = buildManifest({
    image: "app:1",
    top: 'ports = ["8080:80"]',
    tables: '[update]\nsettle = "1s"\norder = "start-first"\n[[files]]\nsource = "files/conf"\ntarget = "/etc/conf"',
  });

  async function bringUp(): Promise<void> {
    node = new TestNode({ settings: { frontImage: FRONT_IMAGE } });
    node.engine.images.set(FRONT_IMAGE, {});
    node.source.setFile("files/conf", "one");
    node.source.set({ web: fronted, other: good() });
    await node.start();
    await node.untilSettled(["web", "web.front", "other"]);
    await node.clock.advance(5_000);
  }

  /** What a stricter version finds of the manifest that the one before had accepted. */
  function forgetAccepted(): void {
    editDocument("in-force", (inForce) => {
      const services = inForce["services"] as Record<string, Record<string, unknown>>;
      Object.assign(services["web"] as object, { text: `${fronted}\nstrange = 1` });
    });
  }

  test("is held at its release: its front goes on, and a crash is healed", async () => {
    await bringUp();
    await node.stop();
    forgetAccepted();
    node.source.set({ web: `${fronted}\nstrange = 1`, other: good() });
    const before = [node.engine.running("web")?.id, node.engine.running("web.front")?.id];
    await node.start();
    await node.clock.advance(60_000);
    expect([node.engine.running("web")?.id, node.engine.running("web.front")?.id]).toEqual(before);
    expect(node.view("web").state).toBe("invalid");
    for (const name of ["web", "web.front"]) {
      const running = node.engine.running(name);
      if (running === undefined) throw new Error(`${name} does not run`);
      node.engine.end(running, 1);
    }
    await node.clock.advance(60_000);
    expect(node.engine.running("web")).toBeDefined();
    expect(node.engine.running("web.front")).toBeDefined();
    node.source.set({ web: fronted, other: good() });
    await node.untilSettled(["web", "other"]);
  });

  test("whose file is gone from Git too, also over a restart of the agent", async () => {
    await bringUp();
    node.source.setFile("files/conf", undefined);
    await node.clock.advance(10_000);
    await node.stop();
    await node.start();
    await node.clock.advance(10_000);
    expect(node.engine.running("web.front")).toBeDefined();
    const running = node.engine.running("web");
    if (running === undefined) throw new Error("web does not run");
    node.engine.end(running, 1);
    await node.clock.advance(60_000);
    expect(node.engine.running("web")).toBeDefined();
  });

  test("and that the host's policy refuses keeps its front as it keeps its container", async () => {
    await bringUp();
    await node.stop();
    node.choices.settings = {
      policy: { ...buildStrictPolicy(), images: { ...buildStrictPolicy().images, registries: ["elsewhere.example"] } },
    };
    await node.start();
    await node.clock.advance(2 * 3_600_000);
    expect(node.view("web").state).toBe("refused");
    expect(node.engine.running("web")).toBeDefined();
    expect(node.engine.running("web.front")).toBeDefined();
  });
});

test("what a person asked for in the agent's last moment is remembered by the next one", async () => {
  await rollBack();
  await node.start();
  await node.until("rolled-back", ["back"]);
  node.agent.request({ kind: "stop", service: "other", actor: { uid: 7, user: "ops" } });
  await node.stop();
  await node.start();
  await node.until("stopped", ["other"]);
});

test("a file named as what every object has blinds nobody", async () => {
  node = new TestNode();
  node.source.set(Object.fromEntries(["constructor", "__proto__", "other"].map((name) => [name, good()])));
  await node.start();
  await node.clock.advance(5_000);
  await node.stop();
  await node.start();
  await node.untilSettled(["other"]);
  const state = node.events.reduce(reduceStatus, beginState(0, JSON.parse("{}") as Record<string, never>));
  expect([...state.services.keys()]).toContain("other");
});
