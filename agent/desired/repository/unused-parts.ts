// What this version reads and does not act on: said in status and by lint, since a part that is silently ignored would be a
// lie. Pure.

import type { Fleet } from "../../../shared/fleet/fleet.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";

/** A part of a manifest that this version reads and does not act on. */
export interface UnusedPart {
  /** The same for every manifest with such a part. */
  kind: string;
  path: readonly (string | number)[];
  /** What is not done, in plain words. */
  summary: string;
  /** What of this manifest it is about, where that is more than the key. */
  detail?: string;
}

/** The parts of a manifest that this version reads and does not act on. A part that is silently ignored would be a lie. */
export function listUnused(manifest: Manifest): UnusedPart[] {
  const { slo } = manifest;
  const parts: UnusedPart[] = [];
  if (slo?.freeze === true)
    parts.push({ kind: "slo", path: ["slo", "freeze"], summary: "slo.freeze is not acted on by this version" });
  return parts;
}

/** The same as texts, for status. */
export function describeUnused(manifest: Manifest): string[] {
  return listUnused(manifest).map(({ summary, detail }) => (detail === undefined ? summary : `${summary}: ${detail}`));
}

/** A spare that can never take this node's place here. */
export function describeStandby(fleet: Fleet | undefined, node: string, recoveryKey: string | undefined): string[] {
  const spares = Object.entries(fleet?.nodes ?? {}).flatMap(([name, entry]) =>
    entry.standby_for === node ? [name] : [],
  );
  if (spares.length === 0 || recoveryKey !== undefined) return [];
  return [
    `${spares.join(", ")} may take this node's place (standby_for), and this host's policy pins no recovery_key: ` +
      "no takeover counts here",
  ];
}

/** The parts of fleet.toml that concern this node and that this version does not act on, as one text for status. */
export function describeUnusedFleet(fleet: Fleet | undefined, node: string): string[] {
  const entry = fleet?.nodes[node];
  if (fleet === undefined || entry === undefined) return [];
  const parts = fleet.alerts === undefined ? [] : ["alerts"];
  return parts.length === 0 ? [] : [`fleet.toml: not acted on by this version: ${parts.join(", ")}`];
}
