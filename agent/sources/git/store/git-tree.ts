// Reads a node's inputs straight from a commit's tree, with no work tree in between. Links and submodules are not followed.
// Runs in the short-lived child; holds to the same limits as the directory source.

import {
  decodeText,
  type FileFault,
  faultOfKind,
  faultOfSize,
  LARGEST_FILE_BYTES,
  LARGEST_NODE_BYTES,
  type ReadBytes,
  type ReadText,
} from "../../../../shared/manifest/file-fault.ts";
import { MOST_MANIFESTS, walkEntries } from "../../tree/entry-walk.ts";
import { FileBudget } from "../../tree/file-budget.ts";
import type { ReadParts } from "../poll/git-exchange.ts";
import { GitFailure } from "../wire/git-failure.ts";
import { parseCommit, parseTree, type TreeEntry } from "./git-objects.ts";
import { type ManifestReader, type PlacedText, selectOthers, speaksOfRoutes } from "./git-select.ts";
import type { ObjectReader } from "./git-store.ts";
import type { CommitFault } from "../../../../shared/state/hold.ts";
import { OmittedFile } from "./git-partial.ts";
import type { RoutedCache } from "./git-routed-cache.ts";

/** Whose inputs are read, and from where. */
export interface TreeQuestion {
  commit: string;
  path: string;
  node: string;
  branch: string;
}

/** Reads everything once; throws a `GitFailure` where the repository is not what it should be. */
export async function readTree(
  objects: ObjectReader,
  question: TreeQuestion,
  cache: RoutedCache,
): Promise<Omit<ReadParts, "rewritten" | "notes">> {
  const { tree, info } = parseCommit(await objects.read(question.commit, "commit"));
  const reader: TreeReader = new TreeReader(objects, question);
  const { root, shown, manifests } = await reader.findLayout(tree);
  const nodes = manifests.filter(({ kind, name }) => kind === "directory" && !name.startsWith("."));
  const ownTree = nodes.find(({ name }) => name === question.node);
  if (ownTree === undefined) {
    const there = nodes.map(({ name }) => name).slice(0, 20);
    const directory = `${shown}manifests/${question.node}`;
    reader.refuse({ code: "no-node-directory", directory, there, more: nodes.length - there.length });
  }
  const fleet = root.find(({ name }) => name === "fleet.toml");
  if (fleet !== undefined && fleet.kind !== "file")
    reader.refuse({ code: "no-file", kind: fleet.kind, path: `${shown}fleet.toml` });
  const { texts: own, faults } = await reader.readManifests(ownTree);
  // Whose routes are rendered: all other nodes' manifests are looked into, and are fetched together.
  if (own.some(({ text }) => text.includes("template")))
    await reader.prepare(nodes.filter(({ id, name }) => name !== question.node && !cache.has(id)));
  const others = await selectOthers(own, reader.others(nodes, cache));
  const { files, faults: fileFaults } = await reader.readFiles(ownTree);
  return {
    revision: question.commit,
    commit: info,
    objects: { directory: ownTree.id, fleet: fleet?.id },
    shown,
    fleet: fleet === undefined ? undefined : await reader.readFleet(fleet, `${shown}fleet.toml`),
    manifests: [...own, ...others].map(({ node, service, text }) => ({ node, service, content: Buffer.from(text) })),
    files: [...files].map(([path, content]) => ({ path, content })),
    faults: { manifests: [...faults], files: [...fileFaults] },
  };
}

const NOT_FOLLOWED = {
  directory: "a directory",
  link: "a link, which is not followed",
  submodule: "a submodule, which is not followed",
  special: "an entry of a kind that Git does not write",
} as const;

/** What a server sent that is no tree gives nothing; anything else is a fault of the store. */
function forgive(error: unknown): TreeEntry[] {
  if (error instanceof GitFailure) return [];
  throw error;
}

/** Another node's directory that is larger than what is taken is that node's trouble, and unknown here. */
function forgiveSize(error: unknown): undefined {
  if (!(error instanceof GitFailure && error.lasting)) throw error;
}

/** A file that the server did not send, since it is larger than any that is read. */
function readOmitted(error: unknown): undefined {
  if (!(error instanceof OmittedFile)) throw error;
}

class TreeReader {
  readonly #objects: ObjectReader;
  readonly #question: TreeQuestion;
  readonly #trees = new Map<string, TreeEntry[]>();

  constructor(objects: ObjectReader, question: TreeQuestion) {
    this.#objects = objects;
    this.#question = question;
  }

  refuse(why: CommitFault): never {
    const { commit, branch } = this.#question;
    throw new GitFailure({ code: "commit-unusable", commit, branch, why }, { lasting: true });
  }

