// Whose a secret file is: the user that the container really runs as, by number, by name, or as its image says; also when
// the agent ends in between, after a reboot, and where an earlier version delivered it.

import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { findRequest, noteAtStarts, readSecretFiles } from "../../builders/node/delivered.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";
import { USER_IMAGE } from "../../builders/engine/user-image.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";

const PATH = "/prod/app/PASSWORD";
const IMAGE = USER_IMAGE.image;
const nodes: TestNode[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.dispose();
});

function manifestOf(image: string, user = ""): string {
  const top = user === "" ? "" : `user = "${user}"`;
  return buildManifest({ image, top, tables: `[update]\nsettle = "1s"\n[secrets.files]\npassword = "${PATH}"` });
}

function open(manifest: string): { node: TestNode; secrets: FakeSecrets } {
  const secrets = new FakeSecrets();
  secrets.values.set(PATH, "correct horse");
  const node = new TestNode({ secrets });
  nodes.push(node);
  node.engine.images.set(IMAGE, { user: USER_IMAGE.user, files: USER_IMAGE.files });
  node.source.set({ app: manifest });
  return { node, secrets };
}

async function bringUp(manifest: string): Promise<{ node: TestNode; secrets: FakeSecrets }> {
  const opened = open(manifest);
  await opened.node.start();
  await opened.node.untilSettled(["app"]);
  return opened;
}

function describeOwner(node: TestNode): string {
  const { password } = readSecretFiles(node);
  return password === undefined ? "it is not there" : `${password.mode} ${password.owner}`;
}

test.each([
  ["the image's own user", IMAGE, "", "0400 4021:4022"],
  ["a user by name", IMAGE, "other", "0400 4031:4032"],
  ["a user and a group by name", IMAGE, "other:readers", "0400 4031:4055"],
  ["a user in numbers", IMAGE, "1234", "0400 1234:1234"],
  ["a number with a group by name", IMAGE, "99:readers", "0400 99:4055"],
  ["root by name, which programs may give up", IMAGE, "root", "0444 0:0"],
  ["root by number", IMAGE, "0", "0444 0:0"],
  ["an image without a user", "app:1", "", "0444 0:0"],
  ["a name that the image does not know: root alone, and the engine refuses the start", IMAGE, "stranger", "0400 0:0"],
])("%s", async (_who, image, user, expected) => {
  const { node } = open(manifestOf(image, user));
  const owners = noteAtStarts(node, () => describeOwner(node));
  await node.start();
  await node.untilSettled(["app"]);
  expect([...owners, describeOwner(node)]).toEqual([expected, expected]);
});

test("a new value goes to the same user, and the container is asked, not the manifest", async () => {
  const { node, secrets } = await bringUp(manifestOf(IMAGE));
  secrets.set({ [PATH]: "new value" });
  await node.clock.advance(60_000);
  expect(readSecretFiles(node)["password"]).toMatchObject({ content: "new value", mode: "0400", owner: "4021:4022" });
});

test("after a reboot it is the same user's, before the start", async () => {
  const { node } = await bringUp(manifestOf(IMAGE, "other"));
  await node.stop();
  node.engine.goDown();
  node.clearMemory();
  node.bootId = "boot-2";
  node.engine.comeBack();
  const owners = noteAtStarts(node, () => describeOwner(node));
  await node.start();
  await node.untilSettled(["app"]);
  expect(owners).toEqual(["0400 4031:4032"]);
});

describe("kill -9", () => {
  test.each(["createContainer", "startContainer"] as const)(
    "before or after %s: the file is its user's before it starts",
    async (call) => {
      for (const before of [true, false]) {
        const { node } = open(manifestOf(IMAGE));
        const calls = node.engine.calls;
        const owners = noteAtStarts(node, () => describeOwner(node));
        node.engine.latencyMs[call] = 100;
        await node.start();
        const isReached = (): boolean => calls.some((entry) => entry.call === call);
        await node.clock.advanceUntil(isReached, 10_000, call);
        if (!before) await node.clock.advance(1);
        node.kill();
        await node.start();
        await node.untilSettled(["app"]);
        expect(new Set(owners)).toEqual(new Set(["0400 4021:4022"]));
        expect(node.engine.of("app").length).toBe(1);
      }
    },
  );
});

test("what an earlier version delivered stays as it is: its upgrade touches no container, and writes nothing anew", async () => {
  const { node } = await bringUp(manifestOf(IMAGE));
  const bind = findRequest(node).binds.find(({ target }) => target === "/run/secrets");
  const marks = `${bind?.source}.json`;
  const noted = JSON.parse(readFileSync(marks, "utf8")) as Record<string, { hash: string }>;
  await node.stop();
  // So it was written then.
  const plain = Object.entries(noted).map(([target, { hash }]) => [target, hash]);
  writeFileSync(marks, JSON.stringify(Object.fromEntries(plain)));
  const before = readSecretFiles(node);
  const { length } = node.engine.calls;
  const events = node.events.length;
  await node.start();
  await node.clock.advance(120_000);
  expect(node.engine.calls.length).toBe(length);
  expect(readSecretFiles(node)).toEqual(before);
  expect(node.events.slice(events).filter((event) => event.kind === "step-done")).toEqual([]);
  expect(dirname(marks)).toContain(node.runDir);
});
