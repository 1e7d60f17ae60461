// The repository in a bucket: the contract on a server with and without conditional puts, and what it does with one that fails, lies, keeps
// versions or locks.

import { randomBytes } from "node:crypto";

import { afterEach, expect, test } from "vitest";

import { RepositoryError, type Repository } from "../../../agent/backup/repository/repository-port.ts";
import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { describeRepository } from "../../contract/repository.ts";
import { FakeS3, type FakeS3Options, type S3Fault, type S3Purpose } from "../../fakes/fake-s3.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const KEY = "vm1/pg/db/a.dump";
const DAY_MS = 86_400_000;
const LARGE = randomBytes(9_000_000);

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function start(
  options?: FakeS3Options,
): Promise<{ server: FakeS3; open: (own?: Partial<S3Place>) => Repository }> {
  const server = new FakeS3(options);
  await server.start();
  const clients: S3Client[] = [];
  closing.push(async () => {
    for (const client of clients) client.close();
    await server.stop();
  });
  const open = (own: Partial<S3Place> = {}): Repository => {
    const client = new S3Client(server.place(own), 1);
    clients.push(client);
    return openS3Repository(client, () => server.nowMs);
  };
  return { server, open };
}

for (const conditional of [true, false]) {
  describeRepository(`a bucket ${conditional ? "with" : "without"} conditional puts`, async () => {
    const { open } = await start({ conditional });
    return { repository: open(), reopen: () => open() };
  });
}

async function write(repository: Repository, body: Uint8Array, name = "a.dump"): Promise<void> {
  const pending = await repository.create(FOLDER, name);
  try {
    for (let at = 0; at < body.length; at += 1_000_000) await pending.write(body.subarray(at, at + 1_000_000));
    await pending.publish();
  } catch (error) {
    await pending.abandon();
    throw error;
  }
}

async function read(repository: Repository, name = "a.dump"): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.read(FOLDER, name)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const SLOW_DOWN: S3Fault = { kind: "status", status: 503, code: "SlowDown" };
const BROKEN: S3Fault = { kind: "status", status: 500, code: "InternalError" };

test.each<[string, S3Purpose, S3Fault, number]>([
  ["a connection that breaks before a part", "part", { kind: "drop", when: "before" }, 2],
  ["a connection that breaks after a part", "part", { kind: "drop", when: "after" }, 2],
  ["500 for a part", "part", BROKEN, 3],
  ["503 slow down for a part", "part", SLOW_DOWN, 3],
  ["a part that came out as another one", "part", { kind: "wrong-etag" }, 1],
  ["500 at the beginning", "begin", BROKEN, 2],
  ["500 while it is put together", "complete", BROKEN, 2],
  ["an answer that is lost after it was put together", "complete", { kind: "drop", when: "after" }, 1],
  ["500 although it was put together", "complete", { kind: "done-and-500" }, 1],
  ["an error inside of a success", "head", SLOW_DOWN, 2],
])("passes by: %s", async (_name, purpose, fault, times) => {
  const { server, open } = await start();
  server.fail(purpose, fault, times);
  const repository = open();
  await write(repository, LARGE);
  expect((await read(repository)).equals(LARGE)).toBe(true);
  expect(server.uploads.size).toBe(0);
});

test.each<[string, S3Fault]>([
  ["breaks before", { kind: "drop", when: "before" }],
  ["breaks after", { kind: "drop", when: "after" }],
  ["says 500 before", BROKEN],
  ["says 500 after", { kind: "done-and-500" }],
])("a small file is put once, whatever the server does: it %s", async (_name, fault) => {
  const { server, open } = await start();
  server.fail("put", fault);
  await write(open(), Buffer.from("small"));
  expect((await read(open())).toString()).toBe("small");
});

test.each<[string, { on: S3Purpose; fault: S3Fault; times: number }, RegExp]>([
  [
    "a part is refused",
    { on: "part", fault: { kind: "status", status: 403, code: "AccessDenied" }, times: 9 },
    /403 AccessDenied/,
  ],
  [
    "a part never comes through",
    { on: "part", fault: { kind: "drop", when: "before" }, times: 99 },
    /was cut before the answer was whole/,
  ],
  ["500 for ever", { on: "part", fault: BROKEN, times: 99 }, /the server answered 500 InternalError/],
  [
    "a part is always another one",
    { on: "part", fault: { kind: "wrong-etag" }, times: 99 },
    /has other bytes than were sent/,
  ],
  ["a part is lost", { on: "part", fault: { kind: "lose-part" }, times: 1 }, /the server has 611392 of 9000000 bytes/],
  [
    "it is never put together",
    { on: "complete", fault: { kind: "error-in-200" }, times: 9 },
    /put it not together: InternalError/,
  ],
  ["no upload begins", { on: "begin", fault: { kind: "cut" }, times: 1 }, /the server began no upload/],
])("leaves nothing when %s", async (_name, { on, fault, times }, words) => {
  const { server, open } = await start();
  server.fail(on, fault, times);
  await expect(write(open(), LARGE)).rejects.toThrow(words);
  expect(server.listKeys()).toEqual([]);
  expect(server.uploads.size).toBe(0);
});

