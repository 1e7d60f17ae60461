// The fleet as people read it: what `curl localhost:7070/fleet` and `orca status --fleet` print. Pure: from document to text.

import { shortRevision } from "../../../shared/text/short-revision.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type {
  FleetDocument,
  FleetNodeDocument,
  FleetServiceDocument,
} from "../../../shared/document/fleet-document.ts";
import { cutControlCharacters } from "./public-text.ts";
import { type Colour, type TextOptions } from "./status-text.ts";
import { layOutSentences } from "./text-table.ts";
import { describeCount } from "../../../shared/text/count.ts";

const NARROWEST = 80;

const NODE_COLUMNS = [
  { heading: "NODE", least: 12 },
  { heading: "REACHED" },
  { heading: "HEARD" },
  { heading: "REVISION", least: 12 },
  { heading: "SERVICES" },
] as const;

const SERVICE_COLUMNS = [{ heading: "SERVICE", least: 20 }, { heading: "STATE" }] as const;

const COLOURS: Readonly<Record<FleetNodeDocument["reachability"], Colour>> = {
  self: "green",
  alive: "green",
  suspect: "yellow",
  unknown: "yellow",
  left: "gray",
  dead: "red",
};
const QUIET = new Set(["healthy", "completed", "stopped", "unknown"]);

/** Prints the fleet: its nodes, and every service that is not as it should be. */
export function printFleet(fleet: FleetDocument, options: TextOptions): string {
  const width = Math.max(NARROWEST, options.width);
  const { nodes, node, realm } = fleet;
  const of = realm === null ? "" : ` of ${realm}`;
  const head = `${describeCount(nodes.length, "node")}${of}, as ${node} sees ${nodes.length === 1 ? "it" : "them"}`;
  const lines = [cutControlCharacters(head), "", ...printNodes(fleet, { ...options, width })];
  const troubled = nodes.flatMap((one) =>
    one.services.filter(({ state }) => !QUIET.has(state)).map((service) => [one.node, service] as const),
  );
  if (troubled.length > 0) lines.push("", ...printTroubled(troubled, width));
  for (const ring of fleet.rings)
    lines.push("", cutControlCharacters(`they wait for each other: ${[...ring, ring[0]].join(" → ")}`));
  const refused = Object.entries(fleet.refused).map(([reason, count]) => `refused ${count} ×: ${reason}`);
  const notes = [...fleet.notes, ...refused];
  if (notes.length > 0) lines.push("", "notes", ...notes.map((note) => `  ${cutControlCharacters(note)}`));
  return `${lines.join("\n")}\n`;
}

function printNodes({ nodes }: FleetDocument, { width, paint }: TextOptions): string[] {
  const rows = nodes.map((one) => [
    one.node,
    one.reachability,
    one.heardSecondsAgo === null ? "never" : describeAge(one),
    shortRevision(one.revision),
    describeServices(one),
  ]);
  return layOutSentences(NODE_COLUMNS, rows, {
    width,
    heading: "WHY",
    sentences: nodes.map(({ unknown }) => unknown ?? ""),
    paint: (text, row, column) => {
      const one = nodes[row];
      return paint === undefined || one === undefined || column !== 1 ? text : paint(text, COLOURS[one.reachability]);
    },
  });
}

function describeAge({ reachability, heardSecondsAgo }: FleetNodeDocument): string {
  if (reachability === "self") return "-";
  const age = heardSecondsAgo ?? 0;
  return age < 3 ? "now" : `${describeDuration(Math.round(age) * 1_000)} ago`;
}

/** What its owner says, or said. */
function describeServices({ services, unknown }: FleetNodeDocument): string {
  if (unknown !== null) return services.length === 0 ? "unknown" : `${services.length} unknown`;
  const healthy = services.filter(({ state }) => QUIET.has(state)).length;
  return `${healthy}/${services.length}`;
}

function printTroubled(troubled: readonly (readonly [string, FleetServiceDocument])[], width: number): string[] {
  const rows = troubled.map(([node, { name, state }]) => [`${node}/${name}`, state]);
  const sentences = troubled.map(([, { why, waitingFor }]) => why ?? waitingFor.join(", "));
  return layOutSentences(SERVICE_COLUMNS, rows, { width, heading: "WAITING FOR / REASON", sentences });
}
