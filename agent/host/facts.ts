// Facts about this host that a plan depends on: is the data file system mounted, where do bind-mount sources really
// lead. Reads only; starts no process.

import { readFileSync } from "node:fs";
import { readFile, realpath } from "node:fs/promises";

import type { DataMount, DesiredState } from "../../shared/desired-state.ts";
import type { HostFacts } from "../../shared/observed-state.ts";

/** Reads the facts that this desired state needs. */
export async function readHostFacts(desired: DesiredState): Promise<HostFacts> {
  return {
    dataMounted: desired.dataMount === undefined ? undefined : await checkMount(desired.dataMount),
  };
}

/** The real path behind a path, or undefined where there is nothing. */
export function readRealPath(path: string): Promise<string | undefined> {
  return realpath(path).catch(() => undefined);
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
  const device = await realpath(`/dev/disk/by-uuid/${wanted.uuid}`).catch(() => undefined);
  if (device === undefined) return { ok: false, reason: `there is no file system with the UUID ${wanted.uuid}` };
  const source = await realpath(unescapeMount(row[row.indexOf("-") + 2] ?? "")).catch(() => undefined);
  if (source === device) return { ok: true };
  return { ok: false, reason: `another file system than ${wanted.uuid} is mounted at ${wanted.mount}` };
}

function unescapeMount(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_match, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));
}
