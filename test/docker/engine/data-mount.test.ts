// No service with volumes starts while the declared data file system is not mounted: an empty directory on the root disk
// must never become a new database. With a real ext4 on a loop device.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { docker } from "../../builders/engine/docker-cli.ts";
import { buildHttpd, RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { policySchema } from "../../../shared/policy/policy.ts";

const root = mkdtempSync(join(tmpdir(), "orca-data-"));
const mount = join(root, "mnt");
const uuid = "0dcafe00-1111-2222-3333-444444444444";
const volume = `orca-test-data-${process.pid}`;
const policy = policySchema.parse({ mounts: { allowed_prefixes: [mount] } });
const node = new RealNode("data", { policy });

beforeAll(async () => {
  mkdirSync(mount);
  for (const [name, id] of [
    ["right", uuid],
    ["wrong", "0dcafe00-9999-9999-9999-999999999999"],
  ] as const) {
    writeFileSync(join(root, name), Buffer.alloc(8 * 2 ** 20));
    execFileSync("mkfs.ext4", ["-q", "-U", id, join(root, name)]);
  }
  mkdirSync("/dev/disk/by-uuid", { recursive: true });
  writeFileSync(
    join(node.repository, "orca", "fleet.toml"),
    `[nodes.${node.node}]\naddress = "127.0.0.1"\nenv = "test"\nmemory = "8GiB"\ndata = { mount = "${mount}", uuid = "${uuid}" }\n`,
  );
  node.set({
    plain: buildHttpd(),
    named: buildHttpd({
      top: 'backup = { none = "test" }',
      tables: `[[volumes]]\nname = "${volume}"\ntarget = "/data"`,
    }),
    bound: buildHttpd({
      top: 'backup = { none = "test" }',
      tables: `[[volumes]]\nsource = "${mount}/db"\ntarget = "/data"`,
    }),
  });
  await node.start();
});

afterAll(async () => {
  await node.dispose();
  unmount();
  await docker("volume", "rm", "-f", volume);
  rmSync(root, { recursive: true, force: true });
});

function unmount(): void {
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    if (line.split(" ")[1] === mount) execFileSync("umount", [mount]);
  }
  try {
    unlinkSync(`/dev/disk/by-uuid/${uuid}`);
  } catch {
    // It was not there.
  }
}

function mountImage(name: string): void {
  execFileSync("mount", ["-o", "loop", join(root, name), mount]);
  const device =
    readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .find((line) => line.split(" ")[1] === mount)
      ?.split(" ")[0] ?? "";
  // What udev does where it runs.
  if (name === "right") symlinkSync(device, `/dev/disk/by-uuid/${uuid}`);
  mkdirSync(join(mount, "db"), { recursive: true });
}

test("nothing mounted: services with volumes wait and say why, others run, no volume is made", async () => {
  await node.untilSettled(["plain"]);
  for (const name of ["named", "bound"]) {
    expect(node.view(name)).toMatchObject({ state: "waiting" });
    expect(node.view(name)?.reason).toContain(`no file system is mounted at ${mount}`);
    expect(await node.of(name)).toEqual([]);
  }
  expect(await node.engine.reader.inspectVolume(volume)).toBeUndefined();
});

test("another file system at that place: they wait", async () => {
  mountImage("wrong");
  node.agent.request({ kind: "sync", retry: undefined, allowRemoval: undefined, actor: { uid: 0, user: "root" } });
  await node.until(
    "it is said",
    () => node.view("named")?.reason.includes(`there is no file system with the UUID ${uuid}`) === true,
  );
  expect((await node.of("named")).filter((row) => row.status === "running")).toEqual([]);
  unmount();
});

test("the declared file system is mounted: they start by themselves", async () => {
  mountImage("right");
  await node.untilSettled(["plain", "named", "bound"], 30_000);
});

test("it is gone after a crash: no start on the empty directory", async () => {
  const id = await node.idOf("named");
  // The engine holds the bind mount, so the file system is detached lazily, as a forced detach of a volume does.
  execFileSync("umount", ["-l", mount]);
  await docker("kill", id);
  await node.until("it waits", () => node.view("named")?.state === "waiting", 10_000);
  expect(node.view("named")?.reason).toContain("no file system is mounted");
});
