// What the host and the command line say about how manifests are understood. Pure data.

import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import type { PublishedPort } from "../../../shared/manifest/published-port.ts";
import type { Templates } from "../../../shared/text/template.ts";

/** Everything besides the snapshot that desired state depends on. */
export interface DesiredSettings {
  node: string;
  policy: Policy;
  /** Image → local image that plays it; `*` for every image that is not named. Undefined outside trials. */
  standIns: Readonly<Record<string, string>> | undefined;
  /** Where ports are published when the manifest names no address; undefined takes the node's own from fleet.toml. */
  address: string | undefined;
  /** `shift` moves every published port to `address` and a port above 20000, so that a trial disturbs nothing. */
  ports: "as-written" | "shift";
  /** Over budget holds the changed services, or is only said. */
  budget: "enforce" | "warn";
  /** What is said of the host's own files, in plain words. */
  hostNotes: readonly string[];
  /** Says that no data file system need be mounted: only for trials with stand-ins, which keep nothing. */
  assumeDataMounted: boolean;
  /** What the fronts of start-first services are made from; undefined where there are none, and stop-first is done. */
  frontImage: string | undefined;
  /** Directories of the agent's own that no service may mount, besides those that every agent has. */
  ownDirectories?: readonly string[];
  /** Which spares stand in whose place: names are led to them. */
  takeovers?: readonly SignedTakeover[];
  /** A spare stands in this node's own place: nothing is backed up here. */
  isReplaced?: boolean;
  /** The agent's own listeners. */
  agentPorts: readonly PublishedPort[];
  /** Needed only where a manifest has a template. */
  templates: Templates | undefined;
}

/** The address for ports when nothing else is said. */
export const LOOPBACK = "127.0.0.1";

const SHIFT_BASE = 20_000;
const PORTS = 65_535;

/** Where a shifted port goes: 20000 above, and around where that is no port any more. */
function shiftPort(port: number): number {
  return port + SHIFT_BASE <= PORTS ? port + SHIFT_BASE : port;
}

/** Places one published port. */
export function placePort(
  port: PublishedPort,
  settings: Pick<DesiredSettings, "ports">,
  address: string,
): PublishedPort {
  if (settings.ports === "shift") return { ...port, address, hostPort: shiftPort(port.hostPort) };
  return { ...port, address: port.address ?? address };
}
