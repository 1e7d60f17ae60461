// Backups of a bucket, S3 to S3 and into a directory: what is there is stored once, each listing is a full picture, and a source that is
// gone, empty, restless or hostile, or a run that is cut anywhere, costs nothing that was good.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { BackupRecord } from "../../../agent/backup/core/backup-record.ts";
import { openBucketTarget, restoreObjects } from "../../../agent/backup/objects/restore-objects.ts";
import type { PendingFile, Repository } from "../../../agent/backup/repository/repository-port.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { BucketLab } from "../../builders/data/bucket-lab.ts";
import { FakeS3 } from "../../fakes/fake-s3.ts";

const DAY_MS = 86_400_000;
const LARGE = randomBytes(9_000_000);

let source: FakeS3;
let target: FakeS3;
let lab: BucketLab;

beforeEach(async () => {
  // As Swift: several that go up at once find out that there are no conditional puts.
  [source, target] = [new FakeS3(), new FakeS3({ conditional: false })];
  await Promise.all([source.start(), target.start()]);
  lab = new BucketLab(() => source.place({ words: { who: "minio", key: "backups.files.source" } }));
});

afterEach(async () => {
  lab.close();
  await Promise.all([source.stop(), target.stop()]);
});

function fill(count: number): void {
  for (let at = 0; at < count; at += 1) source.put(`photos/${String(at).padStart(3, "0")}.jpg`, `photo ${at}`);
}

function bucket(): Repository {
  return openS3Repository(lab.open({ ...target.place(), name: "geo" }));
}

function factsOf(record: BackupRecord | undefined): unknown {
  return record?.files.find(({ kind }) => kind === "references")?.facts;
}

function reads(): string[] {
  return source.calls.filter((call) => call.startsWith("get "));
}

