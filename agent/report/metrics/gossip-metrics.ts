// The part of the metrics that is about other nodes: who is reached, what goes over the links, what was refused and why, and how
// the last cold start went. Used by metrics.ts. Every label comes from a closed set or from fleet.toml.

import type { ColdStartReport } from "../../../shared/state/cold-start.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import type { Reachability } from "../../../shared/fleet/gossip-event.ts";
import type { GossipStats } from "../../../shared/fleet/gossip-stats.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { buildFleet } from "../status/fleet-builder.ts";
import type { Maker } from "./metrics.ts";
import type { ReportParts } from "../report-options.ts";

/** What is known of other nodes; undefined where there is no gossip. */
export interface FleetScrape {
  stats: GossipStats;
  document: FleetDocument;
}

/** Picks what a scrape needs. */
export function scrapeFleet(
  parts: Pick<ReportParts, "fleet" | "coldStarts"> | undefined,
  status: StatusDocument,
): { fleet: FleetScrape | undefined; coldStart: ColdStartReport | undefined } {
  const { fleet, coldStarts } = parts ?? {};
  return {
    fleet: fleet === undefined ? undefined : { stats: fleet.stats, document: buildFleet(fleet, status) },
    coldStart: coldStarts?.().find(({ ended }) => ended !== null),
  };
}

const STATES: readonly Reachability[] = ["alive", "suspect", "dead", "left", "unknown"];
/** Up to so many peers each has a series of its own; beyond, only the oldest is told. */
const MOST_PEERS = 64;

/** Makes the metrics; answers what fills them. */
export function buildGossipFiller(
  gauge: Maker,
  counter: Maker,
): (fleet: FleetScrape | undefined, node: { node: string }) => void {
  const fillTraffic = buildTrafficFiller(gauge, counter);
  const peers = gauge("orca_gossip_peers", "Other nodes of the realm, by what this one thinks of them.", ["state"]);
  const heard = gauge("orca_gossip_peer_heard_seconds", "Time since a peer was heard; in realms of up to 65 nodes.", [
    "peer",
  ]);
  const oldest = gauge("orca_gossip_oldest_heard_seconds", "Time since the peer was heard that was longest silent.");
  const unknown = gauge("orca_gossip_peers_stale", "Other nodes whose services are unknown here.");
  const rings = gauge("orca_fleet_start_rings", "Rings of starts that wait for each other: none of them will come.");
  return (fleet, node) => {
    if (fleet === undefined) return;
    fillTraffic(fleet.stats, node);
    const others = fleet.document.nodes.filter(({ reachability }) => reachability !== "self");
    for (const state of STATES)
      peers({ ...node, state }, others.filter(({ reachability }) => reachability === state).length);
    const ages = others.flatMap(({ node: peer, heardSecondsAgo: age }) => (age === null ? [] : [{ peer, age }]));
    if (ages.length > 0) oldest(node, Math.max(...ages.map(({ age }) => age)));
    if (others.length <= MOST_PEERS) for (const { peer, age } of ages) heard({ ...node, peer }, age);
    unknown(node, others.filter((one) => one.unknown !== null).length);
    rings(node, fleet.document.rings.length);
  };
}

function buildTrafficFiller(gauge: Maker, counter: Maker): (stats: GossipStats, node: { node: string }) => void {
  const links = gauge("orca_gossip_links", "Links to other nodes, or to the server that stands between them.");
  const strain = gauge(
    "orca_gossip_strain_ratio",
    "1 while this agent's loop runs in time, up to 8 while it lags: its patience with others is stretched by it.",
  );
  const frames = counter("orca_gossip_frames_total", "Frames since the agent started.", ["direction"]);
  const bytes = counter("orca_gossip_bytes_total", "Bytes on links since the agent started.", ["direction"]);
  const records = counter("orca_gossip_records_total", "Records that came in, by what became of them.", ["result"]);
  const refused = counter("orca_gossip_refused_total", "What was refused since the agent started.", ["reason"]);
  const digests = counter("orca_gossip_digests_sent_total", "Times that another view was found to differ.");
  const repaired = counter("orca_gossip_records_repaired_total", "Records sent because another node lacked them.");
  const hints = counter("orca_gossip_hints_total", "Hints of a new revision.", ["direction"]);
  return (stats, node) => {
    links(node, stats.links);
    strain(node, stats.strain);
    frames({ ...node, direction: "sent" }, stats.framesSent);
    frames({ ...node, direction: "received" }, stats.framesReceived);
    bytes({ ...node, direction: "sent" }, stats.bytesSent);
    bytes({ ...node, direction: "received" }, stats.bytesReceived);
    records({ ...node, result: "accepted" }, stats.recordsAccepted);
    records({ ...node, result: "known" }, stats.recordsKnown);
    records({ ...node, result: "forged" }, stats.recordsForged);
    records({ ...node, result: "stranger" }, stats.recordsOfStrangers);
    for (const [reason, count] of Object.entries(stats.refused)) refused({ ...node, reason }, count);
    digests(node, stats.digestsSent);
    repaired(node, stats.recordsRepaired);
    hints({ ...node, direction: "sent" }, stats.hintsSent);
    hints({ ...node, direction: "received" }, stats.hintsReceived);
  };
}

/** The last cold start that is over. */
export function buildColdStartFiller(
  gauge: Maker,
): (report: ColdStartReport | undefined, node: { node: string }) => void {
  const total = gauge("orca_cold_start_seconds", "What the last cold start took.");
  const path = gauge("orca_cold_start_path_seconds", "The start times on its critical path.");
  return (report, node) => {
    if (report?.totalSeconds === undefined || report.totalSeconds === null) return;
    total(node, report.totalSeconds);
    path(node, report.pathSeconds);
  };
}
