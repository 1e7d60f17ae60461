// A node's inputs as one value: its directory and fleet.toml. Two commits with the same value mean the same to the node.
// Pure; desired-builder.ts asks once for each snapshot.

import { canonicalJson, sha256 } from "../../shared/identity.ts";
import type { Snapshot } from "../../shared/snapshot.ts";

/** The hash over this node's manifests, files and fleet.toml. */
export function hashInputs(snapshot: Snapshot, node: string): string {
  const files = Object.entries(snapshot.files).map(([path, content]) => [path, sha256(content)] as const);
  const manifests = snapshot.manifests[node] ?? {};
  return sha256(canonicalJson({ fleet: snapshot.fleet ?? null, manifests, files: Object.fromEntries(files) }));
}
