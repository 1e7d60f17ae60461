// From what the gossip knows to the document that `/fleet` gives. Pure but for asking; the own node comes from the status.

import { FLEET_SCHEMA, type FleetDocument, type FleetNodeDocument } from "../../../shared/document/fleet-document.ts";
import type { GossipStats } from "../../../shared/fleet/gossip-stats.ts";
import { findCycles } from "../../../shared/fleet/graph.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import type { PeerView } from "../../gossip/core/gossip.ts";
import type { ServiceStatement } from "../../gossip/core/record.ts";

/** What is known of the other nodes: the gossip's shell. */
export interface FleetReader {
  /** What keeps this node from taking part, in words. */
  readonly notes: readonly string[];
  readonly realm: string | undefined;
  readonly refusals: Readonly<Record<string, number>>;
  /** For the metrics. */
  readonly stats: GossipStats;
  /** The own words, as they were last said. */
  readonly words: Readonly<Record<string, ServiceStatement>>;
  /** Peers that hold what this run has said; undefined where its way does not tell. */
  readonly hearers?: readonly string[] | undefined;
  view(): PeerView[];
}

const ALONE =
  "this agent runs without peers and knows nothing of other nodes: orca up always does, orca agent without [gossip] in agent.toml";
const GOOD = new Set(["healthy", "completed", "stopped"]);

/** Builds the document. */
export function buildFleet(reader: FleetReader | undefined, status: StatusDocument): FleetDocument {
  const peers = (reader?.view() ?? []).map(buildPeer);
  const nodes = [buildSelf(status, reader?.words ?? {}), ...peers].toSorted((left, right) =>
    compareText(left.node, right.node),
  );
  const present = nodes.filter(({ unknown }) => unknown === null);
  return {
    schema: FLEET_SCHEMA,
    node: status.node,
    at: status.at,
    realm: reader?.realm ?? null,
    healthy:
      present.length === nodes.length &&
      nodes.every(({ services }) => services.every(({ state }) => GOOD.has(state))) &&
      status.healthy,
    nodes,
    rings: findRings(present),
    refused: { ...reader?.refusals },
    notes: [...(reader === undefined ? [ALONE] : reader.notes)],
  };
}

function findRings(nodes: readonly FleetNodeDocument[]): string[][] {
  const waits = nodes.flatMap(({ node, services }) =>
    services.map(({ name, waitingFor }) => [`${node}/${name}`, waitingFor] as const),
  );
  return findCycles(new Map(waits));
}

function buildSelf(status: StatusDocument, words: FleetReader["words"]): FleetNodeDocument {
  const { node, revision, agent } = status;
  return {
    node,
    reachability: "self",
    why: "it answers",
    forSeconds: agent.uptimeSeconds,
    heardSecondsAgo: 0,
    unknown: null,
    revision,
    services: status.services.map((service) => ({
      name: service.name,
      state: service.state,
      since: service.since,
      revision: service.revision,
      ready: words[service.name]?.ready ?? service.health === "healthy",
      why: GOOD.has(service.state) ? null : service.reason,
      waitingFor: service.waitingFor.map((name) => (name.includes("/") ? name : `${node}/${name}`)),
      startSeconds: secondsOrNull(words[service.name]?.tookMs) ?? service.startSeconds,
    })),
  };
}

function buildPeer({ node, state, why, forMs, silenceMs, stale, words }: PeerView): FleetNodeDocument {
  const services = Object.entries(words?.services ?? {}).map(([name, word]) => ({
    name,
    state: stale === undefined ? word.state : "unknown",
    ready: stale === undefined && word.ready,
    why: stale === undefined ? (word.why ?? null) : `it was ${word.state} when ${node} was last heard`,
    since: word.sinceMs === undefined ? null : toIso(word.sinceMs),
    revision: word.revision ?? null,
    waitingFor: stale === undefined ? [...(word.waiting ?? [])] : [],
    startSeconds: secondsOrNull(word.tookMs),
  }));
  return {
    node,
    reachability: state,
    why,
    forSeconds: seconds(forMs),
    heardSecondsAgo: Number.isFinite(silenceMs) ? seconds(silenceMs) : null,
    unknown: stale ?? null,
    revision: words?.revision ?? null,
    services: services.toSorted((left, right) => compareText(left.name, right.name)),
  };
}

function secondsOrNull(ms: number | undefined): number | null {
  return ms === undefined ? null : seconds(ms);
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}

/** The owner's own clock, which may show anything. */
function toIso(ms: number): string | null {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
