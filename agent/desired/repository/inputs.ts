// A node's inputs as one value: its directory and fleet.toml. Two commits with the same value mean the same to the node.
// Pure; desired-builder.ts asks once for each snapshot.

import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";
import type { Snapshot } from "../../../shared/state/snapshot.ts";

/** The hash over this node's manifests, files and fleet.toml. */
export function hashInputs(snapshot: Snapshot, node: string): string {
  const files = Object.entries(snapshot.files).map(([path, content]) => [path, sha256(content)] as const);
  const manifests = snapshot.manifests[node] ?? {};
  const { faults } = snapshot;
  const unread = [faults?.manifests[node] ?? {}, faults?.files ?? {}].map((list) => Object.keys(list).length > 0);
  return sha256(
    canonicalJson({
      fleet: snapshot.fleet ?? null,
      manifests,
      files: Object.fromEntries(files),
      // A commit without such files has the value that it had before they were known.
      ...(unread.includes(true) && {
        faults: { manifests: faults?.manifests[node] ?? {}, files: faults?.files ?? {} },
      }),
    }),
  );
}
