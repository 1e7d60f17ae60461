// What `orca doctor` reads of the kernel, the engine's configuration and other processes, from a tree laid out as a host's.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { readSystemFacts } from "../../../agent/cli/doctor/read-host.ts";

let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "orca-facts-"));
  mkdirSync(join(root, "proc"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function lay(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

function layProcess(pid: number, words: string[], { limit = "0", filter = "00000000", comm = "node" } = {}): void {
  lay({
    [`proc/${pid}/cmdline`]: `${words.join("\0")}\0`,
    [`proc/${pid}/comm`]: `${comm}\n`,
    [`proc/${pid}/coredump_filter`]: `${filter}\n`,
    [`proc/${pid}/limits`]:
      "Limit                     Soft Limit           Hard Limit           Units     \n" +
      `Max core file size        ${limit.padEnd(20)} unlimited            bytes     \n`,
  });
}

const read = (): ReturnType<typeof readSystemFacts> => readSystemFacts("/dev/shm", root);

test("a bare host: nothing is made up", async () => {
  expect(await read()).toEqual({
    corePattern: undefined,
    engineCoreLimit: undefined,
    agents: [],
    hiddenProcesses: undefined,
    swaps: [],
    clock: { keptBy: undefined },
    delivery: { directory: "/dev/shm", inMemory: true, noSwap: false },
  });
});

test("swap devices, without the head of their table", async () => {
  lay({
    "proc/swaps":
      "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" +
      "/dev/dm-1                               partition\t8388604\t\t0\t\t-2\n/swapfile file 1 0 -3\n",
  });
  expect((await read()).swaps).toEqual([
    { name: "/dev/dm-1", type: "partition" },
    { name: "/swapfile", type: "file" },
  ]);
});

describe("running agents", () => {
  test("are those of both kinds of start, each with its limit and its filter; other commands and programs are none", async () => {
    layProcess(7, ["/usr/lib/orca/node", "/usr/lib/orca/orca.mjs", "agent", "--config", "/etc/orca/agent.toml"]);
    layProcess(8, ["node", "/opt/orca/agent/main.ts", "up", "platform"], { limit: "unlimited", filter: "00000033" });
    layProcess(9, ["node", "/opt/orca/agent/main.ts", "status"]);
    layProcess(10, ["vim", "agent/main.ts"]);
    layProcess(11, ["node", "/opt/other/main.ts", "agent"]);
    expect((await read()).agents).toEqual([
      { pid: 7, coreLimit: "0", coreFiltered: true, rights: undefined },
      { pid: 8, coreLimit: "unlimited", coreFiltered: false, rights: undefined },
    ]);
  });

  test("of one that may not be looked into nothing is known", async () => {
    lay({ "proc/7/cmdline": "node\0/opt/orca/agent/main.ts\0agent\0" });
    expect((await read()).agents).toEqual([
      { pid: 7, coreLimit: undefined, coreFiltered: undefined, rights: undefined },
    ]);
  });
});

describe("a /proc that hides processes", () => {
  const mounts = (options: string): string =>
    `sysfs /sys sysfs rw,nosuid 0 0\nproc /proc proc ${options} 0 0\nproc /run/other/proc proc rw,hidepid=2 0 0\n`;

  test.each([
    ["rw,nosuid,nodev,noexec,relatime", undefined],
    ["rw,relatime,hidepid=0", undefined],
    ["rw,relatime,hidepid=off", undefined],
    ["rw,relatime,hidepid=2", { option: "hidepid=2", group: undefined }],
    ["rw,relatime,gid=26,hidepid=invisible", { option: "hidepid=invisible", group: 26 }],
  ])("is read from its options: %s", async (options, hidden) => {
    lay({ "proc/self/mounts": mounts(options) });
    expect((await read()).hiddenProcesses).toEqual(hidden);
  });

  test("and what the agent may see all the same, from its groups and capabilities", async () => {
    layProcess(7, ["node", "/opt/orca/agent/main.ts", "agent"]);
    const status = (capabilities: string): string =>
      `Name:\tnode\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t26 999 \nCapEff:\t${capabilities}\n`;
    lay({ "proc/7/status": status("0000000000000423") });
    expect((await read()).agents[0]?.rights).toEqual({ groups: [0, 26, 999], maySeeAll: false });
    lay({ "proc/7/status": status("000001ffffffffff") });
    expect((await read()).agents[0]?.rights?.maySeeAll).toBe(true);
  });
});

test("where a core goes, and what the engine gives containers", async () => {
  lay({ "proc/sys/kernel/core_pattern": "|/lib/systemd/systemd-coredump %P\n" });
  expect(await read()).toMatchObject({ corePattern: "|/lib/systemd/systemd-coredump %P", engineCoreLimit: undefined });
  lay({ "etc/docker/daemon.json": '{"default-ulimits": {"core": {"Name": "core", "Hard": 0, "Soft": 0}}}' });
  expect((await read()).engineCoreLimit).toBe(0);
  lay({ "etc/docker/daemon.json": '{"default-ulimits": {"nofile": {"Hard": 0}}}' });
  expect((await read()).engineCoreLimit).toBeUndefined();
  lay({ "etc/docker/daemon.json": "{ not JSON" });
  expect((await read()).engineCoreLimit).toBeUndefined();
});

test("who keeps the clock: a daemon that runs, or systemd's once it has synchronised", async () => {
  layProcess(7, ["bash"], { comm: "bash" });
  expect((await read()).clock.keptBy).toBeUndefined();
  layProcess(8, ["chronyd"], { comm: "chronyd" });
  expect((await read()).clock.keptBy).toBe("chronyd");
  lay({ "run/systemd/timesync/synchronized": "" });
  expect((await read()).clock.keptBy).toBe("systemd-timesyncd");
});

test("whether secrets would lie in memory, and out of swap, by the innermost mount", async () => {
  lay({ "proc/self/mounts": "tmpfs / tmpfs rw,noswap 0 0\ntmpfs /dev/shm tmpfs rw,nosuid 0 0\n" });
  expect((await read()).delivery).toEqual({ directory: "/dev/shm", inMemory: true, noSwap: false });
  lay({ "proc/self/mounts": "tmpfs / tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,noswap 0 0\n" });
  expect((await read()).delivery.noSwap).toBe(true);
  // Where it is not there yet, the directory that it would be made in counts.
  expect((await readSystemFacts("/dev/shm/orca-none", root)).delivery.directory).toBe("/dev/shm");
  expect((await readSystemFacts("/proc/none/orca", root)).delivery).toMatchObject({ inMemory: undefined });
});
