// What an engine shows of containers, and what it keeps of them on its disk, as places where a secret could have been left. Asks
// over its socket what `docker inspect` asks. Used by the sweeps.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { CanaryFinder } from "./canary.ts";
import {
  ask,
  joinLooked,
  listFiles,
  type Looked,
  readIfPossible,
  searchFile,
  searchFiles,
  searchText,
} from "./canary-places.ts";
import { readRun, RUN } from "../engine/run-name.ts";

/** An environment variable whose value `docker inspect` shows because its manifest asks for that. */
interface VisibleVariable {
  service: string;
  name: string;
}

/** Where an engine's things are. */
export interface EnginePlace {
  socketPath: string;
  /** The engine is asked where it is not said. */
  dataRoot?: string;
  execRoot: string;
}

export const MACHINE_ENGINE: EnginePlace = {
  socketPath: "/var/run/docker.sock",
  execRoot: "/run/docker",
};

interface Row {
  Id: string;
  Labels: Readonly<Record<string, string>>;
}

/** What another run on this machine has made is still at work, and is searched by that run. */
function isOfAnotherRun(labels: Row["Labels"]): boolean {
  const run = readRun(labels["orca.node"] ?? "");
  return run !== undefined && run !== RUN;
}

interface Inspected {
  Id: string;
  Config?: { Labels?: Record<string, string>; Image?: string };
  ExecIDs?: string[] | null;
  Image?: string;
  GraphDriver?: { Data?: { UpperDir?: string } };
}

async function askEngine<T>({ socketPath }: EnginePlace, path: string): Promise<T | undefined> {
  const text = await ask({ socketPath }, path);
  const at = text?.indexOf("}") ?? -1;
  if (text === undefined || at === -1) return undefined;
  try {
    return JSON.parse(text.slice(at + 1)) as T;
  } catch {
    return undefined;
  }
}

/** What a search at an engine is limited to, and what it knows to be shown. */
export interface EngineSearch {
  /** The node whose things are looked at; every one without it. */
  node?: string | undefined;
  visible?: readonly VisibleVariable[] | undefined;
  /** Services that print their own secrets: their own log at the engine is theirs. */
  talkative?: readonly string[] | undefined;
}

/** Who looks for what, and where. */
interface Place {
  finder: CanaryFinder;
  engine: EnginePlace & { dataRoot: string };
}

/** Looks at everything an engine shows of a node, and at what it keeps of it on its disk. */
export async function searchEngine(finder: CanaryFinder, place: EnginePlace, search: EngineSearch): Promise<Looked> {
  const { node } = search;
  const engine = { ...place, dataRoot: place.dataRoot ?? (await findDataRoot(place)) };
  const filters =
    node === undefined ? "" : `&filters=${encodeURIComponent(JSON.stringify({ label: [`orca.node=${node}`] }))}`;
  const rows = await askEngine<Row[]>(engine, `/containers/json?all=1${filters}`);
  if (rows === undefined)
    throw new Error(`the engine at ${engine.socketPath} does not answer: nothing can be searched`);
  const looked: Looked[] = [];
  for (const { Id, Labels } of rows)
    if (!isOfAnotherRun(Labels)) looked.push(await searchContainer({ finder, engine }, Id, search));
  for (const path of [`/networks?x${filters}`, `/volumes?x${filters}`, "/images/json?all=1", "/info"])
    looked.push(searchText(finder, `the engine's ${path}`, (await ask(engine, path)) ?? ""));
  const until = (Date.now() / 1_000).toFixed(3);
  looked.push(
    searchText(finder, "docker events", (await ask(engine, `/events?since=1&until=${until}${filters}`)) ?? ""),
  );
  return joinLooked(looked);
}

/** Where the engine keeps what it keeps. */
async function findDataRoot(place: EnginePlace): Promise<string> {
  const root = (await askEngine<{ DockerRootDir?: string }>(place, "/info"))?.DockerRootDir;
  if (root === undefined) throw new Error(`the engine at ${place.socketPath} does not answer: nothing can be searched`);
  return root;
}

async function searchContainer(
  place: Place,
  Id: string,
  { visible = [], talkative = [] }: EngineSearch,
): Promise<Looked> {
  const { finder, engine } = place;
  const looked: Looked[] = [];
  const detail = await askEngine<Inspected>(engine, `/containers/${Id}/json`);
  if (detail === undefined) return joinLooked(looked);
  const service = detail.Config?.Labels?.["orca.service"] ?? "";
  const shown = visible.filter((entry) => entry.service === service).map(({ name }) => name);
  looked.push(searchText(finder, `docker inspect ${service}`, JSON.stringify(hideVariables(detail, shown))));
  for (const exec of detail.ExecIDs ?? [])
    looked.push(searchText(finder, `docker exec in ${service}`, (await ask(engine, `/exec/${exec}/json`)) ?? ""));
  if (detail.Image !== undefined)
    looked.push(
      searchText(
        finder,
        `docker image inspect ${detail.Image}`,
        (await ask(engine, `/images/${detail.Image}/json`)) ?? "",
      ),
    );
  const places = [
    join(engine.dataRoot, "containers", Id),
    join(engine.execRoot, "containerd", "daemon", "io.containerd.runtime.v2.task", "moby", Id),
  ];
  const isLog = (path: string): boolean => /-json\.log|local-logs/.test(path);
  // The engine mounts the container's root, with the delivered files in it, where its bundle is.
  const isSkipped = (path: string): boolean => path.endsWith("/rootfs") || (talkative.includes(service) && isLog(path));
  for (const kept of places) looked.push(searchConfigFiles(finder, kept, { isSkipped, shown }));
  const upper = detail.GraphDriver?.Data?.UpperDir;
  if (upper !== undefined) looked.push(searchFiles(finder, upper));
  return joinLooked(looked);
}

function searchConfigFiles(
  finder: CanaryFinder,
  root: string,
  { isSkipped, shown }: { isSkipped: (path: string) => boolean; shown: readonly string[] },
): Looked {
  return joinLooked(
    [...listFiles(root, isSkipped)].map((path) => {
      if (shown.length === 0 || !path.endsWith(".json")) return searchFile(finder, path);
      const content = readIfPossible(() => readFileSync(path));
      if (content === undefined) return { count: 0, hits: [] };
      return searchText(finder, path, hideInFile(content, shown));
    }),
  );
}

/** A file of an engine that lost power may have been cut off: then all of it is looked at. */
function hideInFile(content: Buffer, shown: readonly string[]): string | Buffer {
  try {
    return JSON.stringify(hideVariables(JSON.parse(content.toString("utf8")), shown));
  } catch {
    return content;
  }
}

/** The same without `NAME=value` of these names, wherever in it. */
function hideVariables(value: unknown, names: readonly string[]): unknown {
  if (names.length === 0) return value;
  if (Array.isArray(value)) {
    return value
      .filter((entry) => typeof entry !== "string" || !names.some((name) => entry.startsWith(`${name}=`)))
      .map((entry) => hideVariables(entry, names));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, hideVariables(entry, names)]));
}
