// What the fleet's own secrets server and forge need to start: asked for every node.

import { findClosureFaults } from "../secrets/bootstrap-closure.ts";
import { blame, type FileFinding, type RepositoryView } from "./view/repository-view.ts";

/** One error for each service that would keep them from starting. */
export function checkBootstrap(view: RepositoryView): FileFinding[] {
  return findClosureFaults(view.services).flatMap(({ node, service, path, message, hint }) => {
    const filed = view.services.find((entry) => entry.node === node && entry.service === service);
    return filed === undefined ? [] : [blame(filed, path, { severity: "error", code: "bootstrap", message, hint })];
  });
}
