// kill -9 at every step: whatever call to a repository is the last one of the process, afterwards there are whole backups and nothing that
// anybody takes for one; what was good before is there still, and the next run takes away what was left. In a directory and in a bucket.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { buildBackupOrder, playPart, DUMP_FORM } from "../../builders/data/made-backup.ts";
import { RECORD_ENDING } from "../../../agent/backup/core/backup-name.ts";
import type { DumpPart } from "../../../agent/backup/dump-port.ts";
import { Meter } from "../../../agent/backup/dump-gate.ts";
import { carryOutRetention } from "../../../agent/backup/keep-few.ts";
import { listBackups, makeBackup, type MadeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { PendingFile, Repository } from "../../../agent/backup/repository/repository-port.ts";
import { S3Client } from "../../../agent/backup/repository/s3-client.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { FakeS3 } from "../../fakes/fake-s3.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const NOW = Date.UTC(2026, 10, 20, 2, 17);
const DAY_MS = 86_400_000;
const GOOD = Buffer.concat([Buffer.from("PGDMP"), randomBytes(70_000)]);

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A place that outlives the process, and what lies in it that nobody should see. */
interface Place {
  kind: "directory" | "bucket";
  open(): Repository;
  listUnfinished(): string[];
}

function makeDirectory(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), "orca-cut-"));
  closing.push(() => rmSync(directory, { recursive: true }));
  return Promise.resolve({
    kind: "directory",
    open: () => openLocalRepository("local", directory),
    listUnfinished: () =>
      readdirSync(directory, { recursive: true })
        .map(String)
        .filter((name) => name.endsWith(".partial")),
  });
}

async function makeBucket(): Promise<Place> {
  const server = new FakeS3();
  await server.start();
  closing.push(() => server.stop());
  return {
    kind: "bucket",
    open: () => {
      const client = new S3Client(server.place(), 1);
      closing.push(() => client.close());
      return openS3Repository(client, () => NOW);
    },
    listUnfinished: () => [...server.uploads.values()].map(({ key }) => key),
  };
}

/** A process that is killed at its n-th call: nothing that it asks for happens from then on, its own tidying included. */
class Mortal {
  calls = 0;
  readonly #until: number;
  readonly #open: PendingFile[] = [];
  constructor(until: number) {
    this.#until = until;
  }
  #step(): void {
    this.calls += 1;
    if (this.calls > this.#until) throw new Error("killed");
  }
  /** The kernel closes what a process has had open: here somebody must, once all was looked at. */
  async bury(): Promise<void> {
    for (const pending of this.#open) await pending.abandon().catch(() => undefined);
  }

  wrap(repository: Repository): Repository {
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      this.#step();
      return work();
    };
    const begin = (): void => this.#step();
    return {
      name: repository.name,
      list: (folder) => step(() => repository.list(folder)),
      create: (folder, name) =>
        step(async () => {
          const pending = await repository.create(folder, name);
          this.#open.push(pending);
          return wrapPending(pending, step);
        }),
      read: async function* (folder, name) {
        begin();
        yield* repository.read(folder, name);
      },
      readText: (folder, name) => step(() => repository.readText(folder, name)),
      replaceText: (folder, name, text) => step(() => repository.replaceText(folder, name, text)),
      remove: (folder, name) => step(() => repository.remove(folder, name)),
      sweep: (folder) => step(() => repository.sweep(folder)),
      freeBytes: () => step(() => repository.freeBytes()),
      listTerms: (folder) => step(() => repository.listTerms(folder)),
    };
  }
}

function wrapPending(pending: PendingFile, step: <T>(work: () => Promise<T>) => Promise<T>): PendingFile {
  return {
    write: (chunk) => step(() => pending.write(chunk)),
    publish: () => step(() => pending.publish()),
    abandon: () => step(() => pending.abandon()),
  };
}

/** @param held what it waits for in its middle, and how much it has written until then */
function playDump(held: Promise<void> = Promise.resolve(), firstBytes = 40_000): DumpPart {
  const read = async function* (): AsyncIterable<Uint8Array> {
    yield Buffer.concat([GOOD.subarray(0, 40_000), Buffer.alloc(firstBytes - 40_000)]);
    await held;
    yield GOOD.subarray(40_000);
  };
  return playPart(read, { form: DUMP_FORM });
}

function make(
  repositories: readonly Repository[],
  nowMs: number,
  parts: DumpPart[] = [playDump()],
): Promise<MadeBackup> {
  return makeBackup(buildBackupOrder(), {
    repositories: repositories.map((opened) => ({ name: opened.name, open: () => Promise.resolve(opened) })),
    nowMs: () => nowMs,
    listParts: () => Promise.resolve(parts),
  });
}