  /** Finds the directory that holds manifests/: the configured one, or `orca/` in it. */
  async findLayout(tree: string): Promise<{ root: TreeEntry[]; shown: string; manifests: TreeEntry[] }> {
    const steps = this.#question.path.split("/").filter((step) => step !== "" && step !== ".");
    let root = await this.#readTree(tree);
    for (const [index, step] of steps.entries()) {
      const entry = root.find(({ name }) => name === step);
      if (entry?.kind !== "directory") this.refuse({ code: "no-path", directory: steps.slice(0, index + 1).join("/") });
      root = await this.#readTree(entry.id);
    }
    const shown = steps.map((step) => `${step}/`).join("");
    const found =
      (await this.#findManifests(root, shown)) ??
      (await this.#findManifests(await this.#enter(root, "orca"), `${shown}orca/`));
    return found ?? this.refuse({ code: "no-manifests", shown });
  }

  async #findManifests(
    root: TreeEntry[],
    shown: string,
  ): Promise<{ root: TreeEntry[]; shown: string; manifests: TreeEntry[] } | undefined> {
    const entry = root.find(({ name, kind }) => name === "manifests" && kind === "directory");
    return entry === undefined ? undefined : { root, shown, manifests: await this.#readTree(entry.id) };
  }

  async #enter(root: TreeEntry[], name: string): Promise<TreeEntry[]> {
    const entry = root.find((candidate) => candidate.name === name && candidate.kind === "directory");
    return entry === undefined ? [] : this.#readTree(entry.id);
  }

  /** The manifests of one node; what is no readable text has a fault, so that it is not taken for a removal. */
  async readManifests(directory: TreeEntry): Promise<{ texts: PlacedText[]; faults: Map<string, FileFault> }> {
    const texts: PlacedText[] = [];
    const faults = new Map<string, FileFault>();
    for (const entry of selectManifests(await this.#readTree(directory.id))) {
      const service = entry.name.slice(0, -".toml".length);
      const read = await this.#readText(entry, directory.id);
      if (read.ok) texts.push({ node: directory.name, service, text: read.text });
      else faults.set(service, read.fault);
    }
    return { texts, faults };
  }

  /** Other nodes' directories that come to too much together are fetched one by one, as they are read. */
  async prepare(directories: readonly TreeEntry[]): Promise<void> {
    await this.#objects.prepare?.(directories.map(({ id }) => id)).catch(forgiveSize);
  }

  others(nodes: readonly TreeEntry[], cache: RoutedCache): ManifestReader {
    const byName = new Map(nodes.map((entry) => [entry.name, entry]));
    const list = async (node: string): Promise<TreeEntry[]> => {
      const entry = byName.get(node);
      // A directory of another node that cannot be read is that node's trouble.
      const entries = entry === undefined ? [] : await this.#readTree(entry.id).catch(forgive);
      return selectManifests(entries).slice(0, MOST_MANIFESTS);
    };
    const readOther = (node: string, entry: TreeEntry): Promise<ReadText | undefined> =>
      this.#readText(entry, byName.get(node)?.id).catch(forgiveSize);
    return {
      nodes: [...byName.keys()],
      readOne: async (node, service) => {
        const entry = (await list(node)).find(({ name }) => name === `${service}.toml`);
        const read = entry === undefined ? undefined : await readOther(node, entry);
        return read?.ok === true ? read.text : undefined;
      },
      readRouted: (node) =>
        cache.find(byName.get(node)?.id ?? "", async () => {
          const routed: [string, string][] = [];
          let leftBytes = LARGEST_NODE_BYTES;
          for (const entry of await list(node)) {
            const read = leftBytes > 0 ? await readOther(node, entry) : undefined;
            if (read?.ok !== true || !speaksOfRoutes(read.text)) continue;
            routed.push([entry.name.slice(0, -".toml".length), read.text]);
            leftBytes -= read.text.length;
          }
          return new Map(routed);
        }),
    };
  }

  /** The files below a node's directory that are no manifests. */
  async readFiles(directory: TreeEntry): Promise<FileBudget> {
    const budget = new FileBudget();
    for await (const { path, entry } of walkEntries(directory, ({ id }) => this.#readTree(id).catch(forgive))) {
      if (!path.includes("/") && path.endsWith(".toml")) continue;
      budget.add(path, await this.#readFile(entry, directory.id));
    }
    return budget;
  }

  async readFleet(entry: TreeEntry, path: string): Promise<Uint8Array> {
    const read = await this.#readFile(entry);
    return read.ok ? read.content : this.refuse({ code: "file-not-taken", path, message: read.fault.message });
  }

  async #readFile({ id, kind }: TreeEntry, within?: string): Promise<ReadBytes> {
    if (kind !== "file") return { ok: false, fault: faultOfKind(NOT_FOLLOWED[kind]) };
    const content = await this.#objects.read(id, "blob", within).catch(readOmitted);
    if (content === undefined) return { ok: false, fault: faultOfSize(undefined) };
    return content.length > LARGEST_FILE_BYTES
      ? { ok: false, fault: faultOfSize(content.length) }
      : { ok: true, content };
  }

  async #readText(entry: TreeEntry, within?: string): Promise<ReadText> {
    const read = await this.#readFile(entry, within);
    return read.ok ? decodeText(read.content) : read;
  }

  async #readTree(id: string): Promise<TreeEntry[]> {
    const known = this.#trees.get(id) ?? parseTree(await this.#objects.read(id, "tree"));
    this.#trees.set(id, known);
    return known;
  }
}

function selectManifests(entries: readonly TreeEntry[]): TreeEntry[] {
  return entries.filter(({ kind, name }) => kind !== "directory" && name.endsWith(".toml") && !name.startsWith("."));
}