describe("a run", () => {
  test("copies what is new or another one, and nothing else; each listing is a full picture", async () => {
    fill(12);
    source.put("docs/large.bin", LARGE, { "content-type": "application/x-large", "x-amz-meta-owner": "anna" });
    const first = (await lab.make()).record;
    expect(factsOf(first)).toMatchObject({ objects: 13, copied: 13 });
    source.calls.length = 0;
    source.put("photos/003.jpg", "another photo");
    source.put("photos/new.jpg", "new");
    source.objects.delete("photos/004.jpg");
    const second = (await lab.make()).record;
    expect(factsOf(second)).toMatchObject({ objects: 13, copied: 2 });
    expect(reads()).toEqual(["get photos/003.jpg", "get photos/new.jpg"]);
    expect(lab.listPool()).toHaveLength(15);
    expect(await lab.restore(first, "then")).toMatch(/^restored 13 objects with 8\.58 MiB into /);
    expect(readFileSync(join(lab.root, "then/photos/003.jpg"), "utf8")).toBe("photo 3");
    expect(readFileSync(join(lab.root, "then/docs/large.bin")).equals(LARGE)).toBe(true);
    await lab.restore(second, "now");
    expect(readFileSync(join(lab.root, "now/photos/003.jpg"), "utf8")).toBe("another photo");
    expect(existsSync(join(lab.root, "now/photos/004.jpg"))).toBe(false);
    expect((await lab.prove(second)).detail).toMatch(/^listed 13 objects and compared 13 objects with 8\.58 MiB/);
  });

  test("of a source that is gone, refuses, is empty or lists by halves makes none", async () => {
    fill(5);
    await lab.make();
    source.fail("list", { kind: "cut" });
    await expect(lab.make()).rejects.toThrow("the answer is cut");
    source.fail("list", { kind: "status", status: 403, code: "AccessDenied" });
    await expect(lab.make()).rejects.toThrow("the key of backups.files.source may not do that");
    await expect(lab.make({ minBytes: 1_000 })).rejects.toThrow("a whole one has at least 1000 B");
    source.objects.clear();
    await expect(lab.make()).rejects.toThrow("s3://backups/ lists no object");
    await source.stop();
    await expect(lab.make()).rejects.toThrow("nothing listens at");
    await source.start();
    expect(await lab.list()).toHaveLength(1);
  });

  test("with far fewer objects or bytes than before is set aside, and the next one counts from the one before it", async () => {
    fill(10);
    for (let run = 0; run < 3; run += 1) await lab.make();
    for (const key of source.listKeys().slice(4)) source.objects.delete(key);
    const { record } = await lab.make();
    expect(record.quarantined).toBe("it has 4 objects, 40 % of what is usual (10 objects)");
    fill(10);
    const after = (await lab.make()).record;
    expect(after.quarantined).toBeUndefined();
    expect(factsOf(after)).toMatchObject({ objects: 10, copied: 0 });
  });

  test("an object that is deleted or written while it is copied is one version of it, or is said to be missing", async () => {
    fill(6);
    source.put("docs/large.bin", LARGE);
    source.put("docs/restless.bin", LARGE);
    const other = randomBytes(9_000_000);
    const seen = new Set<string>();
    source.before = (purpose, key) => {
      if (purpose !== "get") return;
      if (key === "photos/002.jpg") source.objects.delete(key);
      if (key === "photos/003.jpg" && !seen.has(key)) source.put(key, "written meanwhile");
      // Its second piece is asked for: the first is of the version before.
      const reading = source.calls.filter((call) => call === `get ${key}`).length;
      if (key === "docs/large.bin" && reading === 2) source.put(key, other);
      if (key === "docs/restless.bin" && reading % 2 === 0) source.put(key, randomBytes(9_000_000));
      seen.add(key);
    };
    const { record } = await lab.make();
    const { warning } = record.files.at(-1) ?? {};
    expect(warning).toContain("1 object: deleted while it was copied, and not in it (photos/002.jpg)");
    expect(warning).toContain(
      "1 object: written again and again while it was copied, and not in it (docs/restless.bin)",
    );
    expect(factsOf(record)).toMatchObject({ objects: 6 });
    await lab.restore(record, "out");
    expect(readFileSync(join(lab.root, "out/photos/003.jpg"), "utf8")).toBe("written meanwhile");
    expect(readFileSync(join(lab.root, "out/docs/large.bin")).equals(other)).toBe(true);
    expect((await lab.prove(record)).verdict).toBe("good");
  });

  test("a bucket that goes away while it is read is no bucket that has become empty", async () => {
    fill(6);
    source.fail("get", { kind: "status", status: 404, code: "NoSuchBucket" });
    await expect(lab.make()).rejects.toThrow("the bucket is gone");
    expect(await lab.list()).toEqual([]);
  });

  test("keys are texts and never paths, in the repository and where they are restored", async () => {
    const odd = [
      "../../etc/passwd",
      "/leading",
      "a//b",
      "a/./b",
      "a b+c%20&<x>?#",
      "ünï/ć€😀",
      "a",
      "a/b",
      "line\nbreak",
      "x".repeat(1_024),
      "trailing/",
      "..",
      "con\\trol\u0001",
    ];
    for (const [at, key] of odd.entries()) source.put(key, `odd ${at}`);
    const { record } = await lab.make();
    expect(factsOf(record)).toMatchObject({ objects: odd.length, copied: odd.length });
    for (const name of lab.listPool()) expect(name).toMatch(/^[0-9a-f]{32}$/);
    expect(readdirSync(join(lab.root, "local/vm1/minio")).toSorted()).toEqual(["files", "files.objects"]);
    mkdirSync(join(lab.root, "deep/er"), { recursive: true });
    const said = await lab.restore(record, "deep/er/out");
    expect(said).toContain("keys are no path of a file");
    expect(readdirSync(join(lab.root, "deep"))).toEqual(["er"]);
    expect(readdirSync(join(lab.root, "deep/er"))).toEqual(["out"]);
    const list = readFileSync(join(lab.root, "deep/er/out/.orca-odd-keys/keys.jsonl"), "utf8").trim().split("\n");
    const named = new Map(
      list.map((line) => JSON.parse(line) as { key: string; file: string }).map(({ key, file }) => [key, file]),
    );
    for (const [at, key] of odd.entries()) {
      const path = join(lab.root, "deep/er/out", named.get(key) ?? key);
      expect(readFileSync(path, "utf8"), key).toBe(`odd ${at}`);
    }
    const into = openBucketTarget(lab.open({ ...target.place(), prefix: "back" }), () => lab.nowMs);
    await restoreObjects({ repository: lab.local, folder: lab.folder, record, identities: [] }, into);
    expect(target.listKeys()).toEqual(odd.map((key) => `back/${key}`).toSorted());
  });

  test("encrypts each object for its recipients, and copies all anew for others; one key opens it", async () => {
    fill(5);
    const [own, offline, other] = await Promise.all([1, 2, 3].map(() => generateX25519Identity()));
    const recipients = await Promise.all([own, offline].map((key) => identityToRecipient(key ?? "")));
    const sealed = { recipients, identities: [own ?? ""] };
    const first = (await lab.make(sealed)).record;
    expect(factsOf((await lab.make(sealed)).record)).toMatchObject({ objects: 5, copied: 0 });
    for (const name of lab.listPool()) expect(name).toMatch(/\.age$/);
    expect((await lab.prove(first, lab.local, [own ?? ""])).verdict).toBe("good");
    expect(await lab.prove(first, lab.local, [other ?? ""])).toMatchObject({ verdict: "unknown", damaged: [] });
    await lab.restore(first, "out", { identities: [offline ?? ""] });
    expect(readFileSync(join(lab.root, "out/photos/001.jpg"), "utf8")).toBe("photo 1");
    const more = [...recipients, await identityToRecipient(other ?? "")];
    expect(factsOf((await lab.make({ ...sealed, recipients: more })).record)).toMatchObject({ copied: 5 });
    const repository = readdirSync(join(lab.root, "local"), { recursive: true, withFileTypes: true });
    const all = repository
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    for (const body of all) expect(body.includes("photos/001.jpg") || body.includes("photo 1")).toBe(false);
  });

  test("below a prefix has that alone, and what stands beside the bytes comes back with them", async () => {
    source.put("app/a.txt", "a", { "content-type": "text/plain", "x-amz-meta-owner": "anna" });
    source.put("app/", "");
    source.put("apple/b.txt", "b");
    const { record } = await lab.make({ prefix: "app" });
    expect(factsOf(record)).toMatchObject({ objects: 1 });
    const into = openBucketTarget(lab.open({ ...target.place(), prefix: "new" }), () => lab.nowMs);
    await restoreObjects({ repository: lab.local, folder: lab.folder, record, identities: [] }, into);
    expect(target.objects.get("new/a.txt")?.[0]?.headers).toEqual({
      "content-type": "text/plain",
      "x-amz-meta-owner": "anna",
    });
    const again = openBucketTarget(lab.open({ ...target.place(), prefix: "new" }), () => lab.nowMs);
    await expect(
      restoreObjects({ repository: lab.local, folder: lab.folder, record, identities: [] }, again),
    ).rejects.toThrow("s3://backups/new/ is not empty");
  });
});

