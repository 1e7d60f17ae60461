// What `update.backup_first` names must be a service of the same node that has backups: of another node nobody here can make one, and
// one without backups would hold the change for good.

import { quoteText } from "../../../shared/text/problem.ts";
import { blame, type Fault, type FiledService, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** Checks every name. */
export function checkBackupFirst(view: RepositoryView): FileFinding[] {
  return view.services.flatMap((service) =>
    (service.manifest.update.backup_first ?? []).flatMap((name, at) => {
      const fault = judgeName(view, service, name);
      return fault === undefined ? [] : [blame(service, ["update", "backup_first", at], fault)];
    }),
  );
}

function judgeName(view: RepositoryView, { node, service }: FiledService, name: string): Fault | undefined {
  const common = { severity: "error", code: "backup-first" } as const;
  if (name === service) {
    const message = "a service does not name itself here";
    return { ...common, message, hint: "write before_update = true into its [[backups]]" };
  }
  const named = view.services.filter((entry) => entry.service === name);
  const here = named.find((entry) => entry.node === node);
  if (here !== undefined) {
    if (here.manifest.backups.length > 0) return undefined;
    return { ...common, message: `${name} has no [[backups]]`, hint: "give it some, or leave it out" };
  }
  const [other] = named;
  if (other === undefined) {
    const hint = "write the name of a service of this node that has [[backups]]";
    return { ...common, message: `there is no service ${quoteText(name)} on ${node}`, hint };
  }
  const message = `${name} is on ${other.node}: a backup there cannot be waited for here`;
  return { ...common, message, hint: "write before_update = true into its own [[backups]]" };
}
