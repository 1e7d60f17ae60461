// Where backups lie: what every kind of repository does, one contract for all of them (test/contract/repository.ts). Types only.

/** The folder of one store in a repository. */
export interface StoreFolder {
  node: string;
  service: string;
  store: string;
  /** Of the objects that its listings name, those whose names begin so; empty for all of them, which only `sweep` takes. */
  shard?: string;
  /** Of a store with a stream: `base`, or where a timeline of its log lies. */
  area?: string | undefined;
  /** Of a spare in the node's place: what the folders of its term are called (backup-path.ts). Set by termed-repository.ts alone. */
  term?: string | undefined;
}

/** A spare's time in a node's place: the term of its takeover, and when it began on that machine, to the second. */
export interface PlaceTerm {
  number: number;
  beganMs: number;
}

/** Of a repository that is read through the terms of a node's place: whose each file is. */
export interface TermReading {
  /** Where a published file lies; the own term's folder for one that is nowhere. */
  locate(folder: StoreFolder, name: string): Promise<StoreFolder>;
  /** When a later term began: what was made in this folder from then on is of a machine that had lost its place. */
  findEndMs(folder: StoreFolder): Promise<number>;
}

/** A file that is being written. Nothing is seen under its name before `publish`. */
export interface PendingFile {
  /** Resolves once more may be written. The first error is the last: nothing is published after one. */
  write(chunk: Uint8Array): Promise<void>;
  /** Makes it seen under its name, whole and on disk. Fails where something has that name: nothing is overwritten. */
  publish(): Promise<void>;
  /** Leaves nothing behind; fine at any time, and again. */
  abandon(): Promise<void>;
}

/** One repository. Each call throws a `RepositoryError` that says which place, what, and why. */
export interface Repository {
  readonly name: string;
  /** The names of all that is published in a folder; empty for one that is not there yet. */
  list(folder: StoreFolder): Promise<string[]>;
  create(folder: StoreFolder, name: string): Promise<PendingFile>;
  /** A piece holds what it held until the next one is asked for. */
  read(folder: StoreFolder, name: string): AsyncIterable<Uint8Array>;
  /** A small text, whole. */
  readText(folder: StoreFolder, name: string): Promise<string>;
  /** Writes a small text in one step, in place of what was there: for records alone. */
  replaceText(folder: StoreFolder, name: string, text: string): Promise<void>;
  /** One that is gone is fine. */
  remove(folder: StoreFolder, name: string): Promise<void>;
  /** Takes away what a run that was killed has left: files that were never published. */
  sweep(folder: StoreFolder): Promise<void>;
  /** What can still be written, in bytes; undefined where nobody can say. */
  freeBytes(): Promise<number | undefined>;
  /** What the terms are called that a store has folders of, in any order. */
  listTerms(folder: StoreFolder): Promise<string[]>;
  /** Left out where all that lies there is one machine's. */
  readonly terms?: TermReading;
}

/** A repository could not do what was asked. */
export class RepositoryError extends Error {
  constructor(what: string, options?: { cause?: unknown }) {
    const cause = options?.cause instanceof Error ? `: ${options.cause.message}` : "";
    super(`${what}${cause}`, options);
    this.name = "RepositoryError";
  }
}
