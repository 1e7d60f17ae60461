// A log in several directories: one that stays away holds nothing up for the others, and has all of it once it is back; and the index that
// names what lies there.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import type { ShipRequest } from "../../../agent/backup/backup-exchange.ts";
import type { IndexEntry } from "../../../agent/backup/wal/core/wal-index.ts";
import { nameSegment } from "../../../agent/backup/wal/core/wal-position.ts";
import { indexLog, readIndex } from "../../../agent/backup/wal/log-index.ts";
import { shipLog } from "../../../agent/backup/wal/ship-log.ts";
import { openRepository } from "../../../agent/backup/repository/repository-place.ts";

const SEGMENT = 4_096;
const FOLDER = { node: "n", service: "pg", store: "db" };
const roots: string[] = [];

afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

/** A receiver's directory with whole segments, and directories that are repositories. */
function openLog(names: readonly string[]) {
  const root = mkdtempSync(join(tmpdir(), "orca-wal-"));
  roots.push(root);
  const directory = join(root, "received");
  mkdirSync(directory);
  const places = names.map((name) => ({
    kind: "directory" as const,
    name,
    directory: join(root, name),
    holds: undefined,
  }));
  for (const { directory: own } of places) mkdirSync(own);
  const shipped = new Map(names.map((name) => [name, "0/0"]));
  let [at, nowMs] = [0, 1_000_000];
  const area = (name: string): string => join(root, name, "n/pg/db.wal/7/00000001");
  return {
    root,
    area,
    places,
    receive: (segments: number) => {
      for (let index = 0; index < segments; index += 1, at += 1)
        writeFileSync(join(directory, nameSegment(1, BigInt(at * SEGMENT), SEGMENT)), Buffer.alloc(SEGMENT, at + 1));
    },
    waiting: () => readdirSync(directory).length,
    list: (name: string) => [...new Set(readdirSync(area(name)).map((file) => file.slice(0, 24)))].toSorted(),
    ship: async (away: readonly string[] = [], minSuccess = 1) => {
      const request: ShipRequest = {
        kind: "ship",
        folder: FOLDER,
        log: { systemId: "7", timeline: 1, segmentBytes: SEGMENT },
        directory,
        received: `0/${(at * SEGMENT).toString(16)}`,
        repositories: places
          .filter(({ name }) => !away.includes(name))
          .map((place) => ({ place, shipped: shipped.get(place.name) ?? "" })),
        holdBack: away.map((name) => shipped.get(name) ?? ""),
        lenders: places.filter(({ name }) => !away.includes(name)),
        minSuccess,
        spoolBytes: 8 * SEGMENT,
        recipients: [],
      };
      const shipments = await shipLog(request, () => (nowMs += 1));
      for (const shipment of shipments) shipped.set(shipment.repository, shipment.shipped);
      return shipments;
    },
  };
}

test("what one repository that stays away lacks goes from the host once enough others have it, and is copied from them", async () => {
  const log = openLog(["near", "far"]);
  log.receive(3);
  await log.ship(["far"]);
  expect(log.waiting()).toBe(3);
  log.receive(7);
  await log.ship(["far"]);
  expect(log.waiting()).toBe(4);
  expect(log.list("near")).toHaveLength(10);
  const back = await log.ship();
  expect(back.map(({ repository, reason }) => [repository, reason])).toEqual([
    ["near", undefined],
    ["far", undefined],
  ]);
  expect(log.list("far")).toEqual(log.list("near"));
  expect(log.waiting()).toBe(1);
});

test("nothing goes from the host while too few have it", async () => {
  const log = openLog(["near", "far"]);
  log.receive(10);
  await log.ship(["far"], 2);
  expect(log.waiting()).toBe(10);
});

test("what is nowhere any more is said of the one that lacks it, with where it can go on", async () => {
  const log = openLog(["near", "far"]);
  log.receive(10);
  await log.ship(["far"]);
  rmSync(log.area("near"), { recursive: true });
  const [, far] = await log.ship();
  expect(far).toMatchObject({ repository: "far", isBroken: true, shipped: "0/0", oldest: "0/6000" });
});

test("an index names what was stored, holds the listing against it, and follows what goes", async () => {
  const log = openLog(["near"]);
  log.receive(4);
  const [shipment] = await log.ship();
  const [place] = log.places;
  if (place === undefined) throw new Error("no repository");
  const { repository } = await openRepository(place);
  const folder = { ...FOLDER, area: "7/00000001" };
  let nowMs = 2_000_000;
  const index = (add: readonly IndexEntry[], before?: string) =>
    indexLog(
      repository,
      {
        kind: "index",
        repository: place,
        folder,
        segmentBytes: SEGMENT,
        add,
        drop: { names: [], before },
        recipients: [],
        identities: [],
      },
      (nowMs += 1_000),
    );
  expect(await index(shipment?.stored ?? [])).toEqual({ lost: undefined, spent: [] });
  const named = await readIndex({ repository, folder }, await repository.list(folder), []);
  expect(named).toEqual(shipment?.stored);
  expect(named).toHaveLength(4);
  // Nothing is new: none is written.
  expect(await index([])).toEqual({ lost: undefined, spent: [] });
  // The last one is found to be gone, of which a listing alone says nothing.
  await repository.remove(folder, named?.[3]?.name ?? "");
  expect((await index([])).lost).toEqual({ from: "0/3000", to: "0/4000" });
  await repository.remove(folder, named?.[0]?.name ?? "");
  const next = await index([], "0/1000");
  expect(next.lost).toEqual({ from: "0/3000", to: "0/4000" });
  expect(next.spent).toHaveLength(1);
  expect((await readIndex({ repository, folder }, await repository.list(folder), []))?.map(({ name }) => name)).toEqual(
    named?.slice(1).map(({ name }) => name),
  );
});
