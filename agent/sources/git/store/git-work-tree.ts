// The Git repository around a directory, as far as commands need it: what a revision's name stands for, and the objects. No
// git program is run, nothing is written. isomorphic-git is loaded here: for commands only, never for the agent.

import { promises as files, realpathSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";

import { expandOid, readObject, resolveRef } from "isomorphic-git";

import { parseCommit } from "./git-objects.ts";
import type { ObjectReader } from "./git-store.ts";
import { describeCount } from "../../../../shared/text/count.ts";

/** Nobody counts further back than this by hand. */
const MOST_STEPS = 10_000;

/** A commit that a revision's name stands for. */
export interface FoundRevision {
  sha: string;
  tree: string;
  trailers: readonly (readonly [key: string, value: string])[];
}

/** A repository with a work tree on disk. */
export class GitWorkTree implements ObjectReader {
  /** The directory that is checked out. */
  readonly root: string;
  /** Where HEAD is: not the same as the rest in one of several work trees. */
  readonly #own: string;
  /** Where refs are. */
  readonly #common: string;
  /** Where objects are looked for, one after the other. */
  readonly #stores: readonly string[];
  readonly #cache = {};

  private constructor(root: string, own: string, common: string, stores: readonly string[]) {
    this.root = root;
    this.#own = own;
    this.#common = common;
    this.#stores = stores;
  }

  /** Finds the repository that a directory lies in; throws where it lies in none. */
  static async open(directory: string): Promise<GitWorkTree> {
    const start = realpathSync(directory);
    for (let at = start; ; at = dirname(at)) {
      const own = await findGitDirectory(at);
      if (own !== undefined) {
        const common = await readCommonDirectory(own);
        return new GitWorkTree(at, own, common, [common, ...(await listAlternates(common))]);
      }
      if (dirname(at) === at)
        throw new Error(`${directory} is not in a Git work tree: check it out with git, or leave --against out`);
    }
  }

  /** Where a directory of the work tree stands in it, with `/`; empty for its root. */
  locate(directory: string): string {
    return relative(this.root, realpathSync(directory)).split(sep).join("/");
  }

  /**
   * Looks up a revision: a branch, `origin/main`, a tag, `HEAD`, a whole or short commit id, each also with `~n` and `^n`.
   * Throws with what to do where there is none.
   */
  async findRevision(name: string): Promise<FoundRevision> {
    const [, base = "", steps = ""] = /^(.*?)((?:~\d*|\^\d*)*)$/.exec(name) ?? [];
    let sha = await this.#peel(await this.#resolve(base === "@" ? "HEAD" : base, name), name);
    for (const parent of listSteps(steps)) sha = await this.#findParent(sha, parent, name);
    const { tree, info } = parseCommit(await this.#readFor(sha, name));
    return { sha, tree, trailers: info.trailers };
  }

  async read(id: string, type: "commit" | "tree" | "blob"): Promise<Uint8Array> {
    const found = await this.#readAny(id);
    if (found === undefined)
      throw new Error(`the Git repository at ${this.root} has no ${type} ${id}: it is not whole`);
    if (found.type !== type) throw new Error(`${id} is a ${found.type} and no ${type}`);
    return found.content;
  }

  async #resolve(base: string, name: string): Promise<string> {
    const head = base === "HEAD" ? await readHead(this.#own) : base;
    if (/^[0-9a-f]{40}$/.test(head)) return head;
    // As Git itself, no name leads out of the repository.
    if (isRefName(head)) {
      const found = await resolveRef({ fs: files, gitdir: this.#common, ref: head }).catch(() => undefined);
      if (found !== undefined) return found;
    }
    if (/^[0-9a-f]{4,39}$/.test(head)) {
      for (const gitdir of this.#stores) {
        const found = await expandOid({ fs: files, gitdir, oid: head, cache: this.#cache }).catch(() => undefined);
        if (found !== undefined) return found;
      }
    }
    throw new Error(describeUnknown(name));
  }

  /** Follows annotated tags to their commit. */
  async #peel(id: string, name: string): Promise<string> {
    let at = id;
    for (let hop = 0; hop < 10; hop += 1) {
      const found = await this.#readAny(at);
      if (found === undefined) throw new Error(describeUnknown(name));
      if (found.type === "commit") return at;
      const [, target] = /^object ([0-9a-f]{40})\n/.exec(Buffer.from(found.content).toString("latin1")) ?? [];
      if (found.type !== "tag" || target === undefined) break;
      at = target;
    }
    throw new Error(`${name} is no commit and no tag of one`);
  }

  async #findParent(sha: string, parent: number, name: string): Promise<string> {
    const { parents } = parseCommit(await this.#readFor(sha, name));
    const id = parents[parent - 1];
    if (id === undefined)
      throw new Error(`there is no ${name}: commit ${sha.slice(0, 12)} has ${describeCount(parents.length, "parent")}`);
    return id;
  }

  async #readFor(sha: string, name: string): Promise<Uint8Array> {
    const found = await this.#readAny(sha);
    if (found !== undefined) return found.content;
    throw new Error(
      `${name} cannot be read: commit ${sha.slice(0, 12)} is not in this clone, which is shallow or not whole; ` +
        "fetch more of it, such as git fetch --unshallow, or fetch-depth: 0 in a workflow",
    );
  }

  async #readAny(oid: string): Promise<{ type: string; content: Uint8Array } | undefined> {
    for (const gitdir of this.#stores) {
      try {
        const { type, object } = await readObject({ fs: files, gitdir, oid, cache: this.#cache, format: "content" });
        return { type, content: object as Uint8Array };
      } catch (error) {
        if ((error as { code?: string }).code !== "NotFoundError") throw error;
      }
    }
    return undefined;
  }
}

/** Which parent is gone to, step by step: `~2` is the first one twice, `^2` the second one, `^0` none. */
function listSteps(steps: string): number[] {
  return [...steps.matchAll(/([~^])(\d*)/g)].flatMap(([, sign, digits = ""]) => {
    const count = digits === "" ? 1 : Number(digits);
    if (sign === "~") return Array.from({ length: Math.min(count, MOST_STEPS) }, () => 1);
    return count === 0 ? [] : [count];
  });
}

/** `.git` is a directory, or in a linked work tree or a submodule a file that says where it is. */
async function findGitDirectory(directory: string): Promise<string | undefined> {
  const path = join(directory, ".git");
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined) return undefined;
  if (info.isDirectory()) return path;
  const [, target] = /^gitdir: (.+)$/m.exec(await readFile(path, "utf8")) ?? [];
  if (target === undefined) throw new Error(`${path} does not say where the Git repository is`);
  return resolve(directory, target.trim());
}

async function readCommonDirectory(own: string): Promise<string> {
  const text = await readFile(join(own, "commondir"), "utf8").catch(() => ".");
  return resolve(own, text.trim());
}

/** Other stores that this one borrows objects from. */
async function listAlternates(common: string): Promise<string[]> {
  const objects = join(common, "objects");
  const text = await readFile(join(objects, "info", "alternates"), "utf8").catch(() => "");
  const paths = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return paths.map((path) => dirname(isAbsolute(path) ? path : resolve(objects, path)));
}

/** What HEAD stands for: a ref or a commit. */
async function readHead(own: string): Promise<string> {
  return (await readFile(join(own, "HEAD"), "utf8")).trim().replace(/^ref: /, "");
}

function isRefName(name: string): boolean {
  return /^[^\s~^:?*[\\-][^\s~^:?*[\\]*$/.test(name) && !name.includes("..") && !name.startsWith("/");
}

function describeUnknown(name: string): string {
  const [, remote, branch] = /^(origin|upstream)\/([^~^]+)/.exec(name) ?? [];
  const fetch = remote === undefined ? "git fetch" : `git fetch ${remote} ${branch}`;
  return `there is no revision ${JSON.stringify(name)} in this clone: fetch it first (${fetch}), or correct the name`;
}
