// The search for marked secrets at the end of a node's life, and at the end of a lane. What was searched is written into the
// lane's list, so that an agent that nobody searched after is noticed.

import { readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import type { CanaryFinder } from "./canary.ts";
import { type CanaryLane, findLane, MARK_FINDER } from "./canary-lane.ts";
import { type EnginePlace, type EngineSearch, MACHINE_ENGINE, searchEngine } from "./canary-engine.ts";
import {
  ask,
  joinLooked,
  type Looked,
  searchAnswers,
  searchCores,
  searchFiles,
  searchProcesses,
  searchText,
} from "./canary-places.ts";
import { readJournal } from "./real-journal.ts";

/** Where one agent could have left something. */
export interface NodePlaces extends EngineSearch {
  node: string;
  stateDir: string;
  engine?: EnginePlace;
  /** Where it answers on loopback, while it runs. */
  listen?: string | undefined;
  /** Its socket, while it runs. */
  socketPath?: string | undefined;
  /** What it printed, told and was told, by name. */
  texts?: Readonly<Record<string, string>>;
  /** More directories that it writes to. */
  directories?: readonly string[];
  /** Why this agent was never given a marked secret; without it, that is a failure. */
  unread?: string;
  finder?: CanaryFinder;
}

/** What a search looked at, by place, and what it found. */
export interface SweepReport {
  looked: Record<string, number>;
  hits: { where: string; what: string }[];
}

const READ_PATHS = [
  "/",
  "/healthz",
  "/readyz",
  "/metrics",
  "/events",
  "/v1/status",
  "/v1/fleet",
  "/fleet",
  "/v1/cold-start",
  "/cold-start",
];

/** Looks everywhere; answers what was looked at and found. */
export async function sweepNode(places: NodePlaces): Promise<SweepReport> {
  const { finder = MARK_FINDER, engine = MACHINE_ENGINE, listen, socketPath, texts = {}, stateDir } = places;
  const parts: Record<string, Looked> = {
    engine: await searchEngine(finder, engine, places),
    processes: searchProcesses(finder),
    files: joinLooked([stateDir, ...(places.directories ?? [])].map((directory) => searchFiles(finder, directory))),
    output: joinLooked(Object.entries(texts).map(([name, text]) => searchText(finder, name, text))),
  };
  if (listen !== undefined) parts["loopback"] = await searchAnswers(finder, { listen }, await listPaths({ listen }));
  if (socketPath !== undefined) {
    const paths = [...(await listPaths({ socketPath })), "/v1/plan"];
    parts["socket"] = await searchAnswers(finder, { socketPath }, paths);
  }
  return {
    looked: Object.fromEntries(Object.entries(parts).map(([name, { count }]) => [name, count])),
    hits: Object.values(parts).flatMap(({ hits }) => hits),
  };
}

async function listPaths(from: { listen: string } | { socketPath: string }): Promise<string[]> {
  const text = (await ask(from, "/v1/status")) ?? "";
  const services = [...new Set([...text.matchAll(/"name": ?"([\w-]+)"/g)].map((match) => match[1] ?? ""))];
  return [...READ_PATHS, ...services.flatMap((service) => [`/why/${service}`, `/v1/why/${service}`])];
}

/**
 * Searches after a node of the lane and fails when anything is found, or when there was nothing to find.
 * @param after is done in any case: it clears away what was searched
 */
export async function expectNoSecretLeft(
  places: NodePlaces,
  after: () => Promise<unknown> = async () => undefined,
): Promise<SweepReport> {
  try {
    return await search(places);
  } finally {
    await after();
  }
}

async function search(places: NodePlaces): Promise<SweepReport> {
  const begunMs = performance.now();
  const report = await sweepNode(places);
  const { stateDir, unread } = places;
  const tookMs = Math.round(performance.now() - begunMs);
  findLane()?.note({ kind: "searched", stateDir, looked: report.looked, tookMs });
  if (report.hits.length > 0) throw new Error(`${places.node} left secrets behind:\n${describeHits(report)}`);
  const sealed = readdirSync(stateDir).includes("secrets.sealed");
  if (!sealed && unread === undefined)
    throw new Error(
      `${places.node} never read a marked secret: its search proves nothing (give it some, or say why not)`,
    );
  return report;
}

function describeHits({ hits }: SweepReport): string {
  return hits.map(({ where, what }) => `  ${where}: ${what}`).join("\n");
}

/** Searches what outlives the nodes of a lane, and fails when anything is found or an agent was not searched after. */
export async function expectCleanLane(lane: CanaryLane, sinceMs: number): Promise<SweepReport> {
  const { journal } = lane;
  const parts: Record<string, Looked> = {
    engine: await searchEngine(MARK_FINDER, MACHINE_ENGINE, {}),
    journal: journal === undefined ? { count: 0, hits: [] } : searchJournal(journal),
    temporary: joinLooked(listTemporary(sinceMs).map((path) => searchFiles(MARK_FINDER, path, isImageLayer))),
    cores: joinLooked([process.cwd(), tmpdir(), "/"].map((directory) => searchCores(MARK_FINDER, directory))),
  };
  const report: SweepReport = {
    looked: Object.fromEntries(Object.entries(parts).map(([name, { count }]) => [name, count])),
    hits: Object.values(parts).flatMap(({ hits }) => hits),
  };
  if (report.hits.length > 0) throw new Error(`the lane left secrets behind:\n${describeHits(report)}`);
  const searched = new Set(lane.entries.filter(({ kind }) => kind === "searched").map(({ stateDir }) => stateDir));
  const missed = lane.entries.filter(({ kind, stateDir }) => kind === "born" && !searched.has(stateDir));
  if (missed.length > 0) {
    const names = [...new Set(missed.map(({ stateDir }) => stateDir))].join(", ");
    throw new Error(`agents whose life ended without a search for marked secrets (expectNoSecretLeft): ${names}`);
  }
  return report;
}

function searchJournal(place: NonNullable<CanaryLane["journal"]>): Looked {
  const entries = readJournal(place);
  // One look is at the entries as journalctl shows them, the others at the files as they lie on the disk.
  const decoded = {
    ...searchText(MARK_FINDER, "the journal", entries),
    count: entries.toString("latin1").split("\n\n").length,
  };
  return joinLooked([decoded, searchFiles(MARK_FINDER, join(place.directory, "log"))]);
}

/** What tests left in the directory for such things since the lane began. */
function listTemporary(sinceMs: number): string[] {
  return readdirSync(tmpdir())
    .filter((name) => /^(orca-|oe-|core)/.test(name))
    .map((name) => join(tmpdir(), name))
    .filter((path) => (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) >= sinceMs);
}

function isImageLayer(path: string): boolean {
  return basename(path) === "overlay2" || path.endsWith("images.tar");
}
