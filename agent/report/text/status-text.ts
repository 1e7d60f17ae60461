// The status as people read it: what `curl localhost:7070` and `orca status` print. Pure: from the document to text.

import { shortRevision } from "../../../shared/text/short-revision.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { SERVICE_STATES, type ServiceState } from "../../../shared/state/status.ts";
import type { HostDocument, ServiceDocument, StatusDocument } from "../../../shared/document/status-document.ts";
import { listTroublePages } from "../status/trouble-pages.ts";
import { cutControlCharacters } from "./public-text.ts";
import { cutText, layOutSentences } from "./text-table.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** A colour of a terminal. */
export type Colour = "green" | "red" | "yellow" | "gray" | "cyan";

/** How to print. `paint` is left out where there is no terminal, or NO_COLOR is set. */
export interface TextOptions {
  width: number;
  paint?: (text: string, colour: Colour) => string;
}

/** What a terminal has at least; where nobody can say, such as behind `curl`, it is taken to have no more. */
export const DEFAULT_WIDTH = 80;
const NARROWEST = 80;
const UNMANAGED_SHOWN = 20;
/** So many services are named beside a note that they share; more are counted. */
const NAMED = 3;

const COLOURS: Readonly<Record<ServiceState, Colour>> = {
  healthy: "green",
  completed: "green",
  starting: "cyan",
  pulling: "cyan",
  waiting: "yellow",
  stopped: "gray",
  removing: "gray",
  backoff: "yellow",
  paused: "yellow",
  unhealthy: "red",
  unknown: "red",
  invalid: "red",
  refused: "red",
  held: "red",
  failed: "red",
  stalled: "red",
  "rolled-back": "red",
};

/** Prints the whole status. */
export function printStatus(status: StatusDocument, options: TextOptions): string {
  const width = Math.max(NARROWEST, options.width);
  const lines = [...printHeader(status, width), "", ...printServices(status, { ...options, width })];
  if (status.notes.length > 0) lines.push("", "notes", ...status.notes.map((note) => `  ${clean(note)}`));
  const serviceNotes = groupNotes(status.services).map((line) => `  ${clean(line)}`);
  if (serviceNotes.length > 0) lines.push("", "notes on services", ...serviceNotes);
  lines.push(...printUnmanaged(status, width));
  const pages = listTroublePages(status);
  if (pages.length > 0) lines.push("", `what to do: orca help ${pages.join(" | ")}`);
  return `${lines.join("\n")}\n`;
}

/** The colour of a state. */
export function colourOf(state: ServiceState): Colour {
  return COLOURS[state];
}

/** `312M`, `1.5G`: a size in at most five characters. */
export function shortSize(sizeBytes: number): string {
  return describeSize(sizeBytes).replace(" ", "").replace(/iB$/, "");
}

/** Memory in use of its cap: `312M/1G`. */
function describeMemory(service: Pick<ServiceDocument, "memoryUsedBytes" | "memoryCapBytes">): string {
  const { memoryUsedBytes: used, memoryCapBytes: cap } = service;
  return used === null && cap === null
    ? "-"
    : `${used === null ? "-" : shortSize(used)}/${cap === null ? "-" : shortSize(cap)}`;
}

function printHeader(status: StatusDocument, width: number): string[] {
  const { node, source, engine, agent, paused, turn } = status;
  const age = source?.ageSeconds ?? null;
  const read = age === null ? "not read yet" : `read ${describeDuration(age * 1_000)} ago`;
  const parts = [
    `node ${node}`,
    `revision ${shortRevision(status.revision)}`,
    `source ${source === null ? "" : `${source.kind} ${source.location} `}${read}${source !== null && source.trouble !== null ? ` (${source.holds.length > 0 ? "held" : "not in force"}, see notes)` : ""}`,
    engine.reachable ? `engine ${engine.version ?? "answers"}` : "ENGINE DOES NOT ANSWER",
    `orca ${agent.version}, up ${describeDuration(agent.uptimeSeconds * 1_000)}`,
  ];
  const lines = wrapParts(parts.map(clean), width);
  if (status.host !== null) lines.push(printHost(status.host), ...printDisks(status.host).map(clean));
  const counts = SERVICE_STATES.filter((state) => status.counts[state] > 0).map(
    (state) => `${status.counts[state]} ${state}`,
  );
  lines.push(
    `${describeCount(status.services.length, "service")}${counts.length === 0 ? "" : `: ${counts.join(", ")}`}`,
  );
  if (paused !== null) lines.push(`PAUSED by uid ${paused.uid}: nothing is changed until orca resume`);
  if (turn.ageSeconds !== null && turn.ageSeconds > 60)
    lines.push(`THE LOOP STANDS STILL: its last turn ended ${describeDuration(turn.ageSeconds * 1_000)} ago`);
  return lines;
}

