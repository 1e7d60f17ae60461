// Backups of a bucket under attack: a repository that breaks in the middle or lists by halves, a source that lies, a clock of another
// century, a listing that somebody else has written.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { openBucketTarget } from "../../../agent/backup/objects/restore-objects.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import {
  type Repository,
  RepositoryError,
  type StoreFolder,
} from "../../../agent/backup/repository/repository-port.ts";
import { BucketLab } from "../../builders/data/bucket-lab.ts";
import { FakeS3 } from "../../fakes/fake-s3.ts";

const DAY_MS = 86_400_000;

let source: FakeS3;
let lab: BucketLab;

beforeEach(async () => {
  source = new FakeS3();
  await source.start();
  lab = new BucketLab(() => source.place({ words: { who: "minio", key: "backups.files.source" } }));
});

afterEach(async () => {
  lab.close();
  await source.stop();
});

function fill(count: number): void {
  for (let at = 0; at < count; at += 1) source.put(`photos/${String(at).padStart(3, "0")}.jpg`, `photo ${at}`);
}

test("a bucket to restore into that is not there is to be made, or named otherwise", async () => {
  const words = { who: "minio", key: "backups.files.source", otherBucket: "name another one with --into" };
  const into = openBucketTarget(lab.open({ ...source.place({ words }), bucket: "nope" }), () => lab.nowMs);
  await expect(into.expectEmpty()).rejects.toThrow("make the bucket nope, or name another one with --into");
});

describe("a repository that", () => {
  /** Takes so many files, and is full then. */
  function openFull(files: number): Repository {
    const near = openLocalRepository("near", join(lab.root, "near"));
    let left = files;
    return {
      ...near,
      create: async (folder, name) => {
        left -= 1;
        if (left < 0) throw new RepositoryError(`create ${name}: ENOSPC: no space left on device`);
        return near.create(folder, name);
      },
    };
  }

  test.each([0, 3, 8, 9])("is full after %i files is said so, and the next gets the backup", async (files) => {
    fill(8);
    const { record, repositories } = await lab.make({ into: [openFull(files), lab.local] });
    expect(repositories).toMatchObject([
      { repository: "near", reason: expect.stringContaining("ENOSPC") as string },
      { repository: "local" },
    ]);
    expect(repositories[1]?.reason).toBe(undefined);
    expect((await lab.prove(record)).verdict).toBe("good");
    // With room again it has all of it, and nothing of what was cut off is in the way.
    const near = openLocalRepository("near", join(lab.root, "near"));
    const next = await lab.make({ into: [near, lab.local] });
    expect(next.repositories).toEqual([{ repository: "near" }, { repository: "local" }]);
    expect((await lab.prove(next.record, near)).verdict).toBe("good");
  });

  test("is full at its first backup is left without what nobody would ever use, and what was listed stays", async () => {
    fill(8);
    const near = openLocalRepository("near", join(lab.root, "near"));
    const listPool = async (): Promise<string[]> => {
      const shards = Array.from({ length: 256 }, (_, at) => at.toString(16).padStart(2, "0"));
      return (await Promise.all(shards.map((shard) => near.list({ ...lab.folder, shard })))).flat();
    };
    await expect(lab.make({ into: [openFull(5)] })).rejects.toThrow("ENOSPC");
    expect(await listPool()).toEqual([]);
    // All is stored and listed; its references have no room any more.
    await expect(lab.make({ into: [openFull(9)] })).rejects.toThrow("ENOSPC");
    expect(await listPool()).toHaveLength(8);
    const { record } = await lab.make({ into: [near] });
    expect(record.files.at(-1)?.facts).toMatchObject({ objects: 8, copied: 0 });
    expect((await lab.prove(record, near)).verdict).toBe("good");
  });

  test("loses its word that a listing is there loses none of what that names", async () => {
    fill(8);
    let isLost = false;
    const unsure: Repository = {
      ...lab.local,
      create: async (folder, name) => {
        const pending = await lab.local.create(folder, name);
        if (!name.includes(".listing.") || isLost) return pending;
        isLost = true;
        const publish = (): Promise<void> => pending.publish().then(() => Promise.reject(new RepositoryError("EIO")));
        return { ...pending, publish };
      },
    };
    await expect(lab.make({ into: [unsure] })).rejects.toThrow("EIO");
    const { record } = await lab.make();
    expect(record.files.at(-1)?.facts).toMatchObject({ objects: 8, copied: 0 });
    expect((await lab.prove(record)).verdict).toBe("good");
  });

  test("is the only one fails the run, and one is not blamed for the source", async () => {
    fill(8);
    await expect(lab.make({ into: [openFull(3)] })).rejects.toThrow("ENOSPC");
    source.fail("get", { kind: "status", status: 403, code: "AccessDenied" }, 9);
    await expect(lab.make({ into: [openFull(99), lab.local] })).rejects.toThrow(
      "the key of backups.files.source may not do that",
    );
    expect(lab.listPool()).toEqual([]);
  });

  test("lists a backup and then does not loses none of its objects", async () => {
    fill(4);
    await lab.make();
    source.put("photos/000.jpg", "another photo");
    const { record } = await lab.make();
    lab.nowMs += 4 * DAY_MS;
    let lists = 0;
    // As a store does that has several copies of its listing, of which some are behind.
    const lagging: Repository = {
      ...lab.local,
      list: async (folder: StoreFolder) => {
        const names = await lab.local.list(folder);
        if (folder.shard !== undefined) return names;
        lists += 1;
        return lists === 1 ? names : names.filter((name) => !name.startsWith(record.name));
      },
    };
    const { kept } = await lab.retain({}, lagging);
    expect(kept).toContain(`${record.name} was listed a moment ago, and is not there now`);
    expect(lists).toBeGreaterThan(1);
    expect((await lab.prove(record)).verdict).toBe("good");
  });
});