describe("several repositories", () => {
  test("each has the objects once; one that was away gets what it lacks with the next", async () => {
    fill(6);
    await lab.make({ into: [lab.local] });
    source.put("photos/new.jpg", "new");
    const geo = bucket();
    const { record, repositories } = await lab.make({ into: [lab.local, geo] });
    expect(repositories).toEqual([{ repository: "local" }, { repository: "geo" }]);
    expect(target.listKeys().filter((key) => key.includes(".objects/"))).toHaveLength(7);
    expect((await lab.prove(record, geo)).verdict).toBe("good");
    target.calls.length = 0;
    await lab.make({ into: [lab.local, geo] });
    expect(target.calls.filter((call) => call.startsWith("put ") && call.includes(".objects/"))).toEqual([]);
    await lab.restore(record, "out", { from: geo });
    expect(readFileSync(join(lab.root, "out/photos/new.jpg"), "utf8")).toBe("new");
  });

  test("one that fails is that one's outcome", async () => {
    fill(3);
    target.fail("put", { kind: "status", status: 403, code: "AccessDenied" }, 99);
    const { repositories } = await lab.make({ into: [lab.local, bucket()] });
    expect(repositories[1]?.reason).toContain("AccessDenied");
    expect(target.listKeys()).toEqual([]);
  });
});

