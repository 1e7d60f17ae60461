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
  const { slo, schedule } = manifest;
  const parts: UnusedPart[] = [];
  const { availability, rto, freeze } = slo ?? {};
  if (schedule !== undefined && [availability, rto, freeze].some((part) => part !== undefined))
    parts.push({ kind: "slo", path: ["slo"], summary: "of a job's slo only rpo is looked at" });
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
