// Finds, in any commit, the objects that are a node's inputs: its directory and fleet.toml. Objects are compared by id, and
// a history of a thousand commits is walked by it, so it reads no more than it must. Runs in the child that fetches.

import type { SnapshotObjects } from "../../../../shared/state/in-force.ts";
import { parseTree, type TreeEntry } from "./git-objects.ts";
import type { ObjectReader } from "./git-store.ts";

/** Whose inputs are looked for, and where. */
export interface InputQuestion {
  path: string;
  node: string;
  /** Another node whose directory is of interest. */
  peer?: string | undefined;
  /** Other nodes whose routes are rendered on this one. */
  routed?: readonly string[] | undefined;
}

/** Ids; undefined where there is no such thing. */
export interface InputObjects extends SnapshotObjects {
  /** The directory of the other node. */
  peer: string | undefined;
}

/** Reads inputs' ids, commit by commit. */
export class InputReader {
  readonly #objects: ObjectReader;
  readonly #steps: readonly string[];
  readonly #question: InputQuestion;
  /** What the last directory with manifests/ held: most commits leave it as it is. */
  #last: { id: string; found: InputObjects | undefined } | undefined;

  constructor(objects: ObjectReader, question: InputQuestion) {
    this.#objects = objects;
    this.#steps = question.path.split("/").filter((step) => step !== "" && step !== ".");
    this.#question = question;
  }

  /** Finds the inputs in a commit's tree. */
  async find(tree: string): Promise<InputObjects> {
    let root: string | undefined = tree;
    for (const step of this.#steps) root = root === undefined ? undefined : await this.#enter(root, step);
    if (root === undefined) return NOTHING;
    // The configured directory, or orca/ in it, as the manifests are found.
    const direct = await this.#read(root);
    if (direct !== undefined) return direct;
    const inner = await this.#enter(root, "orca");
    return inner === undefined ? NOTHING : ((await this.#read(inner)) ?? NOTHING);
  }

  async #enter(tree: string, name: string): Promise<string | undefined> {
    return select(await this.#list(tree), name, "directory");
  }

  async #read(id: string): Promise<InputObjects | undefined> {
    if (this.#last?.id === id) return this.#last.found;
    const entries = await this.#list(id);
    const manifests = select(entries, "manifests", "directory");
    if (manifests === undefined) return undefined;
    const nodes = await this.#list(manifests);
    const { node, peer, routed = [] } = this.#question;
    const directories = new Map(
      nodes.filter(({ kind }) => kind === "directory").map(({ name, id: own }) => [name, own]),
    );
    const found = {
      directory: directories.get(node),
      fleet: select(entries, "fleet.toml", "file"),
      peer: peer === undefined ? undefined : directories.get(peer),
      peers: Object.fromEntries(routed.flatMap((name) => pair(name, directories.get(name)))),
    };
    this.#last = { id, found };
    return found;
  }

  async #list(tree: string): Promise<TreeEntry[]> {
    return parseTree(await this.#objects.read(tree, "tree"));
  }
}

function pair(name: string, id: string | undefined): [string, string][] {
  return id === undefined ? [] : [[name, id]];
}

const NOTHING: InputObjects = { directory: undefined, fleet: undefined, peer: undefined };

function select(entries: readonly TreeEntry[], name: string, kind: TreeEntry["kind"]): string | undefined {
  return entries.find((entry) => entry.name === name && entry.kind === kind)?.id;
}
