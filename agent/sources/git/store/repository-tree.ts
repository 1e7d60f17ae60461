// A whole manifests repository as a commit or a directory on disk has it, read by the rules of the Git source: links and
// submodules are not followed. For commands that look at every node at once; the agent reads its own part only.

import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import {
  decodeText,
  type FileFault,
  faultOfKind,
  faultOfSize,
  LARGEST_FILE_BYTES,
  type ReadBytes,
  type ReadText,
} from "../../../../shared/manifest/file-fault.ts";
import { readPlainFile } from "../../../host/files/plain-file.ts";
import { walkEntries } from "../../tree/entry-walk.ts";
import { FileBudget } from "../../tree/file-budget.ts";
import { parseTree, type TreeEntry } from "./git-objects.ts";
import type { ObjectReader } from "./git-store.ts";
import type { Layout } from "../../tree/repository-layout.ts";

/** One node's directory. */
export interface NodeTree {
  /** Service → text. */
  manifests: Readonly<Record<string, string>>;
  /** Every other file below it, by relative path. */
  files: Readonly<Record<string, Uint8Array>>;
  /** Why others of its manifests and files gave nothing. */
  faults: { manifests: Readonly<Record<string, FileFault>>; files: Readonly<Record<string, FileFault>> };
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
  read(file: E): Promise<ReadBytes>;
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
      const read = readPlainFile(file.path);
      if (read.ok) known.set(hashBlob(read.content), read.content);
      return Promise.resolve(read);
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
    read: async ({ id }) => bound(known.get(id) ?? (await objects.read(id, "blob"))),
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
  return { fleet: fleet === undefined ? undefined : await readFleet(access, fleet), nodes };
}

async function readNode<E extends Entry>(access: TreeAccess<E>, directory: E): Promise<NodeTree> {
  const manifests: [string, string][] = [];
  const faults: [string, FileFault][] = [];
  const budget = new FileBudget();
  for await (const { path, entry } of walkEntries(directory, (from) => access.list(from))) {
    const isManifest = !path.includes("/") && path.endsWith(".toml");
    if (!isManifest && entry.kind === "file") budget.add(path, await access.read(entry));
    if (!isManifest || path.startsWith(".")) continue;
    const service = path.slice(0, -".toml".length);
    const read = await readText(access, entry);
    if (read.ok) manifests.push([service, read.text]);
    else faults.push([service, read.fault]);
  }
  // Not by assignment: a file called __proto__.toml is to be refused by its name, not lost without a word.
  return {
    manifests: Object.fromEntries(manifests),
    files: Object.fromEntries(budget.files),
    faults: { manifests: Object.fromEntries(faults), files: Object.fromEntries(budget.faults) },
  };
}

/** What is no file has a fault, so that it is not taken for a removal. */
async function readText<E extends Entry>(access: TreeAccess<E>, entry: E): Promise<ReadText> {
  if (entry.kind !== "file") return { ok: false, fault: faultOfKind(`a ${entry.kind}, which is not followed`) };
  const read = await access.read(entry);
  return read.ok ? decodeText(read.content) : read;
}

function bound(content: Uint8Array): ReadBytes {
  return content.length > LARGEST_FILE_BYTES
    ? { ok: false, fault: faultOfSize(content.length) }
    : { ok: true, content };
}

/** fleet.toml decides for all: without it there is nothing to compare. */
async function readFleet<E extends Entry>(access: TreeAccess<E>, entry: E): Promise<string> {
  const read = await readText(access, entry);
  if (read.ok) return read.text;
  throw new Error(`fleet.toml: ${read.fault.message}; ${read.fault.hint}`);
}

function listDisk(directory: string): DiskEntry[] {
  const entries = readdirSync(directory, { withFileTypes: true }).map((entry): DiskEntry => {
    const path = join(directory, entry.name);
    const kind = entry.isDirectory()
      ? "directory"
      : entry.isFile()
        ? "file"
        : entry.isSymbolicLink()
          ? "link"
          : "special";
    return { kind, name: entry.name, path };
  });
  // As Git has them: the order of the bytes.
  return entries.toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

function hashBlob(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}
