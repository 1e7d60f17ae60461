// A whole manifests repository as a commit or a directory on disk has it, read by the rules of the Git source: links and
// submodules are not followed. For commands that look at every node at once; the agent reads its own part only.

import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { parseTree, type TreeEntry } from "./git-objects.ts";
import type { ObjectReader } from "./git-store.ts";
import { LARGEST_FILE_BYTES, type Layout } from "./repository-layout.ts";

/** One node's directory. */
export interface NodeTree {
  /** Service → text. */
  manifests: Readonly<Record<string, string>>;
  /** Every other file below it, by relative path. */
  files: Readonly<Record<string, Uint8Array>>;
}

/** A whole repository. */
export interface RepositoryTree {
  fleet: string | undefined;
  nodes: ReadonlyMap<string, NodeTree>;
}

/** A file or a directory, wherever it stands. */
interface Entry {
  kind: TreeEntry["kind"];
  name: string;
}

/** Gives entries and contents of one kind of place. */
interface TreeAccess<E extends Entry> {
  list(directory: E): Promise<E[]>;
  read(file: E): Promise<Uint8Array>;
}

/** Contents by Git's id of a blob: what a commit shares with the disk need not be looked up in a pack. */
export type KnownBlobs = Map<string, Uint8Array>;

interface DiskEntry extends Entry {
  path: string;
}

/**
 * Reads the repository on disk.
 * @param known takes every content by the id that Git has for it
 */
export async function readDiskTree(layout: Layout, known: KnownBlobs): Promise<RepositoryTree> {
  const access: TreeAccess<DiskEntry> = {
    list: (directory) => Promise.resolve(listDisk(directory.path)),
    read: (file) => {
      const content = readFileSync(file.path);
      known.set(hashBlob(content), content);
      return Promise.resolve(content);
    },
  };
  return readTreeFrom(access, { kind: "directory", name: "", path: layout.root });
}

/**
 * Reads the repository of a commit.
 * @param tree the id of the tree at the repository's root
 * @param path the directory in it that holds `orca/`, or `orca/` itself
 * @returns undefined where it has no manifests
 */
export async function readCommitTree(
  objects: ObjectReader,
  place: { tree: string; path: string },
  known: KnownBlobs,
): Promise<RepositoryTree | undefined> {
  const access: TreeAccess<TreeEntry> = {
    list: async ({ id }) => parseTree(await objects.read(id, "tree")),
    read: async ({ id }) => known.get(id) ?? objects.read(id, "blob"),
  };
  let root: TreeEntry = { kind: "directory", name: "", id: place.tree };
  const enter = async (name: string): Promise<TreeEntry | undefined> =>
    (await access.list(root)).find((entry) => entry.name === name && entry.kind === "directory");
  for (const step of place.path.split("/").filter((part) => part !== "")) {
    const next = await enter(step);
    if (next === undefined) return undefined;
    root = next;
  }
  if ((await enter("manifests")) === undefined) {
    const inner = await enter("orca");
    if (inner === undefined) return undefined;
    root = inner;
    if ((await enter("manifests")) === undefined) return undefined;
  }
  return readTreeFrom(access, root);
}

async function readTreeFrom<E extends Entry>(access: TreeAccess<E>, root: E): Promise<RepositoryTree> {
  const top = await access.list(root);
  const fleet = top.find(({ name }) => name === "fleet.toml");
  const manifests = top.find(({ name, kind }) => name === "manifests" && kind === "directory");
  const nodes = new Map<string, NodeTree>();
  for (const entry of manifests === undefined ? [] : await access.list(manifests)) {
    if (entry.kind === "directory" && !entry.name.startsWith(".")) nodes.set(entry.name, await readNode(access, entry));
  }
  return { fleet: fleet === undefined ? undefined : await readText(access, fleet), nodes };
}

async function readNode<E extends Entry>(access: TreeAccess<E>, directory: E): Promise<NodeTree> {
  const manifests: [string, string][] = [];
  const files: [string, Uint8Array][] = [];
  const walk = async (from: E, prefix: string): Promise<void> => {
    for (const entry of await access.list(from)) {
      const path = `${prefix}${entry.name}`;
      const isManifest = prefix === "" && entry.name.endsWith(".toml");
      if (entry.kind === "directory") await walk(entry, `${path}/`);
      else if (isManifest && !entry.name.startsWith("."))
        manifests.push([entry.name.slice(0, -".toml".length), await readText(access, entry)]);
      else if (entry.kind === "file" && !isManifest) files.push([path, await readBounded(access, entry)]);
    }
  };
  await walk(directory, "");
  // Not by assignment: a file called __proto__.toml is to be refused by its name, not lost without a word.
  return { manifests: Object.fromEntries(manifests), files: Object.fromEntries(files) };
}

/** A link is kept as a text that is invalid, so that it is not taken for a removal. */
async function readText<E extends Entry>(access: TreeAccess<E>, entry: E): Promise<string> {
  if (entry.kind !== "file") return `${entry.kind}s-are-not-followed = true\n`;
  return Buffer.from(await readBounded(access, entry)).toString("utf8");
}

async function readBounded<E extends Entry>(access: TreeAccess<E>, entry: E): Promise<Uint8Array> {
  const content = await access.read(entry);
  if (content.length > LARGEST_FILE_BYTES) throw new Error(`${entry.name} is larger than 1 MiB`);
  return content;
}

function listDisk(directory: string): DiskEntry[] {
  const entries: DiskEntry[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const kind = entry.isDirectory() ? "directory" : entry.isFile() ? "file" : "link";
    if (kind === "file" && lstatSync(path).size > LARGEST_FILE_BYTES) throw new Error(`${path} is larger than 1 MiB`);
    entries.push({ kind, name: entry.name, path });
  }
  // As Git has them: the order of the bytes.
  return entries.toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

function hashBlob(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}
