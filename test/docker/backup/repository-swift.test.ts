// The repository in a bucket of a real store: OpenStack Swift keeps to the contract, although it has neither conditional puts nor locks. And
// every way in which a real program can end, in a container of its own, into that bucket and into a directory, encrypted: only good dumps
// are there afterwards, no upload is open, and nothing of a partial one is seen.

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";

import { listBackups, makeBackup } from "../../../agent/backup/pipeline.ts";
import { openLocalRepository } from "../../../agent/backup/repository/local-repository.ts";
import type { Repository } from "../../../agent/backup/repository/repository-port.ts";
import { parseListPage, parseUploads } from "../../../agent/backup/repository/s3-answer.ts";
import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { openBucketTarget, restoreObjects } from "../../../agent/backup/objects/restore-objects.ts";
import type { RunningDump } from "../../../agent/backup/dump-port.ts";
import { openEngine } from "../../../agent/docker/engine.ts";
import { Swift } from "../../../scripts/lab/backup/swift.ts";
import { BucketLab } from "../../builders/data/bucket-lab.ts";
import { SOCKET } from "../../../scripts/lab/engine/real-node.ts";
import { nameForRun } from "../../../scripts/lab/engine/run-name.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { describeRepository } from "../../contract/repository.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const PRODUCERS = nameForRun("producers");
const OWN = ["--filter", `label=orca.job.node=${PRODUCERS}`];

const root = mkdtempSync(join(tmpdir(), "orca-swift-"));
const swift = new Swift(join(root, "swift"));
const engine = openEngine(SOCKET);
const recipient = generateX25519Identity().then((identity) => identityToRecipient(identity));
const clients: S3Client[] = [];
let count = 0;

beforeAll(async () => {
  mkdirSync(join(root, "swift"));
  await swift.start();
  await open({ prefix: "" }).send({ method: "PUT", key: "" });
}, 120_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await swift[Symbol.asyncDispose]();
  engine.close();
  rmSync(root, { recursive: true, force: true });
});

function open(own: Partial<S3Place>): S3Client {
  const place: S3Place = {
    name: "swift",
    bucket: "backups",
    prefix: "",
    lockDays: undefined,
    caFile: undefined,
    ...swift.access,
  };
  const client = new S3Client({ ...place, ...own });
  clients.push(client);
  return client;
}

describeRepository("Swift", () => {
  count += 1;
  const prefix = `lab/${count}`;
  const reopen = () => openS3Repository(open({ prefix }));
  return Promise.resolve({ repository: reopen(), reopen });
});

test("a file of several parts comes back as it was, and leaves no upload open", async () => {
  const client = open({ prefix: "large" });
  const repository = openS3Repository(client);
  const body = randomBytes(20_000_000);
  const pending = await repository.create(FOLDER, "a.dump");
  await pending.write(body);
  await pending.publish();
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.read(FOLDER, "a.dump")) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(body)).toBe(true);
  const killed = await repository.create(FOLDER, "b.dump");
  await killed.write(body);
  const openUploads = async (): Promise<string> =>
    (await client.send({ method: "GET", key: "", query: { uploads: "", prefix: "large/" } })).content.toString("utf8");
  expect(await openUploads()).toContain("large/vm1/pg/db/b.dump");
  await openS3Repository(open({ prefix: "large" })).sweep(FOLDER);
  expect(await openUploads()).not.toContain("b.dump");
  await expect(killed.publish()).rejects.toThrow("NoSuchUpload");
  expect(await repository.list(FOLDER)).toEqual(["a.dump"]);
});

test("a bucket is backed up into another one and into a directory, and comes back, odd keys and large objects too", async () => {
  const source = open({ bucket: "uploads" });
  await source.send({ method: "PUT", key: "" });
  const large = randomBytes(9_000_000);
  const odd = ["a b+c%20&<x>?#", "ünï/😀", "a//b", "../up", "photos/1.jpg"];
  for (const key of odd) await source.send({ method: "PUT", key, body: Buffer.from(`of ${key}`) });
  await source.send({ method: "PUT", key: "large.bin", body: large, headers: { "x-amz-meta-owner": "anna" } });
  const lab = new BucketLab(() => ({ ...source.place }));
  try {
    const geo = openS3Repository(open({ prefix: "objects" }));
    const { record, repositories } = await lab.make({ into: [geo, lab.local] });
    expect(repositories).toEqual([{ repository: "swift" }, { repository: "local" }]);
    expect(record.files.at(-1)?.facts).toMatchObject({ objects: 6, copied: 6 });
    await source.send({ method: "PUT", key: "photos/1.jpg", body: Buffer.from("another") });
    const next = (await lab.make({ into: [geo, lab.local] })).record;
    expect(next.files.at(-1)?.facts).toMatchObject({ objects: 6, copied: 1 });
    for (const repository of [geo, lab.local]) expect((await lab.prove(next, repository)).verdict).toBe("good");
    const empty = open({ bucket: "restored" });
    await empty.send({ method: "PUT", key: "" });
    const into = openBucketTarget(empty, () => lab.nowMs);
    const said = await restoreObjects({ repository: geo, folder: lab.folder, record, identities: [] }, into);
    expect(said).toMatch(/^restored 6 objects/);
    for (const key of odd) {
      const { content } = await empty.send({ method: "GET", key });
      expect(content.toString()).toBe(`of ${key}`);
    }
    const back = await empty.send({ method: "GET", key: "large.bin", limitBytes: large.length });
    expect(back.content.equals(large)).toBe(true);
    expect(back.headers["x-amz-meta-owner"]).toBe("anna");
  } finally {
    lab.close();
  }
});

