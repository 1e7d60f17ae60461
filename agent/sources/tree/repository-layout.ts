// Where things stand in a manifests repository on disk: the directory that holds `orca/`, or the `orca/` directory itself.
// Used by the directory source and by lint.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** The parts of a repository on disk. */
export interface Layout {
  /** The `orca/` directory. */
  root: string;
  /** How messages name it: relative to what the user gave. */
  shown: string;
}

/** Finds the `orca/` directory; throws with what to do when there is none. */
export async function findLayout(directory: string): Promise<Layout> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      error.code === "ENOENT" ? `${directory} does not exist` : `${directory} cannot be read: ${error.code}`,
    );
  });
  if (entries.includes("manifests")) return { root: directory, shown: "" };
  if (entries.includes("orca") && (await isDirectory(join(directory, "orca", "manifests")))) {
    return { root: join(directory, "orca"), shown: "orca/" };
  }
  throw new Error(`${directory} holds no manifests: expected orca/manifests/<node>/<service>.toml in it`);
}

/** The nodes that have a directory of manifests, sorted. */
export async function listNodes(layout: Layout): Promise<string[]> {
  const entries = await readdir(join(layout.root, "manifests"), { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name)
    .toSorted();
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}
