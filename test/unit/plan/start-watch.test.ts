// The watch over a start finds the container's first process by its cgroup, waits for its mounts, and kills it where one is wrong:
// tried on a directory that looks as /proc does. The real thing is tried in test/docker/engine/mount-swap.test.ts.

import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { type OpenWatch, StartWatch } from "../../../agent/host/os/start-watch.ts";

const ID = "a".repeat(64);
const OUTER = "b".repeat(64);
const HOST = ["20 1 8:1 / / rw - ext4 /dev/sda1 rw", "21 20 0:9 / /m rw - tmpfs tmpfs rw"];
const ROOT = "/var/lib/docker/overlay2/x/merged";
const OVERLAY = `40 20 0:50 / ${ROOT} rw - overlay overlay rw`;
const BINDS = [
  { source: "/srv/a", target: "/m", real: "/srv/a" },
  { source: "/srv/b", target: "/n/", real: "/srv/b" },
];

function mount(path: string, at: string): string {
  return `50 40 8:1 ${path} ${at} rw - ext4 /dev/sda1 rw`;
}

let proc: string;
let last = 100;
const killed: number[] = [];
let watches: StartWatch;
let watch: OpenWatch;

function write(pid: number, files: Record<string, readonly string[]>): void {
  mkdirSync(join(proc, String(pid)), { recursive: true });
  for (const [name, lines] of Object.entries(files)) writeFileSync(join(proc, String(pid), name), lines.join("\n"));
}

function note(pid: number): void {
  last = pid;
  writeFileSync(join(proc, "loadavg"), `0.00 0.00 0.00 1/1 ${pid}\n`);
}

beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "orca-proc-"));
  killed.length = 0;
  write(1, { mountinfo: [...HOST, OVERLAY] });
  note(100);
  watches = new StartWatch(proc, (pid) => void killed.push(pid));
  watch = watches.open(ID, BINDS);
});

afterEach(() => {
  watch.end();
  rmSync(proc, { recursive: true, force: true });
});

/** A process of the container begins, with these mounts. */
function begin(mounts: readonly string[], cgroup = `9:pids:/docker/${ID}\n0::/x`): number {
  const pid = last + 1;
  write(pid, { cgroup: [cgroup], status: ["Name:\tinit", `Tgid:\t${pid}`, ""], mountinfo: mounts });
  note(pid);
  return pid;
}

/** Waits until a look has been made: one that came later has been killed in it. */
async function look(): Promise<void> {
  const id = String(last).padStart(64, "0");
  const witness = watches.open(id, BINDS);
  const pid = begin([...EARLY, mount("/srv/other", `${ROOT}/m`)], `0::/docker/${id}`);
  await expect.poll(() => killed).toContain(pid);
  expect(killed.splice(0)).toEqual([pid]);
  expect(witness.end()).toEqual(BINDS[0]);
}

/** The host's mounts and the new root, mounted onto itself, as the runtime has them before the root is the container's. */
const EARLY = [...HOST, OVERLAY, OVERLAY];

describe("the watch over a start", () => {
  it.each([
    ["before its root is its own", [...EARLY, mount("/srv/other", `${ROOT}/m`)]],
    ["after that", ["41 40 0:50 / / rw - overlay", mount("/srv/other", "/m"), mount("/srv/b", "/n")]],
  ])("kills a process with a wrong mount, %s", async (_name, mounts) => {
    const pid = begin(mounts);
    await expect.poll(() => killed).toEqual([pid]);
    expect(watch.end()).toEqual(BINDS[0]);
  });

  it("finds it by any path of a cgroup, and when it comes there later", async () => {
    const pid = begin([...EARLY, mount("/srv/a", `${ROOT}/m`), mount("/b", `${ROOT}/n`)], "0::/");
    await look();
    write(pid, { cgroup: [`0::/docker/${OUTER}/own.slice/docker-${ID}.scope`] });
    await expect.poll(() => killed).toEqual([pid]);
    expect(watch.end()).toEqual(BINDS[1]);
  });

  it("finds it after the numbers of processes began anew", async () => {
    const pid = 7;
    write(pid, {
      cgroup: [`0::/docker/${ID}`],
      status: ["", `Tgid:\t${pid}`, ""],
      mountinfo: [...EARLY, mount("/srv/other", `${ROOT}/m`)],
    });
    note(pid);
    await expect.poll(() => killed).toEqual([pid]);
  });

  it("waits for mounts that are not there yet: the host's own of that name is none of them", async () => {
    const pid = begin([...HOST, OVERLAY]);
    await look();
    write(pid, { mountinfo: [...EARLY, mount("/srv/a", `${ROOT}/m`)] });
    await look();
    // The host's root lies over the new one while they are exchanged.
    write(pid, { mountinfo: ["41 40 0:50 / / rw - overlay", ...HOST] });
    await look();
    expect(killed).toEqual([]);
    write(pid, { mountinfo: [...EARLY, mount("/srv/a", `${ROOT}/m`), mount("/other", `${ROOT}/n`)] });
    await expect.poll(() => killed).toEqual([pid]);
  });

  it("lets a process with the right mounts go, and others alone", async () => {
    const mounts = ["41 40 0:50 / / rw - overlay", mount("/srv/a", "/m"), mount("/srv/b", "/n")];
    begin(["41 40 0:50 / / rw - overlay", mount("/srv/other", "/m")], `0::/docker/${OUTER}`);
    const pid = begin(mounts);
    await look();
    // It has been seen to be right: what its program does with mounts of its own is no matter.
    write(pid, { mountinfo: ["41 40 0:50 / / rw - overlay", mount("/srv/other", "/m")] });
    await look();
    expect(killed).toEqual([]);
    expect(watch.end()).toBeUndefined();
  });

  it("sees nothing where the kernel shows no processes, and goes on when it does", async () => {
    const away = `${proc}-away`;
    renameSync(proc, away);
    await new Promise((resolve) => setImmediate(resolve));
    renameSync(away, proc);
    await look();
    expect(watch.end()).toBeUndefined();
  });
});