test("a wrong key is refused, and said by the repository's name", async () => {
  const repository = openS3Repository(open({ secretKey: "wrong" }));
  await expect(repository.list(FOLDER)).rejects.toThrow("check the secret of repositories.swift");
});

/** More than one part of a bucket, and than what is on its way when a program stops in the middle. */
const BYTES = 14_000_000;
const DUMP = `printf PGDMP; head -c ${BYTES} /dev/urandom`;
/** Longer than a busy engine takes to start a container: a program that began too late is said in other words. */
const LATE_MS = 20_000;

interface Ending {
  script: string;
  /** Kills it once a part of it has arrived. */
  isKilled?: boolean;
  deadlineMs?: number;
  /** Why it makes no backup. */
  words?: RegExp;
}

const ENDINGS: Readonly<Record<string, Ending>> = {
  "exit code 0": { script: DUMP },
  "exit code 1": { script: `${DUMP}; exit 1`, words: /app: it ended with exit code 1$/ },
  "exit code 3": { script: `${DUMP}; echo unwell >&2; exit 3`, words: /app: it ended with exit code 3: unwell$/ },
  "exit code 137": { script: `${DUMP}; exit 137`, words: /app: it ended with exit code 137$/ },
  "a kill in the middle": { script: `${DUMP}; sleep 600`, isKilled: true, words: /app: it ended with exit code 137$/ },
  nothing: { script: "true", words: /app: it wrote nothing$/ },
  "another beginning": { script: `head -c ${BYTES} /dev/zero`, words: /app: what it wrote does not begin as/ },
  "no end": {
    script: `${DUMP}; sleep 600`,
    deadlineMs: LATE_MS,
    words: /app: it had not come to its end within 20s, and was ended$/,
  },
  "noise on standard error": { script: `${DUMP}; yes noise | head -c 5000000 >&2` },
};

interface Store {
  repository: Repository;
  /** Whatever lies there, seen or not. */
  listAll: () => Promise<string[]>;
}

const STORES: Readonly<Record<string, (prefix: string) => Store>> = {
  Swift: (prefix) => {
    const client = open({ prefix });
    const ask = async (query: Record<string, string>): Promise<string> =>
      (await client.send({ method: "GET", key: "", query: { ...query, prefix } })).content.toString("utf8");
    return {
      repository: openS3Repository(client),
      listAll: async () => {
        const uploads = parseUploads(await ask({ uploads: "" })) ?? [];
        return [
          ...(parseListPage(await ask({ "list-type": "2" }))?.keys ?? []),
          ...uploads.map(({ key }) => `${key}…`),
        ];
      },
    };
  },
  "a directory": (prefix) => {
    const directory = join(root, prefix);
    return {
      repository: openLocalRepository("local", directory),
      listAll: async () =>
        (await readdir(directory, { recursive: true, withFileTypes: true }))
          .filter((entry) => entry.isFile())
          .map(({ name }) => name),
    };
  },
};

test.each(Object.keys(ENDINGS))("a program that ends with %s: only a good dump is there afterwards", async (ending) => {
  await Promise.all(
    Object.entries(STORES).map(async ([kind, openStore]) => {
      const prefix = `${ending} ${kind}`.replaceAll(" ", "-");
      const store = openStore(prefix);
      const { words, ...how } = ENDINGS[ending] ?? { script: "" };
      const making = makeBy(store, prefix, how);
      if (words === undefined) await making;
      else await expect(making).rejects.toThrow(words);
      const good = words === undefined ? 1 : 0;
      expect(await store.listAll(), kind).toHaveLength(good * 2);
      const { records, strange } = await listBackups(store.repository, FOLDER);
      expect([records.length, strange], kind).toEqual([good, []]);
      // The engine takes an ended container away a moment later, and a busy one some seconds.
      const listLeft = (): Promise<string> => docker("ps", "-aq", ...OWN, "--filter", `name=${prefix}`);
      await expect.poll(listLeft, { timeout: 30_000, message: kind }).toBe("");
    }),
  );
});

async function makeBy(
  { repository, listAll }: Store,
  job: string,
  { script, isKilled, deadlineMs }: Ending,
): Promise<void> {
  const begin = async (): Promise<RunningDump> => {
    const dump = await engine.oneShots.run({
      job,
      node: PRODUCERS,
      image: "orca-test/busybox:1",
      argv: ["sh", "-c", script],
      env: {},
      user: undefined,
      network: "none",
      memoryBytes: 64 * 2 ** 20,
      binds: [],
    });
    if (isKilled === true) killing = killOnceItCame(job, listAll);
    return dump;
  };
  let killing: Promise<unknown> | undefined;
  const form = { heads: [{ at: 0, text: "PGDMP" }], tail: "", minBytes: 512, warnCodes: [] };
  const making = makeBackup(
    {
      folder: FOLDER,
      engine: "postgres",
      trigger: "asked",
      image: "sha256:1",
      recipients: [await recipient],
      keepUntilMs: undefined,
      describeRestore: () => [],
    },
    {
      repositories: [{ name: repository.name, open: () => Promise.resolve(repository) }],
      nowMs: () => Date.now(),
      listParts: () => Promise.resolve([{ kind: "database", content: "app", label: "", ending: ".dump", form, begin }]),
      deadlineMs,
    },
  );
  try {
    await making;
  } finally {
    await killing;
  }
}

/** Not before some of it lies in the store, where nobody sees it. */
async function killOnceItCame(job: string, listAll: () => Promise<string[]>): Promise<void> {
  await expect.poll(listAll, { timeout: 60_000 }).toEqual([expect.stringMatching(/\.partial$|…$/)]);
  await docker("kill", await docker("ps", "-q", ...OWN, "--filter", `name=${job}`));
}