/** Joins parts to lines that fit; a part is never broken. */
function wrapParts(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const longer = lines.length === 0 ? part : `${lines.at(-1)} · ${part}`;
    if (lines.length > 0 && Array.from(longer).length <= width) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}

function printHost(host: HostDocument): string {
  const used = host.memoryTotalBytes - host.memoryAvailableBytes;
  const share = host.memoryTotalBytes === 0 ? 0 : Math.round((used / host.memoryTotalBytes) * 100);
  const load = host.cpuLoadPercent === null ? "-" : `${host.cpuLoadPercent} %`;
  return `RAM ${describeSize(used)} of ${describeSize(host.memoryTotalBytes)} (${share} %) · CPU ${load} of ${host.cpus}`;
}

function printDisks(host: HostDocument): string[] {
  return host.disks.map(
    (disk) =>
      `disk ${disk.path}: ${describeSize(disk.freeBytes)} of ${describeSize(disk.totalBytes)} free (${disk.freePercent} %), ` +
      `inodes ${disk.inodesFreePercent} % free`,
  );
}

const COLUMNS = [
  { heading: "SERVICE", least: 24 },
  { heading: "STATE" },
  { heading: "RESTARTS", align: "right" },
  { heading: "MEMORY", align: "right" },
] as const;

function printServices(status: StatusDocument, options: TextOptions): string[] {
  const { services } = status;
  if (services.length === 0) return ["no services"];
  const rows = services.map((service) => [
    service.name,
    describeState(service),
    String(service.restarts),
    describeMemory(service),
  ]);
  const { paint } = options;
  return layOutSentences(COLUMNS, rows, {
    width: options.width,
    heading: "WAITING FOR / REASON",
    // That a probe succeeds is said by the state: how it did is in orca why.
    mayCut: (row) => QUIET.has(services[row]?.state ?? "unknown"),
    sentences: services.map((service) => service.summary),
    paint: (text, row, column) => {
      const service = services[row];
      if (paint === undefined || service === undefined || column !== 1) return text;
      return paint(text, colourOf(service.state));
    },
  });
}

const QUIET: ReadonlySet<ServiceState> = new Set<ServiceState>(["healthy", "completed"]);

/** The state, and what the probe says where that is something else: `rolled-back (healthy)`. */
function describeState({ state, health }: ServiceDocument): string {
  return health === null || health === state ? state : `${state} (${health})`;
}

/** What is said of many services stands once, after what is said of one alone. */
function groupNotes(services: readonly ServiceDocument[]): string[] {
  const all = services.flatMap(({ name, notes }) => [...new Set(notes)].map((note) => ({ name, note })));
  const groups = [...Map.groupBy(all, ({ note }) => note)];
  const own = groups.filter(([, [, second]]) => second === undefined).map(([note, [one]]) => `${one?.name}: ${note}`);
  const shared = groups.filter(([, list]) => list.length > 1);
  return [...own, ...shared.map(([note, list]) => `${describeNames(list.map(({ name }) => name))}: ${note}`)];
}

function describeNames(names: readonly string[]): string {
  return names.length <= NAMED ? names.join(", ") : describeCount(names.length, "service");
}

function printUnmanaged({ unmanaged, node }: StatusDocument, width: number): string[] {
  if (unmanaged.length === 0) return [];
  // Other nodes are told by how many containers they have: what those are, their own agents say.
  const byOwner = Map.groupBy(unmanaged, (entry) => entry.node);
  const ownerless = byOwner.get(null) ?? [];
  const shown = ownerless.slice(0, UNMANAGED_SHOWN).map((entry) => {
    const ports = entry.ports.length === 0 ? "" : `, ports ${entry.ports.join(" ")}`;
    const text = `  ${entry.name} (${entry.image}, ${entry.running ? "running" : "not running"}${ports})`;
    return cutText(clean(text), width);
  });
  const more = ownerless.length - shown.length;
  const others = [...byOwner].flatMap(([owner, entries]) =>
    owner === null ? [] : [`  ${describeCount(entries.length, "container")} of node ${clean(owner)}`],
  );
  return [
    "",
    clean(`${describeCount(unmanaged.length, "container")} not managed by ${node}: never touched`),
    ...shown,
    ...(more > 0 ? [`  and ${more} more: see --json`] : []),
    ...others,
  ];
}

function clean(text: string): string {
  return cutControlCharacters(text);
}
