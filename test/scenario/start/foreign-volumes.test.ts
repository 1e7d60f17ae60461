// Volumes that somebody else has made: data of others, or a name for a device or path of the host. No manifest gets them, unless the
// host's policy names them; what ran with one goes on and starts again after a crash.

import { afterEach, expect, test } from "vitest";

import { policySchema } from "../../../shared/policy/policy.ts";
import { buildManifest } from "../../builders/node/manifest.ts";
import { TestNode } from "../../builders/node/node.ts";

let node = new TestNode();

afterEach(() => node.dispose());

function withVolume(name: string, image = "app:1"): string {
  const tables = `[[volumes]]\nname = "${name}"\ntarget = "/d"`;
  return buildManifest({ image, top: 'backup = { none = "test" }', tables });
}

async function build(foreign: readonly string[] = []): Promise<void> {
  await node.dispose();
  node = new TestNode({ settings: { policy: policySchema.parse({ volumes: { foreign } }) } });
}

test("one without Orca's label, one that leads to the host, one of another node: refused before anything is made", async () => {
  await build();
  node.engine.volumes.set("gitea", {});
  node.engine.volumes.set("root", {});
  node.engine.leading.set("root", "/");
  // Labels can be written by whoever makes a volume.
  node.engine.volumes.set("labelled", { "orca.node": "vm1", "orca.service": "c" });
  node.engine.leading.set("labelled", "/etc");
  node.engine.volumes.set("theirs", { "orca.node": "vm2", "orca.service": "db" });
  node.source.set({
    a: withVolume("gitea"),
    b: withVolume("root"),
    c: withVolume("labelled"),
    d: withVolume("theirs"),
  });
  await node.start();
  await node.until("refused", ["a", "b", "c", "d"]);
  const fix = (name: string): string =>
    `choose another name, or write volumes.foreign = ["${name}"] into this host's policy`;
  expect(node.view("a").reason).toBe(
    `the volume gitea was not made by Orca and holds somebody's data; ${fix("gitea")}`,
  );
  expect(node.view("b").reason).toBe(`the volume root is really /; ${fix("root")}`);
  expect(node.view("c").reason).toBe(`the volume labelled is really /etc; ${fix("labelled")}`);
  expect(node.view("d").reason).toMatch(/volume theirs belongs to node vm2/);
  for (const name of ["a", "b", "c", "d"]) expect(node.engine.of(name)).toEqual([]);
});

test("the host's policy may name one, whatever it leads to, but not another node's", async () => {
  await build(["gitea", "nas", "theirs"]);
  node.engine.volumes.set("gitea", {});
  node.engine.volumes.set("nas", {});
  node.engine.leading.set("nas", "the driver nfs");
  node.engine.volumes.set("theirs", { "orca.node": "vm2" });
  node.source.set({ a: withVolume("gitea"), b: withVolume("nas"), c: withVolume("theirs") });
  await node.start();
  await node.untilSettled(["a", "b"]);
  expect(node.view("c").state).toBe("refused");
});

test("what ran with one goes on, and starts again after a crash; a new release of it waits for the policy", async () => {
  await build(["gitea"]);
  node.engine.volumes.set("gitea", {});
  node.source.set({ a: withVolume("gitea") });
  await node.start();
  await node.untilSettled(["a"]);
  const policy = policySchema.parse({});
  await node.stop();
  node.choices.settings = { policy };
  await node.start();
  await node.clock.advance(60_000);
  const before = node.engine.running("a");
  if (before === undefined) throw new Error("a does not run");
  node.engine.end(before, 1);
  await node.clock.advance(10_000);
  expect(node.engine.running("a")?.id).toBe(before.id);
  node.source.set({ a: withVolume("gitea", "app:2") });
  await node.until("refused", ["a"]);
  expect(node.view("a").reason).toMatch(/not made by Orca/);
  expect(node.engine.running("a")?.id).toBe(before.id);
});

test("a volume that is missing is made with Orca's labels, and is then its own", async () => {
  await build();
  node.source.set({ a: withVolume("fresh") });
  await node.start();
  await node.untilSettled(["a"]);
  expect(node.engine.volumes.get("fresh")).toEqual({ "orca.node": "vm1", "orca.service": "a" });
  node.source.set({ a: withVolume("fresh", "app:2") });
  await node.clock.advance(120_000);
  expect(node.view("a").state).toBe("healthy");
  expect(node.view("a").image).toBe("app:2");
});