test("the first error is the last: what comes after it is not taken, and nothing is published", async () => {
  const { server, open } = await start();
  server.fail("part", { kind: "status", status: 403, code: "AccessDenied" });
  const pending = await open().create(FOLDER, "a.dump");
  const piece = Buffer.alloc(8 * 1024 * 1024, 1);
  await expect(
    (async () => {
      for (let at = 0; at < 20; at += 1) await pending.write(piece);
    })(),
  ).rejects.toThrow("AccessDenied");
  await expect(pending.write(piece)).rejects.toThrow("AccessDenied");
  await expect(pending.publish()).rejects.toThrow("AccessDenied");
  expect(server.calls.filter((call) => call.startsWith("part")).length).toBeLessThanOrEqual(3);
  await pending.abandon();
  expect(server.uploads.size).toBe(0);
});

test("a listing that is cut, or says that it goes on and not where, is a failure and not a short listing", async () => {
  const { server, open } = await start();
  const repository = open();
  for (const name of ["a.dump", "b.dump", "c.dump"]) await write(repository, Buffer.from("x"), name);
  expect(await repository.list(FOLDER)).toEqual(["a.dump", "b.dump", "c.dump"]);
  server.fail("list", { kind: "cut" });
  await expect(repository.list(FOLDER)).rejects.toThrow("the answer is cut");
});

test("a read that breaks goes on where it was", async () => {
  const { server, open } = await start();
  await write(open(), LARGE);
  server.fail("get", { kind: "drop", when: "before" }, 2);
  expect((await read(open())).equals(LARGE)).toBe(true);
});

test("a file that another one has published meanwhile stays as it is, with and without conditional puts", async () => {
  for (const conditional of [true, false]) {
    const { server, open } = await start({ conditional });
    const pending = await open().create(FOLDER, "a.dump");
    await pending.write(LARGE);
    await write(open(), Buffer.from("theirs"));
    await expect(pending.publish()).rejects.toThrow("something has that name already");
    await pending.abandon();
    expect(server.objects.get(KEY)?.[0]?.body.toString()).toBe("theirs");
    expect(server.uploads.size).toBe(0);
  }
});

test("what is locked is not removed, and nothing of it changes; after its time it goes with all its versions", async () => {
  const { server, open } = await start({ versioned: true });
  const repository = open({ lockDays: 7 });
  const pending = await repository.create(FOLDER, "a.manifest.json");
  await pending.write(Buffer.from("{}"));
  await pending.publish();
  await repository.replaceText(FOLDER, "a.manifest.json", `{"verified":true}`);
  await expect(repository.remove(FOLDER, "a.manifest.json")).rejects.toThrow("it is locked, or the key may not delete");
  expect(await repository.readText(FOLDER, "a.manifest.json")).toBe(`{"verified":true}`);
  server.nowMs += 8 * DAY_MS;
  await repository.remove(FOLDER, "a.manifest.json");
  expect(server.listKeys()).toEqual([]);
});

test("a file of several parts is locked too, where the store does not hear it at the beginning; one that cannot be locked is none", async () => {
  const { open } = await start({ versioned: true });
  await write(open({ lockDays: 7 }), LARGE);
  await expect(open().remove(FOLDER, "a.dump")).rejects.toThrow("it is locked, or the key may not delete");
  const plain = await start();
  await expect(write(plain.open({ lockDays: 7 }), LARGE)).rejects.toThrow("leave repositories.s3.lock_days out");
  expect(plain.server.listKeys()).toEqual([]);
});

test("under a bucket's own lock backups are made, proved and listed all the same", async () => {
  const { open } = await start({ versioned: true, defaultLockMs: 30 * DAY_MS });
  const repository = open();
  await write(repository, LARGE);
  await repository.replaceText(FOLDER, "a.manifest.json", "{}");
  await repository.replaceText(FOLDER, "a.manifest.json", `{"verified":true}`);
  await repository.sweep(FOLDER);
  expect(await repository.list(FOLDER)).toEqual(["a.dump", "a.manifest.json"]);
  await expect(repository.remove(FOLDER, "a.dump")).rejects.toThrow(RepositoryError);
});

