// Where paths lie on this host's file systems, and what a process has mounted, by the kernel's own word (proc(5), mountinfo).
// Reads only; starts no process.

import { readFile } from "node:fs/promises";
import { posix } from "node:path";

import type { BindSource } from "../../../shared/state/step.ts";

/** One mount: a directory or file of a file system, and where it is seen. */
export interface MountRow {
  /** `major:minor` of the file system. */
  device: string;
  /** The path inside the file system that is mounted. */
  root: string;
  mountPoint: string;
}

/** Takes the text of a mountinfo apart. */
export function parseMountinfo(text: string): MountRow[] {
  return text.split("\n").flatMap((line) => {
    const [, , device, root, mountPoint] = line.split(" ");
    if (device === undefined || root === undefined || mountPoint === undefined) return [];
    return [{ device, root: unescapeMount(root), mountPoint: unescapeMount(mountPoint) }];
  });
}

/** Where a real path lies: its file system, and its path in there. */
export function locatePath(rows: readonly MountRow[], real: string): Omit<MountRow, "mountPoint"> | undefined {
  const above = rows.filter(({ mountPoint }) => isBelow(real, mountPoint));
  const longest = Math.max(...above.map(({ mountPoint }) => mountPoint.length));
  // Of mounts on one point the last one is what is seen.
  const row = above.findLast(({ mountPoint }) => mountPoint.length === longest);
  if (row === undefined) return undefined;
  const rest = real.slice(row.mountPoint === "/" ? 0 : row.mountPoint.length);
  return { device: row.device, root: posix.join(row.root, rest).replace(/(.)\/$/, "$1") };
}

/**
 * The first bind that is mounted from elsewhere than it was judged, as a process sees it.
 * @returns undefined where all are right, or nobody can say: the process has ended, or may not be looked at
 */
export async function findWrongBind(pid: number, binds: readonly BindSource[]): Promise<BindSource | undefined> {
  if (pid <= 0 || binds.length === 0) return undefined;
  const [own, seen] = await Promise.all([
    readRows("1").then((rows) => rows ?? readRows("self")),
    readRows(String(pid)),
  ]);
  if (own === undefined || seen === undefined) return undefined;
  return binds.find((bind) => !isMounted(bind, own, seen));
}

/**
 * The same of a container that is being started: the first bind that is wrong, `right`, or `early` where they are not all there yet.
 * Before its root is its own, its mounts lie below the directory that becomes it.
 */
export function readBinds(
  binds: readonly BindSource[],
  host: readonly MountRow[],
  seen: readonly MountRow[],
): BindSource | "right" | "early" {
  const root = findRoot(binds, host, seen);
  if (root === undefined) return "early";
  const inside = seen.filter(({ mountPoint }) => isBelow(mountPoint, root));
  const rows = inside.map((row) => ({ ...row, mountPoint: posix.join("/", posix.relative(root, row.mountPoint)) }));
  const isHere = ({ target }: BindSource): boolean =>
    rows.some(({ mountPoint }) => mountPoint === normalizeTarget(target));
  // Where one is not to be found under its name, only the finished whole says which it is.
  const judged = root === "/" ? binds : binds.filter(isHere);
  const wrong = judged.find((bind) => !isMounted(bind, host, rows));
  return wrong ?? (judged.length === binds.length ? "right" : "early");
}

/** Where the container's root is in a process's mounts: "/", or the directory that the runtime has mounted onto itself. */
function findRoot(
  binds: readonly BindSource[],
  host: readonly MountRow[],
  seen: readonly MountRow[],
): string | undefined {
  const count = (rows: readonly MountRow[], place: string): number =>
    rows.filter(({ mountPoint }) => mountPoint === place).length;
  const [old, now] = [locatePath(host, "/"), locatePath(seen, "/")];
  if (old === undefined || now === undefined) return undefined;
  // For a moment the host's root lies over the new one.
  if (old.device !== now.device || old.root !== now.root) return count(seen, "/") === 1 ? "/" : undefined;
  for (const target of binds.map((bind) => normalizeTarget(bind.target)))
    for (const { mountPoint } of seen) {
      const root = mountPoint.endsWith(target) ? mountPoint.slice(0, -target.length) : "";
      if (root !== "" && count(seen, root) > count(host, root)) return root;
    }
  return undefined;
}

function normalizeTarget(target: string): string {
  return posix.normalize(target).replace(/(.)\/$/, "$1");
}

function isMounted({ target, real }: BindSource, own: readonly MountRow[], seen: readonly MountRow[]): boolean {
  const expected = locatePath(own, real);
  if (expected === undefined) return true;
  const place = normalizeTarget(target);
  const here = seen.filter(({ mountPoint }) => mountPoint === place);
  // Where the image has a link in the target's path, the mount has another name: then it must be one of them.
  const possible = here.length === 0 ? seen : here.slice(-1);
  return possible.some(({ device, root }) => device === expected.device && root === expected.root);
}

async function readRows(pid: string): Promise<MountRow[] | undefined> {
  const text = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => "");
  return text === "" ? undefined : parseMountinfo(text);
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** The kernel writes space, tab, newline and backslash as octal numbers. */
export function unescapeMount(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_match, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));
}
