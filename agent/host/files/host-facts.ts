// Facts about this host that a plan depends on: is the data file system mounted, where do bind-mount sources really
// lead. Reads only; starts no process.

import { readFileSync, type Stats } from "node:fs";
import { lstat, readFile, readlink, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import type { DataMount, DesiredState } from "../../../shared/state/desired-state.ts";
import type { HostFacts } from "../../../shared/state/observed-state.ts";
import { unescapeMount } from "../os/mounts.ts";

/** Reads the facts that this desired state needs. */
export async function readHostFacts(desired: DesiredState): Promise<Pick<HostFacts, "dataMounted">> {
  return {
    dataMounted: desired.dataMount === undefined ? undefined : await checkMount(desired.dataMount),
  };
}

/** As many links the kernel follows before it gives up. */
const MOST_LINKS = 40;

/**
 * The real path behind a path, also of what is not there yet: what links say about it counts already, since whoever makes it
 * later would be led there. Undefined where links lead round in circles or it cannot be looked at.
 */
export async function readRealPath(path: string, links = MOST_LINKS): Promise<string | undefined> {
  const real = await realpath(path).catch((error: NodeJS.ErrnoException) => error);
  if (typeof real === "string") return real;
  if (real.code !== "ENOENT" || links === 0) return undefined;
  const parent = await readRealPath(dirname(path), links);
  if (parent === undefined) return undefined;
  const here = join(parent, basename(path));
  const target = await readlink(here).catch(() => undefined);
  return target === undefined ? here : readRealPath(resolve(parent, target), links - 1);
}

/**
 * A directory above a real path whose entries somebody other than root and this process can change: it could lead elsewhere
 * by the time it is mounted. What is not there yet is made by the engine, as root.
 */
export async function findLooseDirectory(real: string): Promise<{ directory: string; who: string } | undefined> {
  let child = real;
  let owner = await readOwner(child);
  while (child !== "/") {
    const directory = dirname(child);
    const info = await lstat(directory).catch(() => undefined);
    const who = info === undefined ? undefined : findChanger(info, owner);
    if (who !== undefined) return { directory, who };
    [child, owner] = [directory, info?.uid];
  }
  return undefined;
}

/**
 * Whether a file has more names than one: then what was judged by this name is also what another name leads to, and somebody may have
 * put it here by that. `isPublic` where everybody may read it, and root alone write.
 */
export async function findOtherNames(real: string): Promise<{ names: number; isPublic: boolean } | undefined> {
  const info = await lstat(real).catch(() => undefined);
  if (info?.isFile() !== true || info.nlink < 2) return undefined;
  const isPublic = info.uid === 0 && (info.mode & 0o022) === 0 && (info.mode & 0o004) !== 0;
  return { names: info.nlink, isPublic };
}

async function readOwner(path: string): Promise<number | undefined> {
  return (await lstat(path).catch(() => undefined))?.uid;
}

/** Who can rename or replace an entry of a directory; with the sticky bit the entry's and the directory's owner alone. */
function findChanger({ uid, gid, mode }: Stats, owner: number | undefined): string | undefined {
  if (!isTrusted(uid)) return `user ${uid}`;
  const isSticky = (mode & 0o1000) !== 0 && owner !== undefined && isTrusted(owner);
  if (isSticky) return undefined;
  if ((mode & 0o002) !== 0) return "every user";
  return (mode & 0o020) !== 0 && gid !== 0 ? `group ${gid}` : undefined;
}

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.getuid?.();
}

/** Changes with every boot of the host; the kernel's own id. */
export function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
}

/** Checks that a file system is mounted at the declared place, and that it is the declared one. */
async function checkMount(wanted: DataMount): Promise<{ ok: true } | { ok: false; reason: string }> {
  const table = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  // Fields of proc(5) mountinfo: id, parent, major:minor, root, mount point, options, …, "-", type, source, super options.
  const rows = table.split("\n").map((line) => line.split(" "));
  const row = rows.findLast((fields) => unescapeMount(fields[4] ?? "") === wanted.mount.replace(/(.)\/$/, "$1"));
  if (row === undefined) return { ok: false, reason: `no file system is mounted at ${wanted.mount}` };
  if (wanted.uuid === undefined) return { ok: true };
  const device = await findDevice(`/dev/disk/by-uuid/${wanted.uuid}`);
  if (device === undefined) return { ok: false, reason: `there is no file system with the UUID ${wanted.uuid}` };
  const source = unescapeMount(row[row.indexOf("-") + 2] ?? "");
  if (row[2] === device.number || basename(source) === device.name) return { ok: true };
  return { ok: false, reason: `another file system than ${wanted.uuid} is mounted at ${wanted.mount}` };
}

/**
 * The block device that a link of udev's names, as the kernel calls it. The agent's own /dev has the links and no disks
 * (PrivateDevices of its unit): so no device is opened, and sysfs says which number it has. A file system such as btrfs has a number of its
 * own; then the name counts.
 */
async function findDevice(link: string): Promise<{ name: string; number: string | undefined } | undefined> {
  const target = await readlink(link).catch(() => undefined);
  if (target === undefined) return undefined;
  const name = basename(target);
  const number = await readFile(`/sys/class/block/${name}/dev`, "utf8").catch(() => undefined);
  return { name, number: number?.trim() };
}
