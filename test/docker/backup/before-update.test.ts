// A change of the image of a real PostgreSQL whose manifest asks for a backup before: the old one serves until a backup is made and
// proved by a restore, then the new one runs on the same data.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker, POSTGRES_IMAGE, PostgresNode } from "../../builders/node/postgres-node.ts";

const NEXT = "orca-test/postgres:before-update";

const node = new PostgresNode("updated", { user: "owner", backup: "before_update = true" });
const { orca, psql, findContainer } = node;

function imageOf(): string {
  const container = findContainer();
  return container === "" ? "" : docker("inspect", "-f", "{{.Config.Image}}", container).trim();
}

beforeAll(async () => {
  docker("tag", POSTGRES_IMAGE, NEXT);
  node.writeManifest();
  await node.begin();
});

afterAll(async () => {
  await node.dispose({ unread: "no manifest here takes a secret" });
  docker("rmi", NEXT);
});

test("the new image waits for a verified backup, which is kept, and runs on the data of the old one", async () => {
  await expect
    .poll(async () => (await orca("status", "--json")).output, { timeout: 120_000, interval: 500 })
    .toContain('"settled": true');
  psql("create table t as select g from generate_series(1, 1000) g");
  const before = findContainer();
  node.writeManifest(NEXT);
  await expect
    .poll(async () => (await orca("why", node.service)).output, { timeout: 60_000, interval: 200 })
    .toContain("it gets its new container after a verified backup of postgres-app/db");
  expect(findContainer()).toBe(before);
  await expect.poll(imageOf, { timeout: 120_000, interval: 500 }).toBe(NEXT);
  await expect.poll(async () => (await orca("status")).code, { timeout: 60_000, interval: 500 }).toBe(0);
  expect(psql("select count(*) from t")).toBe("1000");
  const record = readdirSync(node.folder).find((name) => name.endsWith(".manifest.json")) ?? "";
  const made = JSON.parse(readFileSync(join(node.folder, record), "utf8")) as Record<string, unknown>;
  expect(made).toMatchObject({ trigger: "before-update", verifications: [{ verdict: "good" }] });
  expect(Number(made["keepUntilMs"]) - Number(made["startedMs"])).toBeGreaterThan(29 * 86_400_000);
});