describe("a proof", () => {
  test("finds an object that is damaged or missing, and the next run copies it again", async () => {
    fill(8);
    const { record } = await lab.make();
    const [gone = "", bent = ""] = lab.listPool().toSorted();
    const locate = (name: string): string => join(lab.root, "local/vm1/minio/files.objects", name.slice(0, 2), name);
    rmSync(locate(gone));
    writeFileSync(locate(bent), "another");
    const found = await lab.prove(record);
    expect(found.verdict).toBe("bad");
    expect(found.damaged.toSorted()).toEqual([gone, bent]);
    await lab.local.replaceText(
      lab.folder,
      `${record.name}.manifest.json`,
      JSON.stringify({ ...record, damaged: found.damaged }),
    );
    const next = (await lab.make()).record;
    expect(factsOf(next)).toMatchObject({ objects: 8, copied: 2 });
    expect((await lab.prove(next)).verdict).toBe("good");
  });

  test("finds a listing that is cut, and references that are not its own", async () => {
    fill(4);
    const { record } = await lab.make();
    const listing = record.files.find(({ kind }) => kind === "listing");
    const path = join(lab.root, "local/vm1/minio/files", listing?.file ?? "");
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, 60));
    expect((await lab.prove(record)).verdict).toBe("bad");
    writeFileSync(path, whole);
    expect((await lab.prove(record)).verdict).toBe("good");
  });
});

describe("retention", () => {
  test("takes a stored object once no listing names it, a day and a half after it was stored", async () => {
    fill(4);
    for (let run = 0; run < 6; run += 1) {
      source.put("photos/000.jpg", `version ${run}`);
      await lab.make();
      lab.nowMs += 2 * DAY_MS;
      for (const record of await lab.list()) await verified(record);
    }
    expect(lab.listPool()).toHaveLength(9);
    await lab.retain();
    expect(lab.listPool()).toHaveLength(9);
    lab.nowMs += 2 * DAY_MS;
    const { removed } = await lab.retain();
    expect(removed.length).toBeGreaterThan(0);
    const left = await lab.list();
    expect(lab.listPool()).toHaveLength(3 + left.length);
    for (const record of left) expect((await lab.prove(record)).verdict).toBe("good");
  });

  test("takes none while a listing is damaged, or a record does not read", async () => {
    fill(3);
    const { record } = await lab.make();
    writeOrphan();
    lab.nowMs += 3 * DAY_MS;
    const references = record.files.at(-1)?.file ?? "";
    const path = join(lab.root, "local/vm1/minio/files", references);
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, 40));
    expect((await lab.retain()).kept).toContain("no stored object is removed");
    writeFileSync(path, whole);
    const strange = join(lab.root, "local/vm1/minio/files/objects_20261119_0000.manifest.json");
    writeFileSync(strange, "{");
    expect((await lab.retain()).kept).toContain("no stored object is removed while objects_20261119_0000");
    expect(lab.listPool()).toHaveLength(4);
    rmSync(strange);
    await lab.retain();
    expect(lab.listPool()).toHaveLength(3);
  });

  test("what is locked stays, is said, and holds up no other", async () => {
    const locked = new FakeS3({ versioned: true, defaultLockMs: 400 * DAY_MS });
    await locked.start();
    fill(3);
    const geo = openS3Repository(lab.open({ ...locked.place(), name: "geo" }));
    await lab.make({ into: [geo] });
    const pending = await geo.create({ ...lab.folder, shard: "00" }, `00${"1".repeat(22)}00000001`);
    await pending.write(Buffer.from("nobody's"));
    await pending.publish();
    lab.nowMs += 3 * DAY_MS;
    expect((await lab.retain({}, geo)).kept).toContain("1 stored object could not be removed");
    expect(await lab.list(geo)).toHaveLength(1);
    await locked.stop();
  });

  /** What a killed run has stored and never listed. */
  function writeOrphan(): void {
    const folder = join(lab.root, "local/vm1/minio/files.objects/ab");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `ab${"0".repeat(22)}00000001`), "nobody's");
  }

  async function verified(record: BackupRecord): Promise<void> {
    const verifications = [{ atMs: lab.nowMs, verdict: "good" as const, detail: "" }];
    await lab.local.replaceText(
      lab.folder,
      `${record.name}.manifest.json`,
      JSON.stringify({ ...record, verifications }),
    );
  }
});

