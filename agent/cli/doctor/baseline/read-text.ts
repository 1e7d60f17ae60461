// Small readings that several parts of doctor need: a file that may be missing, and what runs.

import { readdirSync, readFileSync } from "node:fs";

/** A file's text; undefined where it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The names in a directory, sorted; none where it cannot be read. */
export function listNames(path: string): string[] {
  try {
    return readdirSync(path).toSorted();
  } catch {
    return [];
  }
}

/** The arguments of each process. */
export function listProcesses(root: string): string[][] {
  return listNames(`${root}/proc`)
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => (readText(`${root}/proc/${pid}/cmdline`) ?? "").split("\0").filter((word) => word !== ""));
}

/** The names of all programs that run, as the kernel has them: at most 15 characters. */
export function listPrograms(root: string): Set<string> {
  const pids = listNames(`${root}/proc`).filter((name) => /^\d+$/.test(name));
  return new Set(pids.map((pid) => (readText(`${root}/proc/${pid}/comm`) ?? "").trim()));
}
