// A repository as a spare sees it that stands in a node's place: it writes into folders of its own term, and reads those of all terms
// before it, the latest first. Made by repository-place.ts. It must never write or sweep in a folder of another machine.

import { parseWalStamp } from "../wal/core/wal-object.ts";
import { BASE_AREA } from "../wal/core/choose-base.ts";
import { joinFolder, nameTerm, parseTerm } from "./backup-path.ts";
import type { PendingFile, PlaceTerm, Repository, StoreFolder, TermReading } from "./repository-port.ts";

/** One term's folders: without a name those of the machine that had the place first. */
interface Stretch {
  name: string | undefined;
  number: number;
  beganMs: number;
  /** When the next one began. */
  endMs: number;
}

/** Reads a repository through the terms up to one's own. */
export function readThroughTerms(repository: Repository, own: PlaceTerm): Repository {
  const terms = new Terms(repository, own);
  return {
    name: repository.name,
    terms,
    list: (folder) => terms.list(folder),
    create: (folder, file) => terms.create(folder, file),
    read: (folder, file) => terms.read(folder, file),
    readText: async (folder, file) => repository.readText(await terms.locate(folder, file), file),
    replaceText: async (folder, file, text) => repository.replaceText(await terms.locate(folder, file), file, text),
    remove: (folder, file) => terms.remove(folder, file),
    // What another machine is writing is not this one's to take away.
    sweep: (folder) => repository.sweep(inTerm(folder, nameTerm(own))),
    freeBytes: () => repository.freeBytes(),
    listTerms: (folder) => repository.listTerms(folder),
  };
}

class Terms implements TermReading {
  readonly #repository: Repository;
  readonly #own: PlaceTerm;
  /** By store, what was found there when it was first asked for; the latest first. */
  readonly #stretches = new Map<string, Promise<Stretch[]>>();
  /** By folder, what was last seen there, and what was made since. */
  readonly #names = new Map<string, Set<string>>();

  constructor(repository: Repository, own: PlaceTerm) {
    this.#repository = repository;
    this.#own = own;
  }

  /** The names in the folders of all terms; those of a log only up to when its machine had lost its place. */
  async list(folder: StoreFolder): Promise<string[]> {
    const names = new Set<string>();
    for (const { name, endMs } of await this.#list(folder))
      for (const entry of await this.#look(inTerm(folder, name)))
        if (!isLog(folder) || (parseWalStamp(entry) ?? 0) < endMs) names.add(entry);
    return [...names];
  }

  async create(folder: StoreFolder, file: string): Promise<PendingFile> {
    const own = inTerm(folder, nameTerm(this.#own));
    const pending = await this.#repository.create(own, file);
    return {
      ...pending,
      write: (chunk) => pending.write(chunk),
      publish: async () => {
        await pending.publish();
        this.#names.get(joinFolder(own))?.add(file);
      },
      abandon: () => pending.abandon(),
    };
  }

  async locate(folder: StoreFolder, file: string): Promise<StoreFolder> {
    for (const { name } of await this.#list(folder)) {
      const place = inTerm(folder, name);
      const names = this.#names.get(joinFolder(place)) ?? new Set(await this.#look(place));
      if (names.has(file)) return place;
    }
    return inTerm(folder, nameTerm(this.#own));
  }

  async findEndMs(folder: StoreFolder): Promise<number> {
    const found = (await this.#list(folder)).find(({ name }) => name === folder.term);
    return found?.endMs ?? Number.POSITIVE_INFINITY;
  }

  async *read(folder: StoreFolder, file: string): AsyncIterable<Uint8Array> {
    if (!isMany(folder)) return yield* this.#repository.read(await this.locate(folder, file), file);
    // Their names are of one object only, wherever it lies, and listing thousands for each is too much.
    let failure: unknown;
    for (const { name } of await this.#list(folder)) {
      const pieces = this.#repository.read(inTerm(folder, name), file)[Symbol.asyncIterator]();
      let first: IteratorResult<Uint8Array>;
      try {
        first = await pieces.next();
      } catch (error) {
        failure ??= error;
        continue;
      }
      if (first.done !== true) yield first.value;
      return yield* { [Symbol.asyncIterator]: () => pieces };
    }
    throw failure;
  }

  async remove(folder: StoreFolder, file: string): Promise<void> {
    const places = isMany(folder)
      ? (await this.#list(folder)).map(({ name }) => inTerm(folder, name))
      : [await this.locate(folder, file)];
    for (const place of places) {
      await this.#repository.remove(place, file);
      this.#names.get(joinFolder(place))?.delete(file);
    }
  }

  async #look(place: StoreFolder): Promise<string[]> {
    const names = await this.#repository.list(place);
    if (!isMany(place)) this.#names.set(joinFolder(place), new Set(names));
    return names;
  }

  #list(folder: StoreFolder): Promise<Stretch[]> {
    const key = `${folder.node}/${folder.service}/${folder.store}`;
    const known =
      this.#stretches.get(key) ?? this.#repository.listTerms(folder).then((names) => orderStretches(names, this.#own));
    this.#stretches.set(key, known);
    // What could not be asked is asked again.
    known.catch(() => this.#stretches.delete(key));
    return known;
  }
}

/** The latest first. Terms above one's own are another machine's that has this one's place by now. */
function orderStretches(names: readonly string[], own: PlaceTerm): Stretch[] {
  const ownName = nameTerm(own);
  const terms = names.flatMap((name): Omit<Stretch, "endMs">[] => {
    const term = parseTerm(name);
    const isBefore =
      term !== undefined &&
      (term.number < own.number || (term.number === own.number && term.beganMs <= own.beganMs && name !== ownName));
    return isBefore ? [{ name, ...term }] : [];
  });
  const order = terms.toSorted((one, other) => one.number - other.number || one.beganMs - other.beganMs);
  const all = [
    { name: undefined, number: 0, beganMs: Number.NEGATIVE_INFINITY },
    ...order,
    { name: ownName, number: own.number, beganMs: parseTerm(ownName)?.beganMs ?? own.beganMs },
  ];
  return all
    .map((term, at) => ({ ...term, endMs: Math.min(...all.slice(at + 1).map(({ beganMs }) => beganMs)) }))
    .toReversed();
}

/** The same folder in a term; undefined for those of the machine that had the place first. */
function inTerm({ node, service, store, shard, area }: StoreFolder, term: string | undefined): StoreFolder {
  return {
    node,
    service,
    store,
    ...(shard === undefined ? {} : { shard }),
    ...(area === undefined ? {} : { area }),
    ...(term === undefined ? {} : { term }),
  };
}

function isLog({ area }: StoreFolder): boolean {
  return area !== undefined && area !== BASE_AREA;
}

function isMany(folder: StoreFolder): boolean {
  return folder.shard !== undefined || isLog(folder);
}
