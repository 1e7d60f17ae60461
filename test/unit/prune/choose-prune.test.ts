// What a prune takes, over generated engines: never what anybody needs, never a stranger's, never what runs, and nothing twice.

import * as fc from "fast-check";
import { expect, test } from "vitest";

import {
  choosePrune,
  EARLY_AGES,
  type ImageMemories,
  rememberImages,
  WEEK_MS,
  WEEKLY_AGES,
} from "../../../agent/prune/core/choose-prune.ts";
import { claimContainer, LABEL, type OwnContainerId } from "../../../shared/state/identity.ts";
import type { ImageNeed, PruneContainer, PruneImage, PruneInventory, PruneNeeds } from "../../../shared/state/prune.ts";

const NOW_MS = Date.UTC(2026, 10, 30, 12);
const AGES = { weekly: WEEKLY_AGES, early: EARLY_AGES };

function own(id: string, service: string): OwnContainerId {
  const claimed = claimContainer(id, { [LABEL.node]: "n", [LABEL.service]: service }, "n");
  if (claimed === undefined) throw new Error("it is own");
  return claimed;
}

const imageId = fc.integer({ min: 0, max: 9 }).map((at) => `sha256:${at}`);
const service = fc.constantFrom("db", "app", "gone");
const specHash = fc.constantFrom("v1:a", "v1:b", "v1:c");
const ageMs = fc.integer({ min: -WEEK_MS, max: 3 * WEEK_MS });

const container: fc.Arbitrary<PruneContainer> = fc
  .record({
    id: fc.integer({ min: 0, max: 99 }).map((at) => `c${at}`),
    imageId,
    kind: fc.constantFrom("own", "own", "own", "job", "peer", "foreign"),
    service,
    specHash,
    status: fc.constantFrom("created", "running", "paused", "restarting", "exited", "exited", "removing", "dead"),
    age: fc.option(ageMs, { nil: undefined }),
    hasUnnamedData: fc.boolean(),
    pinned: fc.boolean(),
  })
  .map(({ kind, service: name, specHash: spec, age, ...rest }) => ({
    ...rest,
    name: `name-${rest.id}`,
    owner: kind === "own" ? { kind, id: own(rest.id, name), service: name, specHash: spec } : { kind },
    stoppedMs: age === undefined ? undefined : NOW_MS - age,
  }));

const image: fc.Arbitrary<PruneImage> = fc
  .record({ id: imageId, named: fc.constantFrom("tag", "other", "digest", "none"), pinned: fc.boolean() })
  .map(({ id, named, pinned }) => ({
    id,
    tags: named === "tag" ? [`app:${id.slice(-1)}`] : named === "other" ? [`app:${id.slice(-1)}`, "mine:1"] : [],
    digests: named === "digest" ? [`app@sha256:${id.slice(-1)}`] : [],
    freesBytes: 1_000,
    pinned,
  }));

const inventory: fc.Arbitrary<PruneInventory> = fc.record({
  images: fc.uniqueArray(image, { selector: ({ id }) => id, maxLength: 10 }),
  containers: fc.uniqueArray(container, { selector: ({ id }) => id, maxLength: 12 }),
});

const needs: fc.Arbitrary<PruneNeeds> = fc.record({
  images: fc
    .array(fc.tuple(imageId, fc.constantFrom<ImageNeed>("manifest", "held-change", "rollback", "backup")), {
      maxLength: 4,
    })
    .map((entries) => new Map(entries)),
  services: fc
    .array(fc.tuple(fc.constantFrom("db", "app"), fc.array(specHash)), { maxLength: 2 })
    .map((entries) => new Map(entries.map(([name, specs]) => [name, new Set(specs)]))),
});

const memory: fc.Arbitrary<ImageMemories> = fc
  .array(fc.tuple(imageId, fc.record({ age: ageMs, used: fc.boolean() })), { maxLength: 10 })
  .map((entries) =>
    Object.fromEntries(
      entries.map(([id, { age, used }]) => [
        id,
        { sinceMs: NOW_MS - age, idle: true, used, tags: [`app:${id.slice(-1)}`] },
      ]),
    ),
  );

const world = fc.record({ inventory, needs, memory, ages: fc.constantFrom(AGES.weekly, AGES.early) });

function choose({
  inventory: has,
  needs: wants,
  memory: before,
  ages,
}: typeof world extends fc.Arbitrary<infer W> ? W : never) {
  const remembered = rememberImages(before, has, { needs: wants, names: new Set(), nowMs: NOW_MS });
  return choosePrune(has, wants, remembered, { nowMs: NOW_MS, ages });
}

