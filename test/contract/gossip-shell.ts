// What the loop may rely on, whichever way nodes speak to each other: the same suite runs over links between nodes and through NATS.

import { existsSync } from "node:fs";

import { afterEach, beforeEach, expect, test } from "vitest";

import type { MeshShell } from "../../agent/gossip/mesh/mesh-shell.ts";
import type { NatsShell } from "../../agent/gossip/nats/nats-shell.ts";
import { statePath } from "../../agent/host/state-layout.ts";
import type { AgentWord } from "../../shared/fleet/agent-version.ts";
import type { ColdStartStatement } from "../../shared/state/cold-start.ts";
import type { FleetMember } from "../../shared/state/desired-state.ts";
import { eventually } from "../builders/gossip/gossip-node.ts";

/** One node, of either kind. */
export interface ShellNode {
  readonly node: string;
  readonly member: FleetMember;
  readonly hints: readonly string[];
  readonly stateDir: string;
  readonly shell: MeshShell | NatsShell;
  agentWord: AgentWord | undefined;
  state(of: string): string | undefined;
  restart(): void;
  dispose(): Promise<void>;
}

const READY = { ready: true, state: "healthy" };

/** Runs the suite; `open` makes a node. */
export function describeShell(open: (node: string) => Promise<ShellNode>): void {
  let nodes: ShellNode[] = [];
  const at = (index: number): ShellNode => nodes[index] as ShellNode;
  const follow = (members = nodes): void => {
    const source = { fleet: members.map(({ member }) => member), interests: [] };
    for (const { shell } of nodes) shell.follow(source);
  };
  const isPresent = (by: ShellNode, of: string): boolean => by.shell.look(of).stale === undefined;

  beforeEach(async () => {
    nodes = await Promise.all(["vm-a", "vm-b", "vm-c"].map(open));
    follow();
    await eventually(
      () => nodes.every((by) => nodes.every((of) => by === of || isPresent(by, of.node))),
      15_000,
      "the meeting",
    );
  });
  afterEach(async () => void (await Promise.all(nodes.map((node) => node.dispose()))));

  test("a change is known by all, present, with all that its owner said", async () => {
    const cold: ColdStartStatement = {
      run: "r",
      ageMs: 5,
      seen: {},
      services: { db: { at: [1, 2, 3, null], by: "x" } },
    };
    at(0).shell.say({ db: { ...READY, start: "one", waiting: ["vm-b/x"] } }, "a".repeat(40), cold);
    const knows = (by: ShellNode): boolean => by.shell.look("vm-a").words?.services["db"]?.start === "one";
    await eventually(() => knows(at(1)) && knows(at(2)), 2_000, "the change");
    expect(at(1).shell.look("vm-a").words).toMatchObject({ revision: "a".repeat(40), cold });
    expect(isPresent(at(1), "vm-a")).toBe(true);
    expect(
      at(1)
        .shell.view()
        .map(({ node, state }) => [node, state]),
    ).toEqual([
      ["vm-a", "alive"],
      ["vm-c", "alive"],
    ]);
    expect(at(0).shell.words).toMatchObject({ db: { start: "one" } });
    expect(at(1).shell.stats.recordsAccepted).toBeGreaterThanOrEqual(2);
  });

  test("what runs on a node is known by all, also when only that has changed; who hears it is shown, or not told at all", async () => {
    const knows = (by: ShellNode, confirmed: boolean): boolean =>
      by.shell.look("vm-a").words?.agent?.confirmed === confirmed;
    for (const confirmed of [false, true]) {
      at(0).agentWord = { version: "0.2.0", confirmed };
      at(0).shell.say({ db: READY }, undefined);
      await eventually(() => knows(at(1), confirmed) && knows(at(2), confirmed), 3_000, "the word of its agent");
    }
    const { hearers } = at(0).shell;
    if (hearers === undefined) return;
    await eventually(() => at(0).shell.hearers?.length === 2, 10_000, "both to show that they hold it");
  });

  test("a burst ends with the last word, and what changed wakes who listens", async () => {
    let woken = 0;
    at(1).shell.onChange = () => (woken += 1);
    for (let count = 0; count < 50; count += 1) at(0).shell.say({ db: { ...READY, start: `run-${count}` } }, undefined);
    await eventually(() => at(1).shell.look("vm-a").words?.services["db"]?.start === "run-49", 3_000, "the last word");
    await eventually(() => isPresent(at(1), "vm-a"), 1_000, "its presence");
    expect(woken).toBeGreaterThan(0);
  });

  test("an end is told, and the way back is believed at once", async () => {
    await at(0).shell.close();
    await eventually(() => at(1).state("vm-a") === "left" && at(2).state("vm-a") === "left", 3_000, "the end");
    expect(at(1).shell.look("vm-a").stale).toMatch(/told to end/);
    at(0).restart();
    follow();
    at(0).shell.say({ db: { ...READY, start: "again" } }, undefined);
    await eventually(
      () => isPresent(at(1), "vm-a") && at(1).shell.look("vm-a").words?.services["db"]?.start === "again",
      10_000,
      "the way back",
    );
    expect(at(1).shell.look("vm-a").words?.boot).toBe(2);
  });

  test("a hint reaches the others, once", async () => {
    at(0).shell.hint("b".repeat(40));
    at(0).shell.hint("b".repeat(40));
    await eventually(() => at(1).hints.length > 0 && at(2).hints.length > 0, 2_000, "the hint");
    expect([at(0).hints, at(1).hints, at(2).hints]).toEqual([[], ["b".repeat(40)], ["b".repeat(40)]]);
  });

  test("who is taken out of fleet.toml is nobody from then on; another key takes no part", async () => {
    follow(nodes.slice(0, 2));
    expect(
      at(0)
        .shell.view()
        .map(({ node }) => node),
    ).toEqual(["vm-b"]);
    expect(at(0).shell.look("vm-c").stale).toMatch(/not in this realm/);
    expect(at(2).shell.notes.join()).toContain("fleet.toml does not list this node");
    expect(isPresent(at(0), "vm-b")).toBe(true);
    const stranger = { ...at(2).member, publicKey: at(0).member.publicKey };
    for (const { shell } of nodes) shell.follow({ fleet: [at(0).member, at(1).member, stranger], interests: [] });
    expect(at(2).shell.notes.join()).toContain("another key of this node");
    at(2).shell.say({ db: { ...READY, start: "stranger" } }, undefined);
    expect(at(0).shell.look("vm-c").words).toBeUndefined();
  });

  test("a node that fleet.toml lists only later takes part from then on", async () => {
    const late = await open("vm-d");
    late.shell.follow({ fleet: nodes.map(({ member }) => member), interests: [] });
    await eventually(() => existsSync(statePath(late.stateDir, "gossipBoot")), 2_000, "its start");
    expect(late.shell.view()).toEqual([]);
    nodes = [...nodes, late];
    follow();
    await eventually(() => isPresent(at(0), "vm-d") && isPresent(late, "vm-a"), 15_000, "the meeting");
  });

  test("a realm that a node is put into knows nothing of the one it left", async () => {
    const moved = nodes.map(({ member }) => (member.node === "vm-c" ? member : { ...member, realm: "stage" }));
    for (const { shell } of nodes) shell.follow({ fleet: moved, interests: [] });
    await eventually(() => at(0).shell.look("vm-b").words?.realm === "stage" && isPresent(at(0), "vm-b"), 15_000, "it");
    expect(at(2).shell.view()).toEqual([]);
    expect(
      at(0)
        .shell.view()
        .map(({ node }) => node),
    ).toEqual(["vm-b"]);
  });
}
