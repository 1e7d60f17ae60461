// One backup, whatever its program does and wherever it is cut: only a good dump is ever a backup, and nothing else is left.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { DumpEnd, DumpPart, RunningDump } from "../../../agent/backup/dump-port.ts";
import { decryptStream } from "../../../agent/backup/encrypt.ts";
import {
  type BackupOrder,
  listBackups,
  makeBackup,
  type MadeBackup,
  type RepositoryOpening,
} from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { PendingFile, Repository } from "../../../agent/backup/repository/repository-port.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const NOW = Date.UTC(2026, 10, 20, 2, 17);
const GOOD = Buffer.concat([Buffer.from("PGDMP"), randomBytes(300_000)]);
const ENDED: DumpEnd = { exitCode: 0, stderr: "", outOfMemory: false };

let directory = "";
let repository: Repository;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-pipeline-"));
  repository = openLocalRepository("local", directory);
});

afterEach(() => rmSync(directory, { recursive: true }));

function order(more: Partial<BackupOrder> = {}): BackupOrder {
  return {
    folder: FOLDER,
    engine: "postgres",
    trigger: "schedule",
    image: "sha256:1",
    recipients: [],
    keepUntilMs: undefined,
    describeRestore: (files) => files.map(({ file }) => `pg_restore ${file}`),
    ...more,
  };
}

interface Play {
  output?: () => AsyncIterable<Uint8Array>;
  end?: Partial<DumpEnd>;
  begins?: boolean;
}

let cancelled = 0;

function playDump({ output, end, begins = true }: Play): DumpPart {
  return {
    kind: "database",
    content: "app",
    label: "",
    ending: ".dump",
    form: { heads: [{ at: 0, text: "PGDMP" }], tail: "", minBytes: 512, warnCodes: [] },
    begin: (): Promise<RunningDump> => {
      if (!begins) return Promise.reject(new Error("run backup:pg/db: no such image"));
      return Promise.resolve({
        output: (output ?? (() => pieces(GOOD)))(),
        ended: Promise.resolve({ ...ENDED, ...end }),
        cancel: () => {
          cancelled += 1;
          return Promise.resolve();
        },
      });
    },
  };
}

async function* pieces(bytes: Buffer): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

function openAs(opened: Repository): RepositoryOpening[] {
  return [{ name: opened.name, open: () => Promise.resolve(opened) }];
}

function make(play: Play, more: Partial<BackupOrder> = {}, into = repository): Promise<MadeBackup> {
  return makeBackup(order(more), {
    repositories: openAs(into),
    nowMs: () => NOW,
    listParts: () => Promise.resolve([playDump(play)]),
  });
}

function lies(): string[] {
  try {
    return readdirSync(join(directory, "vm1/pg/db")).toSorted();
  } catch {
    return [];
  }
}

describe("a program that", () => {
  test.each<[string, Play, string]>([
    [
      "ends with 1",
      { end: { exitCode: 1, stderr: "pg_dump: error: out of locks\n" } },
      "exit code 1: pg_dump: error: out of locks",
    ],
    ["ends with 3 after all of it", { end: { exitCode: 3 } }, "exit code 3"],
    ["is killed", { end: { exitCode: 137 } }, "exit code 137"],
    ["runs out of memory", { end: { exitCode: 137, outOfMemory: true } }, "raise backups.memory"],
    ["writes nothing", { output: () => pieces(Buffer.alloc(0)) }, "it wrote nothing"],
    [
      "writes an error page",
      { output: () => pieces(Buffer.from("<html>".repeat(500))) },
      "does not begin as such a dump does",
    ],
    ["writes too little", { output: () => pieces(Buffer.from("PGDMP")) }, "at least 512 B"],
    ["cannot begin", { begins: false }, "no such image"],
    [
      "loses its connection in the middle",
      {
        output: async function* () {
          yield GOOD.subarray(0, 100_000);
          await Promise.resolve();
          throw new Error("read ECONNRESET");
        },
      },
      "ECONNRESET",
    ],
  ])("%s makes no backup, and leaves nothing", async (_name, play, words) => {
    await expect(make(play)).rejects.toThrow(words);
    expect(lies()).toEqual([]);
    await expect(
      make(play, { recipients: [await identityToRecipient(await generateX25519Identity())] }),
    ).rejects.toThrow(words);
    expect(lies()).toEqual([]);
  });

  test("is noisy and good makes one", async () => {
    await make({ end: { stderr: "pg_dump: warning: circular foreign keys\n".repeat(100) } });
    expect(lies()).toEqual(["pg_dump_20261120_0217.dump", "pg_dump_20261120_0217.manifest.json"]);
  });

  test("fails once it has begun is ended", async () => {
    cancelled = 0;
    await expect(make({ end: { exitCode: 1 } })).rejects.toThrow("exit code 1");
    expect(cancelled).toBe(1);
  });
});

