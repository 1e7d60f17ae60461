// Backups of a bucket of a real store, OpenStack Swift, into another of its buckets, under attack: its maker is killed for real at any
// moment, the store goes away in the middle, keys are as odd as Swift takes them, objects change, go and lie about their size meanwhile.

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { openBucketTarget, restoreObjects } from "../../../agent/backup/objects/restore-objects.ts";
import type { Repository } from "../../../agent/backup/repository/repository-port.ts";
import { parseListPage, parseUploads } from "../../../agent/backup/repository/s3-answer.ts";
import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { Swift } from "../../../scripts/lab/backup/swift.ts";
import { BucketLab } from "../../builders/data/bucket-lab.ts";
import type { BucketChildRequest } from "../../builders/data/bucket-child.ts";

const CHILD = fileURLToPath(new URL("../../builders/data/bucket-child.ts", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "orca-objects-swift-"));
const swift = new Swift(join(root, "swift"));
const clients: S3Client[] = [];
let lab: BucketLab;
let count = 0;
let source: S3Client;
let place: S3Place;
let repository: Repository;

beforeAll(async () => {
  mkdirSync(join(root, "swift"));
  await swift.start();
}, 120_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await swift[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

beforeEach(async () => {
  count += 1;
  source = open({ name: "minio", bucket: `source-${count}` });
  place = { ...source.place, name: "geo", bucket: `target-${count}` };
  await source.send({ method: "PUT", key: "" });
  await open(place).send({ method: "PUT", key: "" });
  repository = openS3Repository(open(place));
  lab = new BucketLab(() => source.place);
});

afterEach(() => lab.close());

function open(own: Partial<S3Place>): S3Client {
  const client = new S3Client({
    name: "swift",
    bucket: "backups",
    prefix: "",
    lockDays: undefined,
    caFile: undefined,
    ...swift.access,
    ...own,
  });
  clients.push(client);
  return client;
}

async function put(key: string, body: Buffer | string): Promise<void> {
  await source.send({ method: "PUT", key, body: Buffer.from(body) });
}

async function fill(): Promise<void> {
  for (let at = 0; at < 30; at += 1) await put(`photos/${String(at).padStart(3, "0")}.jpg`, `photo ${at}`);
  // Several pieces when it is read, and several parts where it goes.
  await put("n/large.bin", randomBytes(20_000_000));
}

function startChild(own: Partial<BucketChildRequest> = {}): { child: ChildProcess; said: Promise<string> } {
  lab.nowMs += 3_600_000;
  const request: BucketChildRequest = {
    folder: lab.folder,
    source: source.place,
    repositories: [{ kind: "s3", ...place }],
    recipients: [],
    identities: [],
    spool: join(lab.root, "spool"),
    nowMs: lab.nowMs,
    ...own,
  };
  const child = spawn(process.execPath, [CHILD], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (piece: Buffer) => (said += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (said += piece.toString()));
  child.stdin.end(JSON.stringify(request));
  return { child, said: once(child, "close").then(() => said) };
}

async function listUploads(): Promise<unknown[]> {
  const { content } = await open(place).send({ method: "GET", key: "", query: { uploads: "" } });
  return parseUploads(content.toString("utf8")) ?? [];
}

/** What lies in the bucket of the repository. */
async function countStored(): Promise<number> {
  const { content } = await open(place).send({ method: "GET", key: "", query: { "list-type": "2" } });
  return parseListPage(content.toString("utf8"))?.keys.length ?? 0;
}

test("its maker is killed at any moment: nothing half is a backup, and the next run is whole and ends what was open", async () => {
  await fill();
  const identity = await generateX25519Identity();
  const sealed = { recipients: [await identityToRecipient(identity)], identities: [identity] };
  const beganMs = performance.now();
  const whole = startChild(sealed);
  expect(await whole.said).toMatch(/^objects_\d{8}_\d{4}\n$/);
  const tookMs = performance.now() - beganMs;
  let good = 1;
  for (let at = 1; at <= 5; at += 1) {
    await put(`photos/${String(at).padStart(3, "0")}.jpg`, `another ${at}`);
    await put("z/large.bin", randomBytes(20_000_000));
    const { child, said } = startChild(sealed);
    await sleep((tookMs * at) / 6);
    child.kill("SIGKILL");
    const name = (await said).trim();
    // One that had come to its end before it was killed is a backup like any other.
    if (/^objects_\S+$/.test(name)) good += 1;
    expect((await lab.list(repository)).length - good, `killed at ${at}`).toBeOneOf([0, 1]);
    good = (await lab.list(repository)).length;
    const [last] = await lab.list(repository);
    if (last === undefined) throw new Error("there is no backup");
    expect(await lab.prove(last, repository, [identity]), `killed at ${at}`).toMatchObject({ verdict: "good" });
    const { record } = await lab.make({ ...sealed, into: [repository] });
    good += 1;
    expect(record.files.at(-1)?.facts).toMatchObject({ objects: 32 });
    expect(await listUploads(), `killed at ${at}`).toEqual([]);
  }
  const [newest] = await lab.list(repository);
  if (newest === undefined) throw new Error("there is no backup");
  await lab.restore(newest, "out", { from: repository, identities: [identity] });
  expect(readFileSync(join(lab.root, "out/photos/005.jpg"), "utf8")).toBe("another 5");
});

test("the store goes away in the middle: the run fails or says so, and with the store back all is there", async () => {
  await fill();
  const before = (await lab.make({ into: [repository] })).record;
  for (let at = 0; at < 30; at += 1) await put(`photos/${String(at).padStart(3, "0")}.jpg`, `later ${at}`);
  // Copied last, and slowly.
  await put("z/large.bin", randomBytes(60_000_000));
  const stored = await countStored();
  const { said } = startChild();
  await expect.poll(countStored, { timeout: 60_000 }).toBeGreaterThan(stored + 3);
  await swift.stop();
  expect(await said).not.toMatch(/^objects_/);
  await swift.start();
  // Its proxy answers before the servers behind it do, and says until then that there is no such bucket.
  await expect.poll(() => lab.list(repository).catch(() => []), { timeout: 60_000 }).toHaveLength(1);
  expect((await lab.prove(before, repository)).verdict).toBe("good");
  const { record } = await lab.make({ into: [repository] });
  expect((await lab.prove(record, repository)).verdict).toBe("good");
  expect(await listUploads()).toEqual([]);
});

const ODD = [
  "/leading",
  "//",
  "a//b",
  "a/./b",
  "a/../../b",
  "..",
  ".",
  "trailing/",
  "folder/",
  "folder/in it",
  " ",
  "+",
  "%2F%00",
  "%",
  "a?b=c&d#e",
  "<Key>&amp;</Key>",
  "]]>",
  "\u0001\u0008",
  "line\nbreak\rtab\t",
  "e\u0301",
  "\u00e9",
  "\u{1f600}\u{10fffd}",
  "\uffee\uff5e",
  "q".repeat(1_024),
  "'\"`$(id)",
  ".orca-odd-keys/1",
  ".orca-odd-keys/keys.jsonl",
  "x",
  "x.partial",
  "x/y",
];

test("keys as odd as Swift takes them are stored, found again by the next run, and come back into a bucket and a directory", async () => {
  const taken: string[] = [];
  for (const key of ODD) {
    const isTaken = await source.send({ method: "PUT", key, body: Buffer.from(`of ${key}`) }).then(
      () => true,
      () => false,
    );
    if (isTaken) taken.push(key);
  }
  expect(taken.length).toBeGreaterThan(24);
  const { record } = await lab.make({ into: [repository, lab.local] });
  expect(record.files.at(-1)?.facts).toMatchObject({ objects: taken.length, copied: taken.length });
  const again = await lab.make({ into: [repository, lab.local] });
  expect(again.record.files.at(-1)?.facts).toMatchObject({ objects: taken.length, copied: 0 });
  const back = open({ bucket: `back-${count}` });
  await back.send({ method: "PUT", key: "" });
  await restoreObjects(
    { repository, folder: lab.folder, record, identities: [] },
    openBucketTarget(back, () => lab.nowMs),
  );
  for (const key of taken) {
    const { content } = await back.send({ method: "GET", key });
    expect(content.toString(), JSON.stringify(key)).toBe(`of ${key}`);
  }
  await lab.restore(record, "out", { from: repository });
  const list = readFileSync(join(lab.root, "out/.orca-odd-keys/keys.jsonl"), "utf8").trim().split("\n");
  const named = new Map(
    list.map((line) => JSON.parse(line) as { key: string; file: string }).map((it) => [it.key, it.file]),
  );
  for (const key of taken)
    expect(readFileSync(join(lab.root, "out", named.get(key) ?? key), "utf8"), JSON.stringify(key)).toBe(`of ${key}`);
});

test("objects that are written, replaced and deleted all the time are each one version of themselves", async () => {
  const body = (version: number): Buffer => Buffer.alloc(17_000_000, `version ${version} `);
  await put("large.bin", body(0));
  for (let at = 0; at < 10; at += 1) await put(`small/${at}`, `${at} `.repeat(1_000));
  const writing = { goes: true, version: 0 };
  const writer = (async () => {
    while (writing.goes) {
      writing.version += 1;
      await put("large.bin", body(writing.version));
      await put(`small/${writing.version % 10}`, `${writing.version} `.repeat(1_000));
      await source.send({ method: "DELETE", key: `small/${(writing.version + 5) % 10}`, expected: [404] });
    }
  })();
  try {
    for (let run = 0; run < 3; run += 1) {
      const { record } = await lab.make({ into: [repository] });
      expect(await lab.prove(record, repository)).toMatchObject({ verdict: "good" });
      const out = `out${run}`;
      await lab.restore(record, out, { from: repository });
      const said = record.files.at(-1)?.warning ?? "";
      if (said.includes("large.bin")) continue;
      const large = readFileSync(join(lab.root, out, "large.bin"));
      const version = Number(/^version (\d+) /.exec(large.subarray(0, 30).toString())?.[1]);
      expect(large.equals(body(version)), `run ${run}`).toBe(true);
    }
  } finally {
    writing.goes = false;
    await writer;
  }
});