describe("a source that", () => {
  function page(objects: string, token: string): string {
    return `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>${objects}</ListBucketResult>`;
  }

  test("gives one empty page after the other is given up", async () => {
    fill(3);
    for (let at = 0; at < 1_500; at += 1) source.fail("list", { kind: "nonsense", body: page("", `token${at}`) });
    await expect(lab.make()).rejects.toThrow("the listing has no end");
    expect(await lab.list()).toEqual([]);
  });

  test("has a key that no listing can hold makes no backup that could not be read", async () => {
    fill(3);
    source.put(`photos/${"x".repeat(1_100)}`, "long");
    await expect(lab.make()).rejects.toThrow(
      /^s3:\/\/backups\/ has a key of 1107 letters, and 1024 are the most: photos\/xxx/,
    );
  });

  test("says what it likes of when an object was written is read all the same", async () => {
    fill(3);
    source.put("photos/odd.jpg", "odd", { "x-test-modified": "9".repeat(100_000) });
    const { record } = await lab.make();
    expect((await lab.prove(record)).verdict).toBe("good");
    const again = await lab.make();
    expect(again.record.files.at(-1)?.facts).toMatchObject({ objects: 4, copied: 0 });
  });

  test("lists objects that are not there says which, and what is far fewer than before is set aside", async () => {
    fill(6);
    for (let run = 0; run < 3; run += 1) await lab.make();
    for (const key of source.listKeys()) source.put(key, "written anew");
    source.fail("get", { kind: "status", status: 404, code: "NoSuchKey" }, 4);
    const { record } = await lab.make();
    expect(record.files.at(-1)?.warning).toContain("4 objects: deleted while it was copied, and not in it");
    expect(record.quarantined).toContain("it has 2 objects");
  });
});

test.each([
  ["a century ahead", Date.UTC(2107, 5, 1)],
  ["at its beginning", 60_000],
])("a clock that is %s makes a backup that can be read, and takes nothing away", async (_name, nowMs) => {
  fill(3);
  const before = (await lab.make()).record;
  const rightMs = lab.nowMs;
  lab.nowMs = nowMs;
  source.put("photos/new.jpg", "new");
  const { record } = await lab.make();
  expect((await lab.prove(record)).verdict).toBe("good");
  await lab.retain();
  lab.nowMs = rightMs;
  await lab.retain();
  for (const made of [before, record]) expect((await lab.prove(made)).verdict).toBe("good");
  const next = (await lab.make()).record;
  expect((await lab.prove(next)).verdict).toBe("good");
});

test("a listing that somebody else has written opens no object to the world, and sends nothing but what a run keeps", async () => {
  const target = new FakeS3();
  await target.start();
  try {
    const into = openBucketTarget(lab.open(target.place()), () => lab.nowMs);
    const headers = {
      "content-type": "text/plain",
      "x-amz-meta-owner": "anna",
      "x-amz-acl": "public-read",
      "x-amz-copy-source": "/other/secret",
      "x-amz-website-redirect-location": "https://evil.example",
      "content-length": "3",
      host: "evil.example",
    };
    const [stored, sha256] = [{ bytes: 1, sha256: "" }, ""];
    const pending = await into.create({
      key: "a",
      etag: "",
      bytes: 1,
      sha256,
      modified: "",
      headers,
      file: "",
      stored,
    });
    await pending.write(Buffer.from("a"));
    await pending.publish();
    expect(target.objects.get("a")?.[0]?.headers).toEqual({ "content-type": "text/plain", "x-amz-meta-owner": "anna" });
    expect(target.sent.get("a")).not.toHaveProperty("x-amz-acl");
    expect(target.sent.get("a")).not.toHaveProperty("x-amz-website-redirect-location");
  } finally {
    await target.stop();
  }
});

test("what is no stored object in the folders of a repository is left alone, and in nobody's way", async () => {
  fill(3);
  const { record } = await lab.make();
  const pool = join(lab.root, "local/vm1/minio/files.objects");
  mkdirSync(join(pool, "ab/cd"), { recursive: true });
  for (const name of ["ab/notes.txt", "ab/.hidden", "zz", `ab/${"a".repeat(33)}`]) writeFileSync(join(pool, name), "x");
  lab.nowMs += 3 * DAY_MS;
  await lab.retain();
  expect(lab.listPool()).toHaveLength(3 + 4);
  expect((await lab.prove(record)).verdict).toBe("good");
});
