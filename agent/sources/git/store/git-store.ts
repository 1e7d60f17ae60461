// The child's clone: a store that holds the newest commit alone (depth 1), indexed and read with isomorphic-git. It is a
// cache: whatever is wrong with it, it is fetched anew beside and swapped, and so it does not grow without bound.
// Loaded in the short-lived child only: isomorphic-git never becomes part of the agent's memory.

import { createHash } from "node:crypto";
import { promises as files } from "node:fs";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { indexPack, type PromiseFsClient, readObject } from "isomorphic-git";

import { makeDirectory } from "../../../host/files/make-directory.ts";
import type { GitLocation } from "../poll/git-exchange.ts";
import { PackReceiver } from "../wire/git-pack.ts";
import type { GitRemote, PackWish } from "../wire/git-remote.ts";

/** What is written down beside the objects. */
interface StoreNotes {
  url: string;
  branch: string;
  tip: string;
  parents: readonly string[];
  /** Earlier tips, to see a branch that was set back. */
  seen: readonly string[];
  fetches: number;
  /** True where files are left out. */
  partial?: boolean;
}

/** A store is fetched anew after so many fetches: each adds a pack. */
const MOST_FETCHES = 64;
const MOST_SEEN = 64;
const NOTES = "orca.json";
const PACKS = join("objects", "pack");
/** A pack that is not yet whole and indexed; what a killed process left of one is removed. */
const INCOMING = "incoming";
const PACK_NAME = /^pack-(\d{6})-[0-9a-f]{40}\.(?:pack|idx)$/;

/** What bounds one fetch. */
type FetchLimits = Omit<PackWish, "have" | "sink" | "wants" | "depth" | "filter">;

/** No file at all: those that are needed are asked for by themselves. */
const WITHOUT_FILES = "blob:none";

/** Reads objects by id, each checked against its id. */
export interface ObjectReader {
  /** @param within the directory that a file stands in, where that is known */
  read(id: string, type: "commit" | "tree" | "blob" | "tag", within?: string): Promise<Uint8Array>;
  /** Says that files of these directories will be read. */
  prepare?(directories: readonly string[]): Promise<void>;
}

const MISSING = Object.assign(new Error("there are no loose objects"), { code: "ENOENT" });

/**
 * The file system as isomorphic-git sees it: packs in the order in which they came. It looks for a loose object, at the directory and for packs before each of
 * 20,000 reads; no loose object is ever written here, and the rest stays as it is until another pack comes.
 */
function openFiles(): PromiseFsClient {
  const stats = new Map<string, ReturnType<typeof stat>>();
  const lists = new Map<string, Promise<string[]>>();
  return {
    promises: {
      ...files,
      readFile: (path: string, options: Parameters<typeof readFile>[1] = null) =>
        /\/objects\/[0-9a-f]{2}\//.test(path) ? Promise.reject(MISSING) : readFile(path, options),
      stat: (path: string) => recall(stats, path, () => stat(path)),
      readdir: (path: string) => recall(lists, path, async () => (await readdir(path)).toSorted()),
    },
  };
}

function recall<T>(known: Map<string, T>, key: string, find: () => T): T {
  const value = known.get(key) ?? find();
  known.set(key, value);
  return value;
}

/** One store. */
export class GitStore implements ObjectReader {
  #directory: string;
  readonly #location: GitLocation;
  #cache = {};
  #files = openFiles();
  /** What was known before the next fetch, of this store or of the one that this replaces. */
  #notes: StoreNotes | undefined;
  /** The commit whose objects are here. */
  #tip: string | undefined;
  /** Set where files are left out of what is fetched. */
  isPartial = false;

  private constructor(directory: string, location: GitLocation, notes: StoreNotes | undefined) {
    this.#directory = directory;
    this.#location = location;
    this.#notes = notes;
  }

