// Parts of manifests that this version reads and does not act on: said, never a fault.

import type { Manifest } from "../../../shared/manifest.ts";
import { listUnused, type UnusedPart } from "../unused.ts";
import { blame, type FileFinding, type RepositoryView } from "./repository-view.ts";

/** One `info` for each such part of each service; the message is the same for all parts of one kind. */
export function checkUnused(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) =>
    [...listUnused(service.manifest), ...listRefused(service.manifest)].map(({ kind, path, summary }) =>
      blame(service, path, { severity: "info", code: `unused-${kind}`, message: summary, hint: "" }),
    ),
  );
}

/** What the agent refuses or does not start outside a trial with stand-ins, as agent/desired/choose.ts and agent/plan say. */
function listRefused({ secrets, bootstrap }: Manifest): UnusedPart[] {
  const parts: UnusedPart[] = [];
  if (secrets !== undefined) {
    const summary = "this version has no provider of secrets and refuses services that take them";
    parts.push({ kind: "secrets", path: ["secrets"], summary });
  }
  if (bootstrap !== undefined) {
    const summary = "this version reads no bootstrap file and refuses services that take one";
    parts.push({ kind: "bootstrap", path: ["bootstrap"], summary });
  }
  return parts;
}
