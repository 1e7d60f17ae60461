// Parts of manifests that this version reads and does not act on: said, never a fault.

import { listUnused } from "../repository/unused-parts.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** One `info` for each such part of each service; the message is the same for all parts of one kind. */
export function checkUnused(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) =>
    listUnused(service.manifest).map(({ kind, path, summary }) =>
      blame(service, path, { severity: "info", code: `unused-${kind}`, message: summary, hint: "" }),
    ),
  );
}