  /** Opens the store of earlier fetches; undefined where there is none of this branch. */
  static async open(directory: string, location: GitLocation): Promise<GitStore | undefined> {
    try {
      for (const name of await readdir(join(directory, PACKS)))
        if (name.startsWith(INCOMING)) await rm(join(directory, PACKS, name));
        // An earlier version's packs have no order.
        else if (!PACK_NAME.test(name)) return undefined;
      const notes = JSON.parse(await readFile(join(directory, NOTES), "utf8")) as StoreNotes;
      if (notes.url !== location.url || notes.branch !== location.branch) return undefined;
      const store = new GitStore(directory, location, notes);
      store.#tip = notes.tip;
      store.isPartial = notes.partial === true;
      return store;
    } catch {
      return undefined;
    }
  }

  /** Makes an empty store in place of whatever is there; it knows the tips that an older one knew. */
  static async create(directory: string, location: GitLocation, older: GitStore | undefined): Promise<GitStore> {
    await rm(directory, { recursive: true, force: true });
    await makeDirectory(join(directory, PACKS), 0o700);
    const notes = older === undefined ? undefined : older.#notes;
    return new GitStore(directory, location, notes === undefined ? undefined : { ...notes, fetches: 0 });
  }

  /** The commit of the last whole fetch; undefined in an empty store. */
  get tip(): string | undefined {
    return this.#tip;
  }