/** Every backup that is listed has all of its data, byte for byte. */
async function expectWhole(repository: Repository): Promise<string[]> {
  const { records } = await listBackups(repository, FOLDER);
  for (const { files } of records) {
    for (const { file, stored } of files) {
      const meter = new Meter();
      for await (const chunk of repository.read(FOLDER, file)) meter.take(chunk);
      expect(meter.read()).toEqual(stored);
    }
  }
  return records.map(({ name }) => name);
}

describe.each([
  ["a directory, copied into a directory", [makeDirectory, makeDirectory]],
  ["a bucket, copied into a directory", [makeBucket, makeDirectory]],
  ["a directory, copied into a bucket", [makeDirectory, makeBucket]],
])("killed at every step: %s", (_name, kinds) => {
  test("while a backup is made and copied", async () => {
    for (let until = 0; ; until += 1) {
      const places: Place[] = [];
      for (const kind of kinds) places.push(await kind());
      const before = await make(
        places.map((place) => place.open()),
        NOW,
      );
      const mortal = new Mortal(until);
      const run = await make(
        places.map((place) => mortal.wrap(place.open())),
        NOW + 60_000,
      ).catch(() => undefined);
      const isOver = run !== undefined && mortal.calls <= until;
      for (const place of places) {
        const names = await expectWhole(place.open());
        expect(names).toContain(before.record.name);
        expect(names.length).toBe(isOver ? 2 : Math.min(names.length, 2));
      }
      const next = await make(
        places.map((place) => place.open()),
        NOW + 120_000,
      );
      expect(next.repositories.map(({ reason }) => reason)).toEqual([undefined, undefined]);
      for (const place of places) {
        expect(place.listUnfinished()).toEqual([]);
        expect(await expectWhole(place.open())).toContain(next.record.name);
      }
      await mortal.bury();
      if (isOver) break;
    }
  }, 120_000);
});

test.each([
  ["a directory", makeDirectory],
  ["a bucket", makeBucket],
])(
  "two agents of one node's name, by mistake, in %s: each has a whole backup or says that it has none",
  async (_name, open) => {
    for (const [laterMs, firstBytes] of [
      [0, 40_000],
      [60_000, 9_000_000],
    ] as const) {
      const place = await open();
      let letGo: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      const one = make([place.open()], NOW, [playDump(held, firstBytes)]).catch((error: unknown) => String(error));
      await expect
        .poll(() => place.listUnfinished().length, { timeout: 30_000 })
        .toBe(place.kind === "directory" || firstBytes > 40_000 ? 1 : 0);
      const other = await make([place.open()], NOW + laterMs);
      letGo();
      const made = await one;
      const names = await expectWhole(place.open());
      expect(names).toContain(other.record.name);
      expect(names).toHaveLength(typeof made === "string" ? 1 : 2);
      expect(place.listUnfinished()).toEqual([]);
      const { strange } = await listBackups(place.open(), FOLDER);
      expect(strange).toEqual([]);
    }
  },
  120_000,
);

test.each([
  ["a directory", makeDirectory],
  ["a bucket", makeBucket],
])(
  "killed at every step of retention: %s",
  async (_name, open) => {
    for (let until = 0; ; until += 1) {
      const place = await open();
      for (let at = 0; at < 6; at += 1) await make([place.open()], NOW + at * DAY_MS);
      const repository = place.open();
      for (const record of (await listBackups(repository, FOLDER)).records) {
        const text = JSON.stringify({ ...record, verifications: [{ atMs: NOW, verdict: "good", detail: "" }] });
        await repository.replaceText(FOLDER, `${record.name}${RECORD_ENDING}`, text);
      }
      const input = {
        policy: { days: 1, daily: 1, weekly: 0, monthly: 0 },
        lastRunGood: true,
        lastRunEndedMs: 0,
        expected: undefined,
      };
      await carryOutRetention(repository, FOLDER, { ...input, nowMs: NOW + 6 * DAY_MS });
      const mortal = new Mortal(until);
      const nowMs = NOW + 8 * DAY_MS;
      await carryOutRetention(mortal.wrap(place.open()), FOLDER, { ...input, nowMs }).catch(() => undefined);
      const names = await expectWhole(place.open());
      for (const day of ["20261125", "20261124", "20261123"]) expect(names).toContain(`pg_dump_${day}_0217`);
      await carryOutRetention(place.open(), FOLDER, { ...input, nowMs });
      expect(await expectWhole(place.open())).toHaveLength(3);
      if (mortal.calls <= until) break;
    }
  },
  120_000,
);
