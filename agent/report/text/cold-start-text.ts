// A cold start as people read it: what `curl localhost:7070/cold-start` and `orca fleet report` print. Pure: from document to text.

import type { ColdStartDocument, ColdStartReport } from "../../../shared/state/cold-start.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { cutControlCharacters } from "./public-text.ts";
import type { TextOptions } from "./status-text.ts";
import { layOutTable } from "./text-table.ts";
import { describeCount } from "../../../shared/text/count.ts";

const NARROWEST = 80;

const PATH_COLUMNS = [
  { heading: "CRITICAL PATH", least: 24 },
  { heading: "LATE", align: "right" },
  { heading: "ENGINE", align: "right" },
  { heading: "READY", align: "right" },
] as const;

const SERVICE_COLUMNS = [
  { heading: "SERVICE", least: 24 },
  { heading: "GATE", align: "right" },
  { heading: "ASKED", align: "right" },
  { heading: "STARTED", align: "right" },
  { heading: "HEALTHY", align: "right" },
  { heading: "WAITED FOR LAST", least: 16 },
] as const;

/** Prints the newest cold start. */
export function printColdStart({ reports, node }: ColdStartDocument, options: TextOptions): string {
  const width = Math.max(NARROWEST, options.width);
  const [report, ...older] = reports;
  if (report === undefined) return `${cutControlCharacters(node)} has seen no cold start yet\n`;
  const lines = [
    ...printHead(report).map(cutControlCharacters),
    "",
    ...printPath(report, width),
    "",
    ...printServices(report, width),
  ];
  const facts = listFacts(report);
  if (facts.length > 0) lines.push("", ...facts.map(cutControlCharacters));
  if (older.length > 0) lines.push("", `${older.length} older: --json, or /v1/cold-start`);
  return `${lines.join("\n")}\n`;
}

/** The report in one line, for the log. */
export function summarizeColdStart(report: ColdStartReport): string {
  return printHead(report).join("; ");
}

function printHead({ scope, began, ended, services, nodes, totalSeconds, ...figures }: ColdStartReport): string[] {
  const up = services.filter(({ healthy }) => healthy !== null).length;
  const what = scope === "realm" ? describeCount(nodes.length, "node") : (nodes[0]?.node ?? "this node");
  const state = ended === null ? "under way" : "over";
  const after = totalSeconds === null ? "" : `, the last after ${show(totalSeconds)}`;
  const head = `cold start of ${what}, begun ${began}, ${state}: ${up} of ${describeCount(services.length, "service")} up${after}`;
  if (figures.overheadSeconds === null) return [head];
  const ratio = figures.ratio === null ? "" : ` (${figures.ratio.toFixed(2)} × the path)`;
  return [head, `critical path ${show(figures.pathSeconds)}, overhead ${show(figures.overheadSeconds)}${ratio}`];
}

function printPath({ path }: ColdStartReport, width: number): string[] {
  const rows = path.map(({ name, lateSeconds, engineSeconds, readySeconds }) => [
    name,
    ...[lateSeconds, engineSeconds, readySeconds].map(show),
  ]);
  return layOutTable(PATH_COLUMNS, rows, { width });
}

function printServices({ services }: ColdStartReport, width: number): string[] {
  const rows = services.map(({ name, gate, asked, started, healthy, waitedFor, waitedSeconds }) => [
    name,
    ...[gate, asked, started, healthy].map((at) => (at === null ? "-" : show(at))),
    waitedFor === null ? "" : `${waitedFor} (${show(waitedSeconds ?? 0)})`,
  ]);
  return layOutTable(SERVICE_COLUMNS, rows, { width });
}

function listFacts({ services, missing, notes, nodes }: ColdStartReport): string[] {
  const held = services.filter(({ slotSeconds }) => slotSeconds > 0);
  const degraded = services.filter(({ without }) => without.length > 0);
  const late = services.filter(({ healthy }) => healthy === null);
  const open = nodes.filter(({ done }) => !done).map(({ node }) => node);
  return [
    ...held.map(({ name, slotSeconds }) => `${name} had to wait ${show(slotSeconds)} for a start slot`),
    ...degraded.map(({ name, without }) => `${name} started without ${without.join(", ")}`),
    ...(late.length === 0 ? [] : [`not up: ${late.map(({ name }) => name).join(", ")}`]),
    ...(open.length === 0 ? [] : [`not done: ${open.join(", ")}`]),
    ...missing.map(({ node, why }) => `${node} did not come: ${why}`),
    ...notes,
  ];
}

/** Tenths of a second are what a start differs by; below one, milliseconds. */
function show(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1_000)}ms`;
  return seconds < 60 ? `${seconds.toFixed(1)}s` : describeDuration(seconds * 1_000);
}