test("nothing goes that a manifest, a rollback, a held change or a backup needs, that runs, or that is somebody else's", () => {
  fc.assert(
    fc.property(world, (drawn) => {
      const { remove } = choose(drawn);
      const going = new Set<string>(remove.flatMap((item) => ("id" in item ? [item.id] : [])));
      for (const found of drawn.inventory.containers) {
        if (!going.has(found.id)) continue;
        const { owner, stoppedMs, status, pinned, hasUnnamedData } = found;
        expect(owner.kind).toBe("own");
        expect(["exited", "created", "dead"]).toContain(status);
        expect([pinned, hasUnnamedData]).toEqual([false, false]);
        expect(NOW_MS - (stoppedMs ?? NOW_MS)).toBeGreaterThanOrEqual(WEEK_MS);
        if (owner.kind === "own")
          expect(drawn.needs.services.get(owner.service)?.has(owner.specHash) ?? false).toBe(false);
      }
      for (const found of drawn.inventory.images) {
        if (!going.has(found.id)) continue;
        expect(drawn.needs.images.has(found.id)).toBe(false);
        expect(found.pinned).toBe(false);
        expect(found.tags).not.toContain("mine:1");
        const holders = drawn.inventory.containers.filter(
          ({ imageId: held, id }) => held === found.id && !going.has(id),
        );
        expect(holders).toEqual([]);
        const known = drawn.memory[found.id];
        // A stranger's image has a name, and no service here has ever used it.
        const held = drawn.inventory.containers.some(
          ({ imageId: by, owner }) => by === found.id && owner.kind === "own",
        );
        expect(known?.used === true || held || found.tags.length + found.digests.length === 0).toBe(true);
        expect(NOW_MS - (known?.sinceMs ?? NOW_MS)).toBeGreaterThanOrEqual(drawn.ages.imageMs);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("each thing either goes or stays with a reason, in an order that the engine's does not change", () => {
  fc.assert(
    fc.property(world, (drawn) => {
      const chosen = choose(drawn);
      const named = [
        ...chosen.remove.flatMap((item): string[] => ("id" in item ? [item.id] : [])),
        ...chosen.keep.map(({ id }) => id),
      ];
      const has = [...drawn.inventory.images, ...drawn.inventory.containers].map(({ id }) => id);
      expect(named.toSorted()).toEqual(has.toSorted());
      const { images, containers } = drawn.inventory;
      const turned = { images: images.toReversed(), containers: containers.toReversed() };
      expect(choose({ ...drawn, inventory: turned })).toEqual(chosen);
    }),
  );
});

test("what was carried out leaves nothing to do, and a shorter wait never keeps more", () => {
  fc.assert(
    fc.property(world, (drawn) => {
      const { remove } = choose(drawn);
      const going = new Set<string>(remove.flatMap((item) => ("id" in item ? [item.id] : [])));
      const left = (items: readonly { id: string }[]): never[] => items.filter(({ id }) => !going.has(id)) as never[];
      const { images, containers } = drawn.inventory;
      const after = { images: left(images), containers: left(containers) };
      // A container that went has held its image until now: that is idle from now on.
      const again = choose({ ...drawn, inventory: after });
      expect(again.remove.filter(({ kind }) => kind === "container")).toEqual([]);
      const early = choose({ ...drawn, ages: EARLY_AGES }).remove.length;
      expect(early).toBeGreaterThanOrEqual(choose({ ...drawn, ages: WEEKLY_AGES }).remove.length);
    }),
  );
});

test("a two-week-old container that ended a minute ago stays, and one whose end nobody knows", () => {
  const base: PruneContainer = {
    id: "c1",
    name: "orca-n-gone-1",
    imageId: "sha256:1",
    status: "exited",
    owner: { kind: "own", id: own("c1", "gone"), service: "gone", specHash: "v1:a" },
    stoppedMs: NOW_MS - 60_000,
    hasUnnamedData: false,
    pinned: false,
  };
  const judge = (stoppedMs: number | undefined): number =>
    choosePrune(
      { images: [], containers: [{ ...base, stoppedMs }] },
      { images: new Map(), services: new Map() },
      {},
      { nowMs: NOW_MS, ages: WEEKLY_AGES },
    ).remove.filter(({ kind }) => kind === "container").length;
  expect(judge(NOW_MS - 60_000)).toBe(0);
  expect(judge(undefined)).toBe(0);
  expect(judge(NOW_MS + 1)).toBe(0);
  expect(judge(NOW_MS - WEEK_MS)).toBe(1);
});

test("another node of Orca on this engine keeps images that it may go back to", () => {
  const idle: ImageMemories = {
    "sha256:1": { sinceMs: NOW_MS - 2 * WEEK_MS, idle: true, used: true, tags: ["app:1"] },
  };
  const images = [{ id: "sha256:1", tags: ["app:1"], digests: [], freesBytes: 1, pinned: false }];
  const judge = (containers: PruneContainer[]): unknown =>
    choosePrune({ images, containers }, { images: new Map(), services: new Map() }, idle, {
      nowMs: NOW_MS,
      ages: WEEKLY_AGES,
    }).keep.at(-1)?.reason;
  expect(judge([])).toBeUndefined();
  const peer: PruneContainer = {
    id: "c1",
    name: "orca-other-x-1",
    imageId: "sha256:2",
    status: "running",
    owner: { kind: "peer" },
    stoppedMs: undefined,
    hasUnnamedData: false,
    pinned: false,
  };
  expect(judge([peer])).toEqual({ code: "other-node" });
});
