// Reads a node's inputs straight from a commit's tree, with no work tree in between. Links and submodules are not followed.
// Runs in the short-lived child; holds to the same limits as the directory source.

import type { ReadParts } from "./git-exchange.ts";
import { GitFailure } from "./git-failure.ts";
import { parseCommit, parseTree, type TreeEntry } from "./git-objects.ts";
import { type ManifestReader, type PlacedText, selectOthers, speaksOfRoutes } from "./git-select.ts";
import type { ObjectReader } from "./git-store.ts";
import { LARGEST_FILE_BYTES, LARGEST_TOTAL_BYTES } from "./repository-layout.ts";
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
    const known = nodes.map(({ name }) => name).slice(0, 20);
    const more = nodes.length > known.length ? `, and ${nodes.length - known.length} more` : "";
    reader.refuse(
      `has no directory ${shown}manifests/${question.node}; there are ${known.join(", ") || "none"}${more}`,
    );
  }
  const fleet = root.find(({ name }) => name === "fleet.toml");
  if (fleet !== undefined && fleet.kind !== "file")
    reader.refuse(`has a ${fleet.kind} in place of the file ${shown}fleet.toml`);
  const own = await reader.readManifests(ownTree);
  const others = await selectOthers(own, reader.others(nodes, cache));
  return {
    revision: question.commit,
    commit: info,
    objects: { directory: ownTree.id, fleet: fleet?.id },
    shown,
    fleet: fleet === undefined ? undefined : await reader.readFile(fleet, `${shown}fleet.toml`),
    manifests: [...own, ...others].map(({ node, service, text }) => ({ node, service, content: Buffer.from(text) })),
    files: await reader.readFiles(ownTree, ""),
  };
}

class TreeReader {
  readonly #objects: ObjectReader;
  readonly #question: TreeQuestion;
  readonly #trees = new Map<string, TreeEntry[]>();
  #totalBytes = 0;

  constructor(objects: ObjectReader, question: TreeQuestion) {
    this.#objects = objects;
    this.#question = question;
  }

  refuse(what: string): never {
    const { commit, branch } = this.#question;
    throw new GitFailure(`commit ${commit.slice(0, 12)} of ${branch} ${what}`, { lasting: true });
  }

  /** Finds the directory that holds manifests/: the configured one, or `orca/` in it. */
  async findLayout(tree: string): Promise<{ root: TreeEntry[]; shown: string; manifests: TreeEntry[] }> {
    const steps = this.#question.path.split("/").filter((step) => step !== "" && step !== ".");
    let root = await this.#readTree(tree);
    for (const [index, step] of steps.entries()) {
      const entry = root.find(({ name }) => name === step);
      if (entry?.kind !== "directory")
        this.refuse(`has no directory ${steps.slice(0, index + 1).join("/")}: correct source.git.path`);
      root = await this.#readTree(entry.id);
    }
    const shown = steps.map((step) => `${step}/`).join("");
    const found =
      (await this.#findManifests(root, shown)) ??
      (await this.#findManifests(await this.#enter(root, "orca"), `${shown}orca/`));
    return found ?? this.refuse(`has no directory ${shown}manifests: expected ${shown}manifests/<node>/<service>.toml`);
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

  /** The manifests of one node. A link is kept as a service that is invalid, so that it is not taken for a removal. */
  async readManifests(directory: TreeEntry): Promise<PlacedText[]> {
    const texts: PlacedText[] = [];
    for (const entry of selectManifests(await this.#readTree(directory.id))) {
      const place = { node: directory.name, service: entry.name.slice(0, -".toml".length) };
      texts.push({ ...place, text: await this.#readText(entry, `${directory.name}/${entry.name}`) });
    }
    return texts;
  }

  others(nodes: readonly TreeEntry[], cache: RoutedCache): ManifestReader {
    const byName = new Map(nodes.map((entry) => [entry.name, entry]));
    const list = async (node: string): Promise<TreeEntry[]> => {
      const entry = byName.get(node);
      return entry === undefined ? [] : selectManifests(await this.#readTree(entry.id));
    };
    return {
      nodes: [...byName.keys()],
      readOne: async (node, service) => {
        const entry = (await list(node)).find(({ name }) => name === `${service}.toml`);
        return entry === undefined ? undefined : this.#readText(entry, `${node}/${entry.name}`);
      },
      readRouted: (node) =>
        cache.find(byName.get(node)?.id ?? "", async () => {
          const routed: [string, string][] = [];
          for (const entry of await list(node)) {
            const text = await this.#readText(entry, `${node}/${entry.name}`);
            if (speaksOfRoutes(text)) routed.push([entry.name.slice(0, -".toml".length), text]);
          }
          return new Map(routed);
        }),
    };
  }

  /** The files below a node's directory that are no manifests. */
  async readFiles(directory: TreeEntry, prefix: string): Promise<{ path: string; content: Uint8Array }[]> {
    const files: { path: string; content: Uint8Array }[] = [];
    for (const entry of await this.#readTree(directory.id)) {
      const path = `${prefix}${entry.name}`;
      if (entry.kind === "directory") files.push(...(await this.readFiles(entry, `${path}/`)));
      if (entry.kind !== "file" || (prefix === "" && entry.name.endsWith(".toml"))) continue;
      const content = await this.readFile(entry, path);
      this.#totalBytes += content.length;
      if (this.#totalBytes > LARGEST_TOTAL_BYTES) this.refuse(`has more than 32 MiB of files for this node`);
      files.push({ path, content });
    }
    return files;
  }

  async readFile(entry: TreeEntry, path: string): Promise<Uint8Array> {
    const content = await this.#objects.read(entry.id, "blob");
    if (content.length > LARGEST_FILE_BYTES) this.refuse(`has a file that is larger than 1 MiB: ${path}`);
    return content;
  }

  async #readText(entry: TreeEntry, path: string): Promise<string> {
    if (entry.kind !== "file") return `${entry.kind}s-are-not-followed = true\n`;
    return Buffer.from(await this.readFile(entry, path)).toString("utf8");
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
