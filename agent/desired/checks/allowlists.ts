// The files that `verify.fk_allowlist` names: one that cannot be read allows nothing, and a proof would find what it was to allow.

import { readAllowlist } from "../../../shared/manifest/fk-allowlist.ts";
import { quoteText } from "../../../shared/text/problem.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks each list that a manifest names and that is there. */
export function checkAllowlists(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) =>
    service.manifest.backups.flatMap(({ verify }, index) => {
      const path = verify?.fk_allowlist;
      if (path === undefined || view.files.list(service.node).get(path)?.kind !== "file") return [];
      const content = view.files.read(service.node, path);
      const read = content === undefined ? [] : readAllowlist(new TextDecoder().decode(content));
      if (typeof read !== "string") return [];
      return blame(service, ["backups", index, "verify", "fk_allowlist"], {
        severity: "error",
        code: "fk-allowlist",
        message: `${quoteText(path)} is no list of foreign keys: ${read}`,
        hint: 'write [[allow]] with from = "schema.table.column", to, owner and expires = "2027-06-30"',
      });
    }),
  );
}