test("the writer's key may not delete, and the pruner's may", async () => {
  const { server, open } = await start({ writer: "access" });
  await write(open(), Buffer.from("x"));
  await expect(open().remove(FOLDER, "a.dump")).rejects.toThrow("AccessDenied");
  await open({ accessKey: "pruner" }).remove(FOLDER, "a.dump");
  expect(server.listKeys()).toEqual([]);
});

test("a server that asks for patience is asked again for longer than one that is broken", async () => {
  const { server, open } = await start();
  server.fail("list", SLOW_DOWN, 8);
  expect(await open().list(FOLDER)).toEqual([]);
  server.fail("list", BROKEN, 8);
  await expect(open().list(FOLDER)).rejects.toThrow("500 InternalError");
  const asked = server.calls.length;
  server.fail("list", SLOW_DOWN, 100);
  await expect(open().list(FOLDER)).rejects.toThrow("503 SlowDown");
  expect(server.calls.length - asked).toBe(10);
});

test.each([
  ["RequestTimeTooSkewed", "the clock of this node or of the server is wrong"],
  ["ExpiredToken", "the key of repositories.s3 has expired: put a new one into its secret"],
])("%s is said with what to do, and not asked again", async (code, words) => {
  const { server, open } = await start();
  server.fail("list", { kind: "status", status: 403, code }, 9);
  await expect(open().list(FOLDER)).rejects.toThrow(words);
  expect(server.calls).toHaveLength(1);
});

test.each([
  ["a login page", "<html><body>Sign in</body></html>"],
  ["nothing", ""],
  ["JSON", `{"Contents":[]}`],
  ["another document", "<ListAllMyBucketsResult></ListAllMyBucketsResult>"],
  ["the beginnings of a million entries", `<ListBucketResult>${"<Contents>".repeat(400_000)}`],
  ["the beginnings of a million documents", "<ListBucketResult ".repeat(200_000)],
])("200 with %s is a failure and not an empty listing", async (_name, body) => {
  const { server, open } = await start();
  server.fail("list", { kind: "nonsense", body });
  await expect(open().list(FOLDER)).rejects.toThrow("the answer is cut");
});

test("200 with nonsense to a part, or to the end of an upload, is no backup", async () => {
  for (const on of ["part", "complete", "begin"] as const) {
    const { server, open } = await start();
    server.fail(on, { kind: "nonsense", body: "<html>Sign in</html>" }, 20);
    await expect(write(open(), LARGE)).rejects.toThrow(RepositoryError);
    expect([...server.listKeys(), ...server.uploads.keys()]).toEqual([]);
  }
});

test.each<[string, Partial<S3Place>, RegExp]>([
  ["another bucket", { bucket: "gone" }, /404 NoSuchBucket: .*: make the bucket gone/],
  ["nobody listens", { endpoint: "http://127.0.0.1:1" }, /nothing listens at 127\.0\.0\.1:1/],
  ["a CA that is not there", { endpoint: "https://127.0.0.1:1", caFile: "/nowhere.pem" }, /s3\.ca_file: ENOENT/],
])("says what is wrong: %s", async (_name, own, words) => {
  const { open } = await start();
  await expect(async () => open(own).list(FOLDER)).rejects.toThrow(words);
});

test("no error and no request has the secret key", async () => {
  const { server, open } = await start();
  const secretKey = "a-key-that-nobody-sees";
  server.fail("list", { kind: "status", status: 403, code: "SignatureDoesNotMatch" });
  const failure = await open({ secretKey })
    .list(FOLDER)
    .catch((error: unknown) => error);
  expect(String(failure)).toContain("check the secret of repositories.s3");
  expect(JSON.stringify([String(failure), server.calls])).not.toContain(secretKey);
});

test("of a large file two parts are under way at most", async () => {
  const { server, open } = await start();
  const pending = await open().create(FOLDER, "a.dump");
  const piece = randomBytes(8 * 1024 * 1024);
  for (let at = 0; at < 6; at += 1) await pending.write(piece);
  await pending.publish();
  expect(server.mostParts).toBe(2);
});

test("an upload whose beginning was not heard is not left behind", async () => {
  const { server, open } = await start();
  server.fail("begin", { kind: "drop", when: "after" });
  await write(open(), LARGE);
  expect(server.calls.filter((call) => call.startsWith("begin"))).toHaveLength(2);
  expect(server.uploads.size).toBe(0);
});
