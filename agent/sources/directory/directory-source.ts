// The directory source: a manifests repository on this host's disk, watched with chokidar. The embedded default.
// A directory that cannot be read is a failure and never an empty one.

import { createHash } from "node:crypto";
import { lstatSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTick } from "node:timers/promises";

import type { FileFaults } from "../../../shared/manifest/file-fault.ts";
import { describeFault } from "../../../shared/text/problem.ts";
import type { Snapshot, Source, SourceReading } from "../../../shared/state/snapshot.ts";
import { type Clock, nameMoment } from "../../host/os/clock.ts";
import { readPlainText } from "../../host/files/plain-file.ts";
import { type NodeTexts, readFiles, readManifests } from "./directory-tree.ts";
import { findLayout, type Layout, listNodes } from "../tree/repository-layout.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What the source needs. */
export interface DirectorySourceOptions {
  directory: string;
  node: string;
  clock: Clock;
}

/** A change is read once the directory has been quiet for so long: an editor or a checkout writes many files in turn. */
const QUIET_MS = 100;
/** `orca/manifests/NODE` and what is read below it. */
const DEEPEST_WATCHED = 36;
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
    if (this.#last !== undefined && !this.#stale && nowMs - this.#readMs < waitMs) return this.#name(this.#last);
    this.#stale = false;
    this.#readMs = nowMs;
    try {
      const snapshot = await readSnapshot(this.#options);
      const before = this.#last?.kind === "read" ? this.#last.snapshot : undefined;
      // The same content is the same object, so that what was built from it need not be built again.
      const same = before !== undefined && contentKey(before) === contentKey(snapshot);
      this.#last = { kind: "read", snapshot: same ? before : snapshot, readMs: 0 };
    } catch (error) {
      const message = readMessage(error);
      this.#last = { kind: "failed", why: { code: "unread", fault: { code: "said", message } }, retryMs: undefined };
    }
    return this.#name(this.#last);
  }

  /** When it was read, and is tried again, is named by the wall clock as it stands now: it may have been set since. */
  #name(reading: SourceReading): SourceReading {
    const { clock } = this.#options;
    if (reading.kind !== "failed") return { ...reading, readMs: nameMoment(clock, this.#readMs) };
    return { ...reading, retryMs: nameMoment(clock, this.#readMs + RETRY_MS) };
  }

  async watch(onHint: () => void): Promise<void> {
    const { watch } = await import("chokidar");
    // The directory that holds the repository is watched, since a whole orca/ may be swapped under its name.
    const watched = new Set(await listRoots(this.#options.directory));
    const watcher = watch([...watched], {
      ignoreInitial: true,
      ignored: /(^|[/\\])\.git([/\\]|$)/,
      // A link in the repository may lead to the root of the disk.
      followSymlinks: false,
      depth: DEEPEST_WATCHED,
    });
    const follow = async (): Promise<void> => {
      for (const root of await listRoots(this.#options.directory)) {
        if (!watched.has(root)) watcher.add(root);
        watched.add(root);
      }
    };
    let cancel: (() => void) | undefined;
    watcher.on("all", () => {
      cancel?.();
      cancel = this.#options.clock.after(QUIET_MS, () => {
        this.#stale = true;
        void follow();
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

/** What is watched: the directory, and `orca/` and `manifests/` where those two are links to somewhere else. */
async function listRoots(directory: string): Promise<string[]> {
  const places = ["", "orca", "manifests", "orca/manifests"].map((inner) => join(directory, inner));
  const real = await Promise.all(places.map((place) => realpath(place).catch(() => undefined)));
  const roots = [...new Set(real.filter((path) => path !== undefined))];
  return roots.filter((path) => !roots.some((other) => other !== path && path.startsWith(`${other}/`)));
}

const contentKeys = new WeakMap<Snapshot, string>();

function contentKey(snapshot: Snapshot): string {
  return contentKeys.get(snapshot) ?? "";
}

/** Reads everything once; throws where the repository itself or its fleet.toml cannot be read. */
async function readSnapshot({ directory, node }: DirectorySourceOptions): Promise<Snapshot> {
  const layout = await findLayout(directory);
  const nodes = await listNodes(layout);
  if (!nodes.includes(node)) {
    throw new Error(`${layout.shown}manifests/ has no directory ${node}; there are ${nodes.join(", ") || "none"}`);
  }
  const fleet = readFleet(layout);
  const found = new Map<string, NodeTexts>();
  for (const name of nodes) {
    found.set(name, readNode(join(layout.root, "manifests", name), name === node));
    // A small file is read faster than it is waited for; what else the agent does goes on between nodes.
    await nextTick();
  }
  const { files, faults: fileFaults } = await readFiles(join(layout.root, "manifests", node));
  const faults: FileFaults = {
    manifests: Object.fromEntries([...found].map(([name, { faults: list }]) => [name, list])),
    files: Object.fromEntries(fileFaults),
  };
  const manifests = Object.fromEntries([...found].map(([name, { texts }]) => [name, texts]));
  const own = hashInputs(fleet, manifests[node] ?? {}, { files, faults: [faults.manifests[node], faults.files] });
  const snapshot: Snapshot = {
    revision: `dir:${own.slice(0, 12)}`,
    fleet,
    manifests,
    files: Object.fromEntries(files),
    faults,
    describeFile: (place, service) => `${layout.shown}manifests/${place}/${service}.toml`,
    fleetFile: `${layout.shown}fleet.toml`,
  };
  contentKeys.set(snapshot, hashInputs(own, flatten(manifests), { files: new Map(), faults: faults.manifests }));
  return snapshot;
}

/** Without fleet.toml there is none; one that is no readable file is no reason to believe that there is none. */
function readFleet(layout: Layout): string | undefined {
  const path = join(layout.root, "fleet.toml");
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  const read = readPlainText(path);
  if (read.ok) return read.text;
  throw new Error(`${layout.shown}fleet.toml: ${describeFault({ key: "", ...read.fault })}`);
}

/** Another node's directory that cannot be read is that node's trouble, and unknown here. */
function readNode(directory: string, own: boolean): NodeTexts {
  try {
    return readManifests(directory, own);
  } catch (error) {
    if (own) throw error;
    return { texts: {}, faults: {} };
  }
}

function flatten(manifests: Snapshot["manifests"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(manifests).flatMap(([node, list]) =>
      Object.entries(list).map(([name, text]) => [`${node}/${name}`, text]),
    ),
  );
}

/** A hash over a node's inputs, whatever the order they were read in; what could not be read is one of them. */
function hashInputs(
  fleet: string | undefined,
  manifests: Readonly<Record<string, string>>,
  { files, faults }: { files: ReadonlyMap<string, Uint8Array>; faults: unknown },
): string {
  const hash = createHash("sha256");
  const add = (name: string, content: string | Uint8Array): void => {
    hash.update(`${name.length}:${name}${content.length}:`).update(content);
  };
  add("fleet", fleet ?? "");
  for (const name of Object.keys(manifests).toSorted()) add(`m/${name}`, manifests[name] ?? "");
  for (const name of [...files.keys()].toSorted()) add(`f/${name}`, files.get(name) ?? new Uint8Array());
  // A repository in order has the revision that it had before faults were known.
  const said = JSON.stringify(faults);
  if (/"code":/.test(said)) add("faults", said);
  return hash.digest("hex");
}
