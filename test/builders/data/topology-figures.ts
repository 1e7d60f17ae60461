// Looks up one figure of a topology by place and key, so that a test can be a table: where the seed says it, where it
// lives, what it is. A key that leads nowhere gives undefined, which no table expects.

import { describeTarget } from "../../../shared/manifest/requirement.ts";
import { manifestAt, type Topology } from "../../../scripts/lab/cold/topology.ts";

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const MB = 1e6;
export const GB = 1e9;
export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

/** One row of a table: the seed's section, `node/service` or `fleet`, the key, and the parsed value. */
export type Figure = readonly [from: string, at: string, key: string, is: unknown];

/** The parts of a key: `routes[api.example.com/v1].rate` → routes, api.example.com/v1, rate. */
function splitKey(key: string): string[] {
  return [...key.matchAll(/\[([^\]]*)\]|([^.[\]]+)/g)].map((match) => match[1] ?? match[2] ?? "");
}

/** An entry of a list is found by its name, its host and path, its target, or its place in the list. */
function selectEntry(list: readonly unknown[], wanted: string): unknown {
  return list.find((entry, index) => {
    if (typeof entry !== "object" || entry === null) return false;
    const { name, host, path, target } = entry as Record<string, unknown>;
    const place = typeof host === "string" ? `${host}${typeof path === "string" ? path : ""}` : undefined;
    return name === wanted || place === wanted || target === wanted || String(index) === wanted;
  });
}

function readPath(value: unknown, key: string): unknown {
  let at = value;
  for (const part of splitKey(key)) {
    if (Array.isArray(at)) at = selectEntry(at, part);
    else if (typeof at === "object" && at !== null) at = (at as Record<string, unknown>)[part];
    else return undefined;
  }
  return at;
}

/**
 * Reads a figure. Besides the manifest's own keys there are `option[--x]` (the argument after it, or after `--x=`),
 * `setting[x]` (PostgreSQL's `-c x=…`) and, at `fleet`, the keys of fleet.toml.
 */
export function readFigure(topology: Topology, at: string, key: string): unknown {
  if (at === "fleet") return readPath(topology.fleet, key);
  const manifest = manifestAt(topology, at);
  const [kind, name = ""] = splitKey(key);
  const command = manifest.command ?? [];
  if (kind === "option") {
    const glued = command.find((entry) => entry.startsWith(`${name}=`));
    return glued === undefined ? command[command.indexOf(name) + 1 || command.length] : glued.slice(name.length + 1);
  }
  if (kind === "setting") {
    const index = command.findIndex((entry, place) => entry.startsWith(`${name}=`) && command[place - 1] === "-c");
    return command[index]?.slice(name.length + 1);
  }
  return readPath(manifest, key);
}

/** What a service waits for: hard, soft, and hard for a while (`expires`, then start). */
export interface Edges {
  requires: string[];
  wants: string[];
  expiring: string[];
}

/** The edges of `node/service`, sorted, each as the manifest writes it. */
export function readEdges(topology: Topology, at: string): Edges {
  const { requires, wants } = manifestAt(topology, at);
  const hard = requires.filter((entry) => entry.then === "fail");
  const soft = requires.filter((entry) => entry.then === "start");
  return {
    requires: hard.map((entry) => describeTarget(entry.target)).toSorted(),
    wants: wants.map(describeTarget).toSorted(),
    expiring: soft.map((entry) => describeTarget(entry.target)).toSorted(),
  };
}

/** The same from an incomplete table row. */
export function edges(row: Partial<Edges>): Edges {
  return {
    requires: (row.requires ?? []).toSorted(),
    wants: (row.wants ?? []).toSorted(),
    expiring: (row.expiring ?? []).toSorted(),
  };
}

/** True when a file of the topology has the line, leading spaces aside. */
export function hasLine(topology: Topology, file: string, line: string): boolean {
  const text = topology.files.get(file);
  return text !== undefined && text.split("\n").some((entry) => entry.trim() === line);
}
