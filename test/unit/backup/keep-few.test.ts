// Retention as it is carried out in a directory: cut off at any step, nothing good goes, and the next one brings it to its end.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { carryOutRetention } from "../../../agent/backup/keep-few.ts";
import { listBackups, makeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { Repository } from "../../../agent/backup/repository/repository-port.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 10, 1, 2, 17);
const NOW = START + 30 * DAY_MS;
const INPUT = {
  policy: { days: 1, daily: 1, weekly: 0, monthly: 0 },
  lastRunGood: true,
  lastRunEndedMs: 0,
  expected: undefined,
};

let directory = "";
let repository: Repository;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-few-"));
  repository = openLocalRepository("local", directory);
});
afterEach(() => rmSync(directory, { recursive: true }));

/** One of two files. */
async function make(startedMs: number, maker?: string): Promise<void> {
  const part = (label: string): Awaited<ReturnType<Parameters<typeof makeBackup>[1]["listParts"]>>[number] => ({
    kind: "database",
    content: label,
    label,
    ending: ".dump",
    form: { heads: [], tail: "", minBytes: 1, warnCodes: [] },
    begin: () =>
      Promise.resolve({
        output: [Buffer.from("data")] as unknown as AsyncIterable<Uint8Array>,
        ended: Promise.resolve({ exitCode: 0, stderr: "", outOfMemory: false }),
        cancel: () => Promise.resolve(),
      }),
  });
  await makeBackup(
    {
      folder: FOLDER,
      engine: "postgres",
      trigger: "schedule",
      image: "i",
      recipients: [],
      maker,
      keepUntilMs: undefined,
      describeRestore: () => [],
    },
    {
      repositories: [{ name: "local", open: () => Promise.resolve(repository) }],
      nowMs: () => startedMs,
      listParts: () => Promise.resolve([part("a"), part("b")]),
    },
  );
}

test("a removal that was killed between any two steps is brought to its end, and takes nothing else", async () => {
  for (let limit = 0; limit < 3; limit += 1) {
    rmSync(directory, { recursive: true, force: true });
    // One that was proved, and an older one that nobody needs then.
    await make(START);
    await make(NOW - 1_000);
    const [newest] = (await listBackups(repository, FOLDER)).records;
    const proved = { ...newest, verifications: [{ atMs: NOW, verdict: "good", detail: "" }] };
    await repository.replaceText(FOLDER, `${newest?.name}.manifest.json`, JSON.stringify(proved));
    await carryOutRetention(repository, FOLDER, { ...INPUT, nowMs: NOW });
    let removals = 0;
    const mortal: Repository = {
      ...repository,
      remove: (...parameters) => {
        removals += 1;
        return removals > limit ? Promise.reject(new Error("killed")) : repository.remove(...parameters);
      },
    };
    const later = NOW + 2 * DAY_MS;
    expect((await carryOutRetention(mortal, FOLDER, { ...INPUT, nowMs: later })).kept).toBe("killed");
    await carryOutRetention(repository, FOLDER, { ...INPUT, nowMs: later });
    const { records, strange } = await listBackups(repository, FOLDER);
    expect(records.map(({ name }) => name)).toEqual([newest?.name]);
    expect(strange).toEqual([]);
  }
});

test("where another agent writes too nothing goes, and what it has left before does not count", async () => {
  const other = "age1other";
  for (const [ago, maker] of [
    [9, other],
    [8, "age1own"],
    [7, "age1own"],
    [0, "age1own"],
  ] as const)
    await make(NOW - ago * DAY_MS, maker);
  const input = { ...INPUT, maker: "age1own" };
  expect(await carryOutRetention(repository, FOLDER, { ...input, nowMs: NOW })).toMatchObject({
    stoodStill: undefined,
  });
  await make(NOW - DAY_MS, other);
  const later = { ...input, nowMs: NOW + 9 * DAY_MS };
  expect(await carryOutRetention(repository, FOLDER, later)).toMatchObject({
    removed: [],
    stoodStill: expect.stringContaining("another agent writes there too") as string,
  });
  // One that knows of no key of its own cannot tell.
  expect((await carryOutRetention(repository, FOLDER, { ...later, maker: undefined })).stoodStill).toBe(undefined);
});

test("a record that lacks its data and was never to go stays as it is", async () => {
  await make(NOW - 1_000);
  await make(START);
  const [, old] = (await listBackups(repository, FOLDER)).records;
  const [first, second] = old?.files ?? [];
  await repository.remove(FOLDER, first?.file ?? "");
  await carryOutRetention(repository, FOLDER, { ...INPUT, nowMs: NOW + 9 * DAY_MS });
  expect((await listBackups(repository, FOLDER)).strange).toEqual([second?.file, `${old?.name}.manifest.json`]);
});
