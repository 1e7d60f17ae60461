// The table of Gitea's answers × what a node is doing: each cell is a test. What runs is not touched, what is told names the cause and
// the next try, and the change that was missed goes in when the forge answers well.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { type Condition, listConditions } from "../../../agent/report/notify/alert-judge.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { type ForgeNode, GITEA_ANSWERS, type GiteaAnswer, openForgeNode } from "../../builders/git/gitea-answers.ts";
import { buildPlatform } from "../../builders/git/git-node.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { crash, reboot } from "../../builders/node/secret-node.ts";

const UPDATE = '[update]\nsettle = "1s"\nhealthy_within = "20s"';
const LASTING_MS = 360_000;
const SYNC = { kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } } as const;
function commit({ server }: ForgeNode, image: string): string {
  const app = buildManifest({ image, tables: UPDATE });
  return server.repository.commit({ files: buildPlatform({ app, other: buildManifest({ tables: UPDATE }) }) });
}

async function bringUp(): Promise<ForgeNode> {
  const one = await openForgeNode();
  const tip = commit(one, "app:1");
  await one.node.start();
  await one.node.untilSettled(["app", "other"]);
  await untilTold(one, tip);
  return one;
}

/** What was said last of a commit; one that was overtaken may be given its last word after the newest. */
function lastWord({ forge }: ForgeNode, sha: string | undefined): string | undefined {
  return forge.rows.findLast((row) => row.sha === sha)?.state;
}

async function untilTold(one: ForgeNode, sha: string | undefined): Promise<void> {
  await one.node.clock.advanceUntil(() => lastWord(one, sha) === "success", 1_500_000, "the forge is told");
  await one.node.clock.settle();
}

function known({ node }: ForgeNode): ReportState {
  return node.events.reduce(reduceStatus, beginState(0));
}

/** What a person reads: the notes of status, and what tells the forge. */
function said(one: ForgeNode): string {
  const { note } = one.node.sink ?? {};
  const notes = note === undefined ? [] : [note];
  const nowMs = one.node.clock.nowMs();
  return buildStatus(known(one), { node: "vm1", version: "0", socket: undefined, nowMs, notes }).notes.join("\n");
}

/** The alert of the source, were it to stay as it is for a while. */
function alertOf(one: ForgeNode): Condition | undefined {
  const all = listConditions(known(one), one.node.clock.nowMs() + LASTING_MS, undefined);
  return all.find(({ subject }) => subject === "@source");
}

/** What runs was left alone, and is well. */
function expectUntouched({ node }: ForgeNode): void {
  expect(node.engine.calls).toEqual([]);
  expect(node.turn.services.map(({ name, state }) => `${name} ${state}`)).toEqual(["app healthy", "other healthy"]);
}

/** The cause, and the next try; after a while somebody is told of it. */
async function expectSaid(one: ForgeNode, { says, effect, lasting }: GiteaAnswer): Promise<void> {
  if (says === undefined) return;
  await one.node.clock.advanceUntil(() => says.test(said(one)), 120_000, String(says));
  if (effect === "followed") return;
  if (lasting === true) expect(said(one)).not.toContain("next try");
  else expect(said(one)).toMatch(/next try in \d/);
  if (effect === "untold") return;
  expect(alertOf(one)).toMatchObject({
    severity: effect === "not-followed" ? "critical" : "warning",
    reason: expect.stringMatching(says),
  });
}

/** The forge answers well, and what was missed goes in and is told. */
async function expectHealed(one: ForgeNode, row: GiteaAnswer, tip: string | undefined, image: string): Promise<void> {
  await row.heal(one);
  const { node } = one;
  node.agent.request(SYNC);
  await node.clock.advanceUntil(() => node.turn.source.trouble === undefined, 60_000, "a good reading");
  const isThere = (): boolean => node.engine.running("app")?.image === image;
  await node.clock.advanceUntil(isThere, 600_000, "what was missed");
  await node.untilSettled(["app", "other"]);
  await untilTold(one, tip);
  expect(node.sink?.note).toBeUndefined();
  expect(alertOf(one)?.severity).toBeUndefined();
}

