// Makes directories that may lie deep, one level after the other. Node's own way (`recursive`) never ends where a file system answers that
// there is no such directory although the one above is there, as /proc does.

import { mkdirSync, statSync } from "node:fs";
import { mkdir, realpath, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";

/** What the kernel shows as files and nobody stores anything in, by the numbers of statfs(2) and linux/magic.h. */
const KERNEL_SYSTEMS = new Map([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0x64626720, "debugfs"],
  [0x74726163, "tracefs"],
  [0x73636673, "securityfs"],
  [0x62656570, "configfs"],
  [0xcafe4a11, "bpf"],
  [0x1cd1, "devpts"],
  [0x6165676c, "pstore"],
  [0xde5e81e4, "efivarfs"],
  [0x19800202, "mqueue"],
  [0x6e736673, "nsfs"],
  [0xf97cff8c, "selinuxfs"],
]);

const KERNEL_PLACES = /^\/(?:proc|sys|dev(?!\/shm(?:\/|$)))(?:\/|$)/;

/** True for a path below /proc, /sys or /dev, as it is written: nothing stays there. /dev/shm is memory, and takes files like any other. */
export function isKernelPlace(path: string): boolean {
  return KERNEL_PLACES.test(path);
}

/**
 * Makes a directory and those above it; fine where it is there.
 * @param path absolute
 * @param mode of each one that is made
 * Throws an error that names the path: the kernel's own (with its `code`), or one that says that nothing can be stored there.
 */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  const missing: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    if (await makeOne(at, mode)) break;
    missing.push(at);
    if (dirname(at) === at) throw new Error(`${path} cannot be made`);
    if (await isThere(dirname(at))) break;
  }
  for (const at of missing.toReversed()) {
    if (await makeOne(at, mode)) continue;
    const why = (await describeKernel(dirname(at))) ?? "its file system takes no directory, or a link leads nowhere";
    throw new Error(`${at} cannot be made: ${why}: name another place`);
  }
}

/** The same for what cannot wait. */
export function makeDirectorySync(path: string, mode: number): void {
  const missing: string[] = [];
  for (let at = path; !makeOneSync(at, mode); at = dirname(at)) {
    missing.push(at);
    if (dirname(at) === at || isThereSync(dirname(at))) break;
  }
  for (const at of missing.toReversed()) {
    if (makeOneSync(at, mode)) continue;
    const why = isKernelPlace(at) ? "it would be the kernel's" : "its file system takes no directory";
    throw new Error(`${at} cannot be made: ${why}: name another place`);
  }
}

/**
 * Says why nothing can be stored in a directory that is there or is to be made: it lies in what the kernel shows as files. Undefined where
 * it can, or where nobody may look.
 */
export async function findPlaceFault(path: string): Promise<string | undefined> {
  for (let at = path; ; at = dirname(at)) {
    const real = await realpath(at).catch(() => undefined);
    if (real === undefined && dirname(at) !== at) continue;
    const why = real === undefined ? undefined : await describeKernel(real);
    return why === undefined ? undefined : `nothing can be stored in ${path}: ${why}: name another place`;
  }
}

async function describeKernel(directory: string): Promise<string | undefined> {
  if (isKernelPlace(join(directory, "x"))) return `${directory} is the kernel's`;
  const type = await statfs(directory).then(
    (found) => KERNEL_SYSTEMS.get(found.type),
    () => undefined,
  );
  return type === undefined ? undefined : `${directory} is the kernel's (${type})`;
}

/** False where the directory above is missing, or the file system says so. */
async function makeOne(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return false;
    // A file system that is read-only says so also of what is there.
    if (!(await isThere(path))) throw error;
  }
  return true;
}

function makeOneSync(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    if (!isThereSync(path)) throw error;
  }
  return true;
}

function isThereSync(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
