// The directory source: a manifests repository on this host's disk, watched with chokidar. The embedded default.
// A directory that cannot be read is a failure and never an empty one.

import { createHash } from "node:crypto";
import { lstatSync, readFileSync } from "node:fs";
import { lstat, readdir, readFile, realpath } from "node:fs/promises";
import { join, relative, sep } from "node:path";

import type { Snapshot, Source, SourceReading } from "../../shared/snapshot.ts";
import type { Clock } from "../host/clock.ts";
import { findLayout, LARGEST_FILE_BYTES, LARGEST_TOTAL_BYTES, type Layout, listNodes } from "./repository-layout.ts";

/** What the source needs. */
export interface DirectorySourceOptions {
  directory: string;
  node: string;
  clock: Clock;
}

/** A change is read once the directory has been quiet for so long: an editor or a checkout writes many files in turn. */
const QUIET_MS = 100;
/** How soon a directory that could not be read is tried again. */
const RETRY_MS = 5_000;
/** Without a hint from the watcher the directory is still read again after so long: a watcher can lose events. */
const TRUST_MS = 60_000;

/** Reads one repository directory for one node. */
export class DirectorySource implements Source {
  readonly kind = "directory";
  readonly location: string;
  readonly #options: DirectorySourceOptions;
  #last: SourceReading | undefined;
  #readMs = Number.NEGATIVE_INFINITY;
  #stale = true;
  #watcher: { close(): Promise<void> } | undefined;

  constructor(options: DirectorySourceOptions) {
    this.#options = options;
    this.location = options.directory;
  }

  async read(): Promise<SourceReading> {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const waitMs = this.#last?.kind === "failed" ? RETRY_MS : TRUST_MS;
    if (this.#last !== undefined && !this.#stale && nowMs - this.#readMs < waitMs) return this.#last;
    this.#stale = false;
    this.#readMs = nowMs;
    try {
      const snapshot = await readSnapshot(this.#options);
      const before = this.#last?.kind === "read" ? this.#last.snapshot : undefined;
      // The same content is the same object, so that what was built from it need not be built again.
      const same = before !== undefined && contentKey(before) === contentKey(snapshot);
      this.#last = { kind: "read", snapshot: same ? before : snapshot, readMs: clock.nowMs() };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#last = { kind: "failed", reason, retryMs: clock.nowMs() + RETRY_MS };
    }
    return this.#last;
  }

  async watch(onHint: () => void): Promise<void> {
    const { watch } = await import("chokidar");
    // The directory that holds the repository is watched, since a whole orca/ may be swapped under its name.
    const watcher = watch(this.#options.directory, {
      ignoreInitial: true,
      ignored: /(^|[/\\])\.git([/\\]|$)/,
      followSymlinks: true,
    });
    let cancel: (() => void) | undefined;
    watcher.on("all", () => {
      cancel?.();
      cancel = this.#options.clock.after(QUIET_MS, () => {
        this.#stale = true;
        onHint();
      });
    });
    watcher.on("error", () => {
      this.#stale = true;
    });
    this.#watcher = watcher;
    await new Promise<void>((resolve) => watcher.once("ready", () => resolve()));
  }

  invalidate(): void {
    this.#stale = true;
  }

  async close(): Promise<void> {
    await this.#watcher?.close();
  }
}

const contentKeys = new WeakMap<Snapshot, string>();

function contentKey(snapshot: Snapshot): string {
  return contentKeys.get(snapshot) ?? "";
}

/** Reads everything once; throws when any part of it cannot be read. */
async function readSnapshot({ directory, node }: DirectorySourceOptions): Promise<Snapshot> {
  const layout = await findLayout(directory);
  const nodes = await listNodes(layout);
  if (!nodes.includes(node)) {
    throw new Error(`${layout.shown}manifests/ has no directory ${node}; there are ${nodes.join(", ") || "none"}`);
  }
  const fleet = await readFile(join(layout.root, "fleet.toml"), "utf8").catch(ignoreMissing);
  const manifests: Record<string, Record<string, string>> = {};
  for (const name of nodes) manifests[name] = await readManifests(layout, name);
  const files = await readFiles(join(layout.root, "manifests", node));
  const own = hashInputs(fleet, manifests[node] ?? {}, files);
  const snapshot: Snapshot = {
    revision: `dir:${own.slice(0, 12)}`,
    fleet,
    manifests,
    files,
    describeFile: (place, service) => `${layout.shown}manifests/${place}/${service}.toml`,
    fleetFile: `${layout.shown}fleet.toml`,
  };
  contentKeys.set(snapshot, hashInputs(own, flatten(manifests), {}));
  return snapshot;
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

/** The manifests of one node: service → text. */
async function readManifests(layout: Layout, node: string): Promise<Record<string, string>> {
  const directory = join(layout.root, "manifests", node);
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter(
    (entry) => !entry.isDirectory() && entry.name.endsWith(".toml") && !entry.name.startsWith("."),
  );
  const texts: [string, string][] = [];
  for (const { name } of names.toSorted((left, right) => (left.name < right.name ? -1 : 1))) {
    texts.push([name.slice(0, -".toml".length), readBounded(join(directory, name))]);
  }
  // Not by assignment: a file called __proto__.toml is to be refused by its name, not lost without a word.
  return Object.fromEntries(texts);
}

/** A small file is read faster than it is waited for: one after the other, and the loop goes on between nodes. */
function readBounded(path: string): string {
  const { size } = lstatSync(path);
  if (size > LARGEST_FILE_BYTES) throw new Error(`${path} is larger than 1 MiB`);
  return readFileSync(path, "utf8");
}

/** The files below a node's directory that are no manifests. A link that leads out of the directory is left out. */
async function readFiles(directory: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  const root = await realpath(directory);
  let totalBytes = 0;
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const shown = relative(directory, path);
    if (entry.isDirectory() || (!shown.includes(sep) && shown.endsWith(".toml"))) continue;
    const real = await realpath(path).catch(() => undefined);
    if (real === undefined || !real.startsWith(`${root}${sep}`)) continue;
    const info = await lstat(real);
    if (!info.isFile()) continue;
    totalBytes += info.size;
    if (info.size > LARGEST_FILE_BYTES) throw new Error(`${shown} is larger than 1 MiB`);
    if (totalBytes > LARGEST_TOTAL_BYTES) throw new Error(`the files of ${directory} are larger than 32 MiB together`);
    files[shown.split(sep).join("/")] = await readFile(real);
  }
  return files;
}

function flatten(manifests: Record<string, Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(manifests).flatMap(([node, list]) =>
      Object.entries(list).map(([name, text]) => [`${node}/${name}`, text]),
    ),
  );
}

/** A hash over a node's inputs, whatever the order they were read in. */
function hashInputs(
  fleet: string | undefined,
  manifests: Record<string, string>,
  files: Record<string, Uint8Array>,
): string {
  const hash = createHash("sha256");
  const add = (name: string, content: string | Uint8Array): void => {
    hash.update(`${name.length}:${name}${content.length}:`).update(content);
  };
  add("fleet", fleet ?? "");
  for (const name of Object.keys(manifests).toSorted()) add(`m/${name}`, manifests[name] ?? "");
  for (const name of Object.keys(files).toSorted()) add(`f/${name}`, files[name] ?? new Uint8Array());
  return hash.digest("hex");
}
