// The files of one node's directory on disk: its manifests, and everything below it. What is wrong with a file is that file's
// fault and keeps no other from being read. Used by the directory source; follows no link to a directory.

import { readdirSync, realpathSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, sep } from "node:path";

import { decodeName, type FileFault, LARGEST_NODE_BYTES } from "../../../shared/manifest/file-fault.ts";
import { readPlainFile, readPlainText } from "../../host/files/plain-file.ts";
import { MOST_MANIFESTS, walkEntries, type WalkedEntry } from "../tree/entry-walk.ts";
import { FileBudget } from "../tree/file-budget.ts";

/** The manifests of one node: service → text, and why others have none. */
export interface NodeTexts {
  texts: Readonly<Record<string, string>>;
  faults: Readonly<Record<string, FileFault>>;
}

/**
 * Reads the manifests of one node.
 * @param own false for another node's, of which no more is read than any node has
 */
export function readManifests(directory: string, own: boolean): NodeTexts {
  const texts: [string, string][] = [];
  const faults: [string, FileFault][] = [];
  let leftBytes = own ? Number.POSITIVE_INFINITY : LARGEST_NODE_BYTES;
  for (const { name, path } of listManifests(directory).slice(0, own ? undefined : MOST_MANIFESTS)) {
    const read = leftBytes > 0 ? readPlainText(path) : undefined;
    if (read === undefined) break;
    if (!read.ok) faults.push([name, read.fault]);
    else {
      texts.push([name, read.text]);
      leftBytes -= read.text.length;
    }
  }
  // Not by assignment: a file called __proto__.toml is to be refused by its name, not lost without a word.
  return { texts: Object.fromEntries(texts), faults: Object.fromEntries(faults) };
}

/** Every entry that could be a manifest, whatever it is; a name that is no UTF-8 is shown as people can read it. */
function listManifests(directory: string): { name: string; path: Buffer }[] {
  const entries = readdirSync(directory, { withFileTypes: true, encoding: "buffer" });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => ({ file: decodeName(entry.name), path: joinBytes(directory, entry.name) }))
    .filter(({ file }) => file.endsWith(".toml") && !file.startsWith("."))
    .map(({ file, path }) => ({ name: file.slice(0, -".toml".length), path }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/** Reads the files below a node's directory that are no manifests. A link that leads out of it gives nothing. */
export async function readFiles(directory: string): Promise<FileBudget> {
  const budget = new FileBudget();
  const root = realpathSync(directory);
  for await (const { path } of walkEntries({ kind: "directory", name: "", path: root }, listDirectory)) {
    const isManifest = !path.includes("/") && path.endsWith(".toml");
    if (!isManifest) budget.add(path, readPlainFile(followLink(root, path), root));
  }
  return budget;
}

/** Where a link inside the directory leads; anything else is what it is. */
function followLink(root: string, path: string): string {
  const here = join(root, path);
  try {
    const real = realpathSync(here);
    return real.startsWith(`${root}${sep}`) ? real : here;
  } catch {
    return here;
  }
}

interface DiskEntry extends WalkedEntry {
  path: string;
}

/** What a directory holds, in order; nothing where it cannot be read. A name that is no UTF-8 cannot be named by a manifest. */
async function listDirectory({ path }: DiskEntry): Promise<DiskEntry[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries
    .filter(({ name }) => !name.includes("\uFFFD"))
    .map((entry) => ({
      kind: entry.isDirectory() ? "directory" : "file",
      name: entry.name,
      path: join(path, entry.name),
    }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

function joinBytes(directory: string, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${directory}${sep}`), name]);
}