test("of several parts a bad one takes the good ones with it", async () => {
  const parts = [playDump({}), { ...playDump({ end: { exitCode: 1 } }), label: "other" }];
  const making = makeBackup(order(), {
    repositories: openAs(repository),
    nowMs: () => NOW,
    listParts: () => Promise.resolve(parts),
  });
  await expect(making).rejects.toThrow("exit code 1");
  expect(lies()).toEqual([]);
});

test("databases whose names look alike in a file's name each have their own", async () => {
  const parts = ["a b", "a_b", "hö", "hü"].map((label) => ({ ...playDump({}), content: label, label }));
  const { record } = await makeBackup(order(), {
    repositories: openAs(repository),
    nowMs: () => NOW,
    listParts: () => Promise.resolve(parts),
  });
  expect(record.files.map(({ content, file }) => [content, file])).toEqual([
    ["a b", "pg_dump_20261120_0217.a_b.dump"],
    ["a_b", "pg_dump_20261120_0217.a_b.2.dump"],
    ["hö", "pg_dump_20261120_0217.h_.dump"],
    ["hü", "pg_dump_20261120_0217.h_.2.dump"],
  ]);
  expect((await listBackups(repository, FOLDER)).records).toHaveLength(1);
});

test("a second one of the same minute overwrites nothing", async () => {
  await make({});
  await make({});
  await make({});
  const { records, strange } = await listBackups(repository, FOLDER);
  expect(records.map(({ name }) => name).toSorted()).toEqual([
    "pg_dump_20261120_0217",
    "pg_dump_20261120_021700",
    "pg_dump_20261120_021701",
  ]);
  expect(strange).toEqual([]);
});

test("encrypted, each recipient opens it alone, and it is what was dumped", async () => {
  const identities = await Promise.all([generateX25519Identity(), generateX25519Identity()]);
  const recipients = await Promise.all(identities.map((identity) => identityToRecipient(identity)));
  await make({}, { recipients });
  expect(lies()).toEqual(["pg_dump_20261120_0217.dump.age", "pg_dump_20261120_0217.manifest.json"]);
  for (const identity of identities) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of decryptStream(repository.read(FOLDER, "pg_dump_20261120_0217.dump.age"), [identity]))
      chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(GOOD)).toBe(true);
  }
  const stranger = decryptStream(repository.read(FOLDER, "pg_dump_20261120_0217.dump.age"), [
    await generateX25519Identity(),
  ]);
  await expect(stranger[Symbol.asyncIterator]().next()).rejects.toThrow("no identity matched");
});

/** The repository as it is left when the process is killed at its n-th call: nothing after it happens, and nothing is cleaned up. */
function killAt(limit: number): { repository: Repository; died: Promise<never>; bury: () => Promise<void> } {
  let calls = 0;
  const open: PendingFile[] = [];
  let die: (error: Error) => void = () => undefined;
  const died = new Promise<never>((_, reject) => (die = reject));
  died.catch(() => undefined);
  const guard = <T extends object>(part: T): T =>
    new Proxy(part, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]): unknown => {
          calls += 1;
          if (calls >= limit) {
            die(new Error("killed"));
            return new Promise(() => undefined);
          }
          const result: unknown = Reflect.apply(value, target, parameters);
          if (key !== "create") return result;
          return (result as Promise<PendingFile>).then((pending) => {
            open.push(pending);
            return guard(pending);
          });
        };
      },
    });
  // The kernel closes what a process has had open: here somebody must, once all was looked at.
  const bury = async (): Promise<void> => {
    for (const pending of open) await pending.abandon();
  };
  return { repository: guard(openLocalRepository("local", directory)), died, bury };
}

test("killed between any two steps, what is listed is whole, and the next run cleans up", async () => {
  for (let limit = 1; ; limit += 1) {
    rmSync(directory, { recursive: true });
    const { repository: mortal, died, bury } = killAt(limit);
    const made = await Promise.race([make({}, {}, mortal).then(() => true), died.catch(() => false)]);
    const { records } = await listBackups(repository, FOLDER);
    for (const record of records) {
      for (const { file, stored } of record.files) {
        let bytes = 0;
        for await (const chunk of repository.read(FOLDER, file)) bytes += chunk.length;
        expect(bytes).toBe(stored.bytes);
      }
    }
    if (made) {
      await bury();
      expect(records).toHaveLength(1);
      expect(limit).toBeGreaterThan(8);
      return;
    }
    await make({});
    expect((await listBackups(repository, FOLDER)).records.length).toBe(records.length + 1);
    expect(lies().filter((name) => name.endsWith(".partial"))).toEqual([]);
    await bury();
  }
});