describe("cut at any step", () => {
  const open: PendingFile[] = [];
  // The kernel closes what a process has had open: here somebody must, once all was looked at.
  afterEach(async () => {
    for (const pending of open.splice(0)) await pending.abandon();
  });

  /** A repository of a process that is killed before its nth change: nothing it does afterwards happens. */
  function dieAt(steps: number): { repository: Repository; isDead: () => boolean } {
    let left = steps;
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      left -= 1;
      if (left < 0) throw new Error("killed");
      return work();
    };
    const { local } = lab;
    const repository: Repository = {
      ...local,
      create: async (folder, name) => {
        const pending = await step(() => local.create(folder, name));
        open.push(pending);
        return {
          write: (chunk) => step(() => pending.write(chunk)),
          publish: () => step(() => pending.publish()),
          abandon: async () => (left < 0 ? undefined : pending.abandon()),
        };
      },
      remove: (folder, name) => step(() => local.remove(folder, name)),
    };
    return { repository, isDead: () => left < 0 };
  }

  test("what was good stays good, nothing partial is a backup, and the next run is whole", async () => {
    fill(5);
    const before = (await lab.make()).record;
    let steps = 0;
    for (; ; steps += 1) {
      source.put("photos/000.jpg", `version ${steps}`);
      source.put("photos/zz.jpg", `last ${steps}`);
      const dying = dieAt(steps);
      const count = (await lab.list()).length;
      const made = await lab.make({ into: [dying.repository] }).catch(() => undefined);
      if (!dying.isDead()) break;
      expect(made).toBeUndefined();
      const records = await lab.list();
      expect(records.length - count).toBeLessThanOrEqual(0);
      expect((await lab.prove(before)).verdict).toBe("good");
      const next = (await lab.make()).record;
      expect((await lab.prove(next)).verdict).toBe("good");
      expect(factsOf(next)).toMatchObject({ objects: 6 });
      expect(
        readdirSync(join(lab.root, "local"), { recursive: true }).filter((name) => String(name).endsWith(".partial")),
      ).toEqual([]);
    }
    expect(steps).toBeGreaterThan(8);
  });

  test("what a killed run had listed is not copied again", async () => {
    fill(9);
    // It is killed before its references: all that it has copied is listed.
    const { repository } = dieAt(9 * 3 + 3);
    await expect(lab.make({ into: [repository] })).rejects.toThrow("killed");
    expect(await lab.list()).toEqual([]);
    source.calls.length = 0;
    const { record } = await lab.make();
    expect(factsOf(record)).toMatchObject({ objects: 9, copied: 0 });
    expect(reads()).toEqual([]);
    expect((await lab.prove(record)).verdict).toBe("good");
  });
});

test("what a person is told to run is for every file of the listing, and decrypts where it has to", async () => {
  fill(3);
  const { record } = await lab.make();
  const [list = "", put = ""] = record.restoreWith;
  expect(list).toBe(`for part in ${record.name}.0001.listing.gz; do cat "$part" | gzip -dc; done > listing.jsonl`);
  expect(put).toContain('cat "../files.objects/$shard/$file" | aws s3 cp - "s3://BUCKET/');
  // `cp` would add a name to a key that ends with a slash.
  expect(put).toContain(
    '*/) cat "../files.objects/$shard/$file" > marker && aws s3api put-object --bucket BUCKET --key "$name"',
  );
});
