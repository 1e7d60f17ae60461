// What the fleet's own secrets server and forge need to start must not hang on them, nor on another VM: else nothing comes
// back from a cold start with an empty cache. Pure; lint asks it for every node, the agent for its own.

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import type { PlacedService } from "../build/constraints.ts";

/** One service that would keep them from starting. */
export interface ClosureFault {
  node: string;
  service: string;
  /** The key of its manifest that is at fault. */
  path: readonly (string | number)[];
  message: string;
  hint: string;
}

const SECRETS_SERVER = /(^|\/)infisical$/;
const FORGE = /(^|\/)(gitea|forgejo)$/;

/**
 * Judges everything that the secrets server and the forge require, themselves included.
 * @param fromServer true where secrets come from a server of this kind; undefined where that is told by one being there
 */
export function findClosureFaults(services: readonly PlacedService[], fromServer?: boolean): ClosureFault[] {
  const byPlace = new Map(services.map((entry) => [`${entry.node}/${entry.service}`, entry]));
  const servers = services.filter((entry) => isImage(entry, SECRETS_SERVER));
  const forges = services.filter((entry) => isImage(entry, FORGE));
  const takesFromServer = fromServer ?? servers.length > 0;
  const faults = new Map<string, ClosureFault>();
  for (const root of [...servers, ...forges]) {
    for (const entry of walk(root, byPlace)) {
      for (const fault of judgeEntry(entry, root, takesFromServer))
        faults.set(JSON.stringify([fault.node, fault.service, fault.path]), fault);
    }
  }
  return [...faults.values()];
}

function isImage({ manifest }: PlacedService, pattern: RegExp): boolean {
  const reference = parseImageReference(manifest.image);
  return typeof reference !== "string" && pattern.test(reference.repository);
}

function walk(root: PlacedService, byPlace: ReadonlyMap<string, PlacedService>): readonly PlacedService[] {
  const reached = new Set([root]);
  for (const entry of reached) {
    for (const { target } of entry.manifest.requires) {
      const next =
        target.kind === "service" ? byPlace.get(`${target.node ?? entry.node}/${target.service}`) : undefined;
      // What stands on another VM is a fault of who requires it; what it requires in turn is not asked.
      if (next !== undefined && next.node === root.node) reached.add(next);
    }
  }
  return [...reached];
}

function judgeEntry(
  { node, service, manifest }: PlacedService,
  root: PlacedService,
  takesFromServer: boolean,
): ClosureFault[] {
  const forWhom =
    root.service === service ? `the fleet's own ${service}` : `the fleet's own ${root.service} requires it`;
  const faults: ClosureFault[] = [];
  if (manifest.secrets !== undefined && takesFromServer) {
    const message = `it takes secrets from the fleet's own server and must start without it: ${forWhom}`;
    const hint = "give it a file of the host under [bootstrap] env_file, which the host's policy allows";
    faults.push({ node, service, path: ["secrets"], message, hint });
  }
  for (const [index, { target }] of manifest.requires.entries()) {
    if (target.kind !== "service" || target.node === undefined || target.node === node) continue;
    const message = `it requires ${target.node}/${target.service} on another VM: ${forWhom}`;
    const hint = "let it need nothing outside of its own VM, or name it under wants";
    faults.push({ node, service, path: ["requires", index], message, hint });
  }
  return faults;
}