/** From now on it answers like this; an unsigned commit is what keys are about. Answers the newest commit. */
async function applyTo(one: ForgeNode, row: GiteaAnswer): Promise<string | undefined> {
  const before = one.server.repository.tip();
  await row.apply(one);
  const image = one.node.engine.running("app")?.image;
  return row.effect === "not-followed" ? commit(one, image === "app:1" ? "app:2" : "app:1") : before;
}

type Moment = (one: ForgeNode, row: GiteaAnswer) => Promise<void>;

/** What runs when a moment begins. */
const imageOf = ({ node }: ForgeNode): string => node.engine.running("app")?.image ?? "";
/** What goes in when the forge answers well, where a commit was made meanwhile or none was. */
const nextOf = (image: string): string => (image === "app:1" ? "app:2" : "app:1");

const MOMENTS: Record<string, Moment> = {
  "running services go on, and are healed": async (one, row) => {
    const image = imageOf(one);
    const tip = await applyTo(one, row);
    if (row.effect !== "untold") await expectSaid(one, row);
    await one.node.clock.advance(60_000);
    expectUntouched(one);
    const run = one.node.engine.running("app")?.run ?? 0;
    crash(one.node, "app");
    await one.node.clock.advance(10_000);
    expect(one.node.engine.running("app")).toMatchObject({ run: run + 1, image });
    await expectHealed(one, row, tip, row.effect === "not-followed" ? nextOf(image) : image);
  },

  "a restart of the agent touches nothing": async (one, row) => {
    const image = imageOf(one);
    await one.node.stop();
    const tip = await applyTo(one, row);
    await one.node.start();
    await one.node.untilSettled(["app", "other"]);
    if (row.effect !== "untold") await expectSaid(one, row);
    await one.node.clock.advance(30_000);
    expectUntouched(one);
    await expectHealed(one, row, tip, row.effect === "not-followed" ? nextOf(image) : image);
  },

  "after a boot everything comes back from what is kept": async (one, row) => {
    const { node } = one;
    const image = imageOf(one);
    const tip = await applyTo(one, row);
    await reboot(node);
    await node.untilSettled(["app", "other"]);
    expect(imageOf(one)).toBe(image);
    expect(node.engine.of("app")).toHaveLength(1);
    node.engine.calls.length = 0;
    if (row.effect !== "untold") await expectSaid(one, row);
    expectUntouched(one);
    await expectHealed(one, row, tip, row.effect === "not-followed" ? nextOf(image) : image);
  },

  "a new deploy waits for it, or goes in all the same": async (one, row) => {
    const { node } = one;
    const image = imageOf(one);
    const before = await applyTo(one, row);
    const isHidden = row.name === "an empty repository";
    const tip = isHidden || row.effect === "not-followed" ? before : commit(one, nextOf(image));
    await expectSaid(one, row);
    if (row.effect === "unread" || row.effect === "not-followed") {
      await node.clock.advance(30_000);
      expectUntouched(one);
      expect(imageOf(one)).toBe(image);
    } else {
      await node.clock.advanceUntil(() => imageOf(one) === nextOf(image), 120_000, "the new image");
      await node.untilSettled(["app", "other"]);
      if (row.effect === "untold") expect(lastWord(one, tip)).not.toBe("success");
    }
    await expectHealed(one, row, tip, isHidden ? image : nextOf(image));
  },
};

describe.each(GITEA_ANSWERS)("$name: $effect", (row) => {
  let one: ForgeNode;

  // One node through all four: each ends with a forge that answers well.
  beforeAll(async () => void (one = await bringUp()));
  afterAll(() => one.dispose());
  beforeEach(() => void (one.node.engine.calls.length = 0));

  test.each(Object.entries(MOMENTS))("%s", async (_what, moment) => {
    await moment(one, row);
    expect(one.node.turn.source.trouble).toBeUndefined();
  });
});