test("a record that another run has published under the same name stays", async () => {
  await make({});
  const file = "pg_dump_20261120_0217.manifest.json";
  const theirs = await repository.readText(FOLDER, file);
  // Both looked when nothing was there yet, and only one of them encrypts.
  const blind = { ...repository, list: () => Promise.resolve([]) };
  const recipients = [await identityToRecipient(await generateX25519Identity())];
  await expect(make({}, { recipients }, blind)).rejects.toThrow("EEXIST");
  expect(await repository.readText(FOLDER, file)).toBe(theirs);
  expect(lies()).toEqual(["pg_dump_20261120_0217.dump", file]);
});

test("a record that is there although its publishing failed goes with its data", async () => {
  const unsure = {
    ...repository,
    create: async (...parameters: Parameters<Repository["create"]>) => {
      const pending = await repository.create(...parameters);
      const publish = (): Promise<void> => pending.publish().then(() => Promise.reject(new Error("EIO: i/o error")));
      return parameters[1].endsWith(".json") ? { ...pending, publish } : pending;
    },
  };
  await expect(make({}, {}, unsure)).rejects.toThrow("EIO");
  expect(lies()).toEqual([]);
});

test("a server with more tables than a record has room for is backed up all the same", async () => {
  const rows = Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [`public.${"t".repeat(50)}_${at}`, at]));
  const parts = Array.from({ length: 12 }, (_, at): DumpPart => {
    const part = playDump({});
    const begin = async (): Promise<RunningDump> => ({
      ...(await part.begin()),
      measure: () => Promise.resolve({ entries: 1, rows }),
    });
    return { ...part, content: `app${at}`, label: `app${at}`, begin };
  });
  await makeBackup(order(), {
    repositories: openAs(repository),
    nowMs: () => NOW,
    listParts: () => Promise.resolve(parts),
  });
  const { records, strange } = await listBackups(repository, FOLDER);
  expect(strange).toEqual([]);
  const facts = records.flatMap(({ files }) => files.map((file) => file.facts));
  expect(facts.map((entry) => entry?.entries)).toEqual(parts.map(() => 1));
  expect(facts.filter((entry) => entry?.rows !== undefined).length).toBeGreaterThan(3);
});

test.each(["write", "publish"] as const)("a disk that fails at %s leaves no backup", async (step) => {
  const full = {
    ...repository,
    create: async (...parameters: Parameters<Repository["create"]>) => {
      const pending = await repository.create(...parameters);
      return { ...pending, [step]: () => Promise.reject(new Error("ENOSPC: no space left on device")) };
    },
  };
  await expect(make({}, {}, full)).rejects.toThrow("ENOSPC");
  expect(lies()).toEqual([]);
});

test("a repository that gives back something else is found out", async () => {
  const lying = { ...repository, read: () => pieces(GOOD.subarray(0, 1_000)) };
  await expect(make({}, {}, lying)).rejects.toThrow("is not what was written: 1000 of");
  expect(lies()).toEqual([]);
});

test("records that do not parse and data without one are told apart, and are no backups", async () => {
  await make({});
  await repository.replaceText(FOLDER, "pg_dump_20261119_0217.manifest.json", "{");
  await repository.replaceText(FOLDER, "pg_dump_20261118_0217.dump", "PGDMP");
  const { records, strange } = await listBackups(repository, FOLDER);
  expect(records).toHaveLength(1);
  expect(strange).toEqual(["pg_dump_20261118_0217.dump", "pg_dump_20261119_0217.manifest.json"]);
});

test("a record that speaks of another place, or names files outside of it, is no backup", async () => {
  await make({});
  const file = "pg_dump_20261120_0217.manifest.json";
  const record = JSON.parse(await repository.readText(FOLDER, file)) as { files: object[] };
  const hostile = [
    { ...record, name: "pg_dump_20261121_0217" },
    { ...record, service: "other" },
    { ...record, node: "../../etc" },
    { ...record, files: [{ ...record.files[0], file: "../../../../etc/passwd" }] },
    { ...record, files: [{ ...record.files[0], file }] },
    { ...record, files: [] },
    { ...record, startedMs: -1 },
  ];
  for (const entry of hostile) {
    await repository.replaceText(FOLDER, file, JSON.stringify(entry));
    expect((await listBackups(repository, FOLDER)).records).toEqual([]);
  }
});

test("a record cannot claim a file of a backup whose name is the beginning of its own", async () => {
  await makeBackup(order(), {
    repositories: openAs(repository),
    nowMs: () => NOW,
    listParts: () => Promise.resolve([{ ...playDump({}), label: "app" }]),
  });
  const [own] = (await listBackups(repository, FOLDER)).records;
  const thief = { ...own, name: "pg_dump_20261120_0217.app", startedMs: 0 };
  await repository.replaceText(FOLDER, "pg_dump_20261120_0217.app.manifest.json", JSON.stringify(thief));
  expect((await listBackups(repository, FOLDER)).records).toEqual([own]);
});
