// The repository in a bucket of Ceph: conditional puts, versions and object lock as a real store has them. ORCA_SLOW=1 runs it; the packages
// radosgw, ceph-mon and ceph-osd must be there then.

import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { S3Client, type S3Place } from "../../../agent/backup/repository/s3-client.ts";
import { openS3Repository } from "../../../agent/backup/repository/s3-repository.ts";
import { Ceph } from "../../../scripts/lab/backup/ceph.ts";
import { describeRepository } from "../../contract/repository.ts";

const FOLDER = { node: "vm1", service: "pg", store: "db" };
const clients: S3Client[] = [];
let count = 0;
let ceph: Ceph | undefined;

function open(own: Partial<S3Place>): S3Client {
  if (ceph === undefined) throw new Error("the store was not started");
  const place: S3Place = {
    name: "ceph",
    bucket: "backups",
    prefix: "",
    lockDays: undefined,
    caFile: undefined,
    ...ceph.access,
  };
  const client = new S3Client({ ...place, ...own });
  clients.push(client);
  return client;
}

/** Started in the slow lane alone. */
const STORES = process.env["ORCA_SLOW"] === undefined ? [] : ["Ceph"];

beforeAll(async () => {
  if (STORES.length === 0) return;
  // Sockets lie in it: its path must be short.
  ceph = new Ceph(mkdtempSync(join("/tmp", "oc-")));
  await ceph.start();
  await open({}).send({ method: "PUT", key: "" });
  await open({ bucket: "locked" }).send({
    method: "PUT",
    key: "",
    headers: { "x-amz-bucket-object-lock-enabled": "true" },
  });
}, 300_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await ceph?.[Symbol.asyncDispose]();
});

for (const kind of STORES) {
  describeRepository(kind, () => {
    count += 1;
    const prefix = `lab/${count}`;
    const reopen = () => openS3Repository(open({ prefix }));
    return Promise.resolve({ repository: reopen(), reopen });
  });
}

test("it is started in the slow lane alone", () => {
  expect(ceph === undefined).toBe(STORES.length === 0);
});

test.each(STORES)("what is locked in %s stays; a record under a lock is written anew all the same", async () => {
  const repository = openS3Repository(open({ bucket: "locked", lockDays: 1 }));
  const body = randomBytes(9_000_000);
  const pending = await repository.create(FOLDER, "a.dump");
  await pending.write(body);
  await pending.publish();
  const record = await repository.create(FOLDER, "a.manifest.json");
  await record.write(Buffer.from("{}"));
  await record.publish();
  await repository.replaceText(FOLDER, "a.manifest.json", `{"verified":true}`);
  for (const name of ["a.dump", "a.manifest.json"])
    await expect(repository.remove(FOLDER, name)).rejects.toThrow("it is locked, or the key may not delete");
  expect(await repository.readText(FOLDER, "a.manifest.json")).toBe(`{"verified":true}`);
  expect((await repository.list(FOLDER)).toSorted()).toEqual(["a.dump", "a.manifest.json"]);
});