  /** True for a store that has grown enough to be fetched anew. */
  async isWorn(limitBytes: number): Promise<boolean> {
    return (this.#notes?.fetches ?? 0) >= MOST_FETCHES || (await measurePacks(this.#directory)) > 2 * limitBytes;
  }

  /** Fetches the branch's newest commit; answers its id. Nothing is in the store that did not come whole. */
  async fetch(remote: GitRemote, limits: FetchLimits): Promise<string> {
    return this.#receive(remote, { ...limits, wants: undefined, depth: 1 });
  }

  /** Fetches so many commits of the branch, counted from the tip that is here. */
  async deepen(remote: GitRemote, depth: number, limits: FetchLimits): Promise<void> {
    if (this.#tip !== undefined) await this.#receive(remote, { ...limits, wants: [this.#tip], depth });
  }

  /** Fetches objects that a ref of the server names, and the commits behind them. */
  async fetchObjects(remote: GitRemote, ids: readonly string[], limits: FetchLimits): Promise<void> {
    if (ids.length > 0) await this.#receive(remote, { ...limits, wants: ids, depth: 1 });
  }

  /**
   * Fetches files, and whole directories but for files of more than so many bytes: the server judges their size, so that
   * no such file is sent.
   */
  async fetchFiles(
    remote: GitRemote,
    ids: readonly string[],
    limits: FetchLimits & { largestBytes: number },
  ): Promise<void> {
    const { largestBytes, ...others } = limits;
    const filter = `blob:limit=${largestBytes + 1}`;
    await this.#receivePack(remote, { ...others, wants: ids, depth: undefined, have: undefined, filter });
  }

  async #receive(remote: GitRemote, wish: Omit<PackWish, "have" | "sink" | "filter">): Promise<string> {
    return this.#receivePack(remote, { ...wish, have: this.tip, filter: this.isPartial ? WITHOUT_FILES : undefined });
  }

  async #receivePack(remote: GitRemote, wish: Omit<PackWish, "sink">): Promise<string> {
    const incoming = join(this.#directory, PACKS, INCOMING);
    const receiver = await PackReceiver.create(incoming);
    try {
      const tip = await remote.fetchPack({ ...wish, sink: (piece) => receiver.push(piece) });
      const { checksum, objects } = await receiver.finish();
      if (objects > 0) await this.#index(incoming, checksum);
      return tip;
    } finally {
      await receiver.close();
      await rm(incoming, { force: true });
    }
  }

  /** Records a whole fetch; answers whether the branch is known to have been rewritten since the one before. */
  async finish(tip: string, parents: readonly string[]): Promise<boolean> {
    const { url, branch } = this.#location;
    const before = this.#notes;
    const seen = [...(before?.seen ?? []), ...(before === undefined ? [] : [before.tip])].slice(-MOST_SEEN);
    const fetches = (before?.fetches ?? 0) + 1;
    const partial = this.isPartial;
    this.#notes = { url, branch, tip, parents, seen: seen.filter((id) => id !== tip), fetches, partial };
    this.#tip = tip;
    await writeFile(join(this.#directory, `${NOTES}.new`), JSON.stringify(this.#notes));
    await rename(join(this.#directory, `${NOTES}.new`), join(this.#directory, NOTES));
    return before !== undefined && isRewritten(before, tip, parents);
  }

  /** Puts this store in the place of another. */
  async moveTo(directory: string): Promise<void> {
    await rm(`${directory}.old`, { recursive: true, force: true });
    await rename(directory, `${directory}.old`).catch(ignoreMissing);
    await rename(this.#directory, directory);
    [this.#directory, this.#cache, this.#files] = [directory, {}, openFiles()];
    await rm(`${directory}.old`, { recursive: true, force: true });
  }

  /** True for an object that is here. */
  async has(id: string): Promise<boolean> {
    const object = readObject({
      fs: this.#files,
      gitdir: this.#directory,
      cache: this.#cache,
      oid: id,
      format: "content",
    });
    return object.then(
      () => true,
      (error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "NotFoundError") return false;
        throw error;
      },
    );
  }

  async read(id: string, type: "commit" | "tree" | "blob" | "tag"): Promise<Uint8Array> {
    const found = await readObject({
      fs: this.#files,
      gitdir: this.#directory,
      cache: this.#cache,
      oid: id,
      format: "content",
    });
    const content = found.object as Uint8Array;
    // The index of a pack is trusted for places only: what is read must be what was asked for.
    const hash = createHash("sha1").update(`${type} ${content.length}\0`).update(content).digest("hex");
    if (found.type !== type || hash !== id) throw new Error(`the store is damaged: ${id} is not what it says`);
    return content;
  }

  /**
   * Packs are numbered, and looked into from the oldest on. A thin pack leans on older ones only, but the same object can be
   * in several: A in the first, B as its difference to A in the second, and after a revert A again as its difference to B in
   * the third. Whoever takes A from there and B from the second never ends.
   */
  async #namePack(checksum: string): Promise<string> {
    const known = (await readdir(join(this.#directory, PACKS))).flatMap((name) => PACK_NAME.exec(name)?.[1] ?? []);
    const number = Math.max(0, ...known.map(Number)) + 1;
    return `pack-${String(number).padStart(6, "0")}-${checksum}`;
  }

  /** Indexes a pack under the incoming name: it counts once its index stands beside it. */
  async #index(incoming: string, checksum: string): Promise<void> {
    await rename(incoming, `${incoming}.pack`);
    await indexPack({
      fs: this.#files,
      dir: this.#directory,
      gitdir: this.#directory,
      cache: this.#cache,
      filepath: join(PACKS, `${INCOMING}.pack`),
    });
    const name = join(this.#directory, PACKS, await this.#namePack(checksum));
    await rename(`${incoming}.pack`, `${name}.pack`);
    await rename(`${incoming}.idx`, `${name}.idx`);
    this.#files = openFiles();
  }
}

/** True where the old tip cannot be an ancestor of the new one; most rewrites are an amended or a dropped commit. */
function isRewritten(before: StoreNotes, tip: string, parents: readonly string[]): boolean {
  if (tip === before.tip || parents.includes(before.tip)) return false;
  if (parents.length === 0) return true;
  return before.seen.includes(tip) || before.parents.includes(tip) || parents.join() === before.parents.join();
}

async function measurePacks(directory: string): Promise<number> {
  let sizeBytes = 0;
  for (const name of await readdir(join(directory, PACKS)))
    sizeBytes += (await stat(join(directory, PACKS, name))).size;
  return sizeBytes;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
