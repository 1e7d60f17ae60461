// `orca debug world`: what plan() was given in the last turns that planned something is kept, without contents and secrets, and planned
// again from the file it gives the same steps.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, describe, expect, test } from "vitest";

import { KeptWorlds } from "../../../agent/loop/kept-worlds.ts";
import { plan } from "../../../agent/plan/plan.ts";
import { parseTurn, type PlannedTurn, printTurn } from "../../../agent/plan/world-text.ts";
import type { World } from "../../../agent/plan/world.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { type NodeChoices, TestNode } from "../../builders/node/node.ts";
import { openSecretNode, WITH_FILE } from "../../builders/node/secret-node.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-turns-"));
const nodes: TestNode[] = [];

afterAll(() => rmSync(directory, { recursive: true, force: true }));

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

/** Writes what the agent would print into a file, and reads the turns in it, the newest first. */
function load(node: TestNode): PlannedTurn[] {
  const file = join(directory, "turns.json");
  writeFileSync(file, node.agent.printWorlds());
  const { version, turns } = JSON.parse(readFileSync(file, "utf8")) as { version: number; turns: object[] };
  expect(version).toBe(1);
  return turns.map((turn) => parseTurn(JSON.stringify(turn)));
}

function planAgain({ world, answer }: PlannedTurn): void {
  const { operations, cancel, faults } = plan(world);
  expect({ kind: "planned", operations, cancel, faults }).toEqual(answer);
}

async function bringUp(manifests: Record<string, string>, choices: NodeChoices = {}): Promise<TestNode> {
  const node = new TestNode(choices);
  nodes.push(node);
  node.engine.images.set("front:1", {});
  node.source.set(manifests);
  await node.start();
  await node.untilSettled(Object.keys(manifests));
  return node;
}

describe("a kept turn", () => {
  test("planned again from its file gives the same steps: a crash, a change, a removal, a front, a wait", async () => {
    const front = { top: 'ports = ["8080:80"]', tables: '[update]\norder = "start-first"\nsettle = "1s"' };
    const manifests = {
      app: buildManifest(front),
      db: buildManifest(),
      gone: buildManifest(),
      web: buildManifest({ top: 'requires = ["db"]' }),
    };
    const node = await bringUp(manifests, { settings: { frontImage: "front:1" } });
    const seen = new Set<string>();
    const look = (): void => {
      for (const turn of load(node)) {
        planAgain(turn);
        if (turn.answer.kind !== "planned") throw new Error(turn.answer.message);
        for (const { steps } of turn.answer.operations) for (const { kind } of steps) seen.add(kind);
      }
    };
    look();
    const db = node.engine.running("db");
    if (db === undefined) throw new Error("db does not run");
    node.engine.end(db, 1);
    await node.clock.advance(5_000);
    look();
    node.source.set({ app: buildManifest({ image: "app:2", ...front }), gone: undefined });
    for (let step = 0; step < 40; step += 1) {
      await node.clock.advance(1_000);
      look();
    }
    for (const kind of ["create-container", "start-container", "stop-container", "switch-traffic"])
      expect(seen).toContain(kind);
  });

  test("holds no value of a secret, not even one that a container printed, and no content of a file", async () => {
    const opened = openSecretNode();
    nodes.push(opened.node);
    const { node } = opened;
    node.source.set({ app: WITH_FILE });
    await node.start();
    await node.untilSettled(["app"]);
    const container = node.engine.running("app");
    if (container === undefined) throw new Error("app does not run");
    container.logs = ["the password is correct horse"];
    node.engine.end(container, 1);
    await node.clock.advance(5_000);
    const text = node.agent.printWorlds();
    expect(text).toContain("the password is");
    expect(text).not.toContain("correct horse");
    for (const turn of load(node)) expect([...turn.world.desired.contents]).toEqual([]);
  });

  test("a turn that did nothing takes no place, and only the last five are kept", async () => {
    const node = await bringUp({ app: buildManifest() });
    const before = node.agent.printWorlds();
    await node.clock.advance(300_000);
    expect(node.agent.printWorlds()).toBe(before);
    for (let crash = 0; crash < 8; crash += 1) {
      const container = node.engine.running("app");
      if (container !== undefined) node.engine.end(container, 1);
      await node.clock.advance(600_000);
    }
    expect(load(node)).toHaveLength(5);
  });

  test("a plan that failed for one service is kept with its name, and one that threw with its message", async () => {
    const node = await bringUp({ app: buildManifest() });
    const [newest] = load(node);
    if (newest === undefined) throw new Error("nothing is kept");
    const app = newest.world.desired.services.get("app");
    if (app === undefined) throw new Error("app is not wanted");
    // Stored by a version that knew another shape.
    const broken = { ...app, restart: undefined, requires: undefined } as unknown as typeof app;
    const world: World = {
      ...newest.world,
      desired: { ...newest.world.desired, services: new Map([["app", broken]]) },
    };
    const kept = new KeptWorlds();
    kept.keep(world, plan(world));
    kept.keepThrown(world, new Error("out of ideas"));
    const { turns } = JSON.parse(kept.print()) as { turns: PlannedTurn[] };
    expect(turns.map(({ answer }) => answer)).toMatchObject([
      { kind: "threw", message: expect.stringContaining("out of ideas") as string },
      { kind: "planned", faults: ["app"] },
    ]);
  });

  test("what is printed has an end: older turns are left out, and counted", async () => {
    const node = await bringUp({ app: buildManifest(), db: buildManifest() });
    const [newest] = load(node);
    if (newest === undefined) throw new Error("nothing is kept");
    const kept = new KeptWorlds();
    for (let turn = 0; turn < 3; turn += 1) kept.keep(newest.world, plan(newest.world));
    const { length } = printTurn(newest);
    const { leftOut, turns } = JSON.parse(kept.print(length * 2.5)) as { leftOut: number; turns: unknown[] };
    expect([leftOut, turns.length]).toEqual([1, 2]);
  });
});
