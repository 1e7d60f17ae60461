// What a desired state would change against what runs, service by service, as a person wants to read it. Pure; the loop
// itself goes by operations (plan.ts), which take several turns.

import type { DesiredFile, DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import { fileKey, type HostFacts, isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { holdsSecret } from "../../../shared/secret/secret-facts.ts";
import { listObstacles, type Obstacle } from "../rules/start-obstacles.ts";
import { describeCaps } from "../../../shared/text/describe-caps.ts";
import { sameCaps } from "../steps.ts";
import type { Reachable } from "../world.ts";
import type { NodeMemory, ServiceMemory } from "../../../shared/state/memory.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import { nameRolledBack } from "../rules/rollout.ts";

/** What would happen to one service. */
export interface ServiceChange {
  service: string;
  action: "create" | "recreate" | "update" | "start" | "stop" | "remove" | "none" | "blocked";
  /** Why, one thing each. */
  reasons: readonly string[];
}

/** What the agent of this node knows, as far as somebody else may read it. */
export interface KnownHere {
  /** Hash of each file that was delivered, by `fileKey`; undefined where nobody can say. */
  files: ReadonlyMap<string, string> | undefined;
  services: NodeMemory["services"];
}

/** Lists what would change on this node. */
export function listChanges(
  desired: DesiredState,
  engine: Reachable,
  { files, services }: KnownHere,
  obstacles: HostFacts["obstacles"],
): ServiceChange[] {
  const byService = Map.groupBy(engine.containers, (container) => container.service);
  const changes = [...desired.services.values()].map(
    (service) =>
      keepRolledBack(service, services[service.name]) ??
      nameObstacles(
        compare(service, byService.get(service.name) ?? [], files),
        listObstacles(service, engine, { obstacles, wanted: desired }),
      ),
  );
  for (const [name, objection] of desired.objections) {
    const known = changes.findIndex((change) => change.service === name);
    const blocked: ServiceChange = {
      service: name,
      action: "blocked",
      reasons: [`${objection.state}: ${objection.reason}`],
    };
    if (known === -1) changes.push(blocked);
    else changes[known] = blocked;
  }
  for (const name of byService.keys()) {
    if (desired.services.has(name) || desired.objections.has(name)) continue;
    changes.push({ service: name, action: "remove", reasons: ["it is no longer in the manifests; its volumes stay"] });
  }
  return changes.toSorted((left, right) => compareText(left.service, right.service));
}

/** What was rolled back is not tried again as long as the manifest is the same. */
function keepRolledBack(
  { name, fingerprint }: DesiredService,
  known: ServiceMemory | undefined,
): ServiceChange | undefined {
  const back = known?.rolledBack;
  if (back?.wanted !== fingerprint) return undefined;
  return { service: name, action: "none", reasons: [describeReason(nameRolledBack(back, false), 0)] };
}

/** What begins a container also says what would keep it from starting here. */
function nameObstacles(change: ServiceChange, obstacles: readonly Obstacle[]): ServiceChange {
  if (!["create", "recreate", "start"].includes(change.action)) return change;
  const words = obstacles.map(({ why }) => describeReason({ code: "cannot-start", why }, 0));
  return { ...change, reasons: [...change.reasons, ...words] };
}

function listChangedFiles(service: DesiredService, delivered: KnownHere["files"]): string[] {
  if (delivered === undefined) return [];
  return (
    service.files
      // Which version of a secret lies in memory is known to the agent alone.
      .filter((file) => !holdsSecret(file.hash))
      .filter((file) => delivered.get(fileKey(service.name, service.specHash, file.target)) !== file.hash)
      .map(({ target, onChange }) => `${target} has new content: ${describeOnChange(onChange)}`)
  );
}

function describeOnChange(onChange: DesiredFile["onChange"]): string {
  if (onChange === "restart") return "it restarts";
  return "signal" in onChange ? `it gets ${onChange.signal}` : `${onChange.exec[0]} runs in it`;
}

function compare(
  service: DesiredService,
  containers: readonly ObservedContainer[],
  delivered: KnownHere["files"],
): ServiceChange {
  const change = (action: ServiceChange["action"], ...reasons: string[]): ServiceChange => ({
    service: service.name,
    action,
    reasons,
  });
  const current = containers.find((container) => container.specHash === service.specHash);
  const running = containers.find(isAlive);
  if (service.kind === "job") return change("none", `it is a job and runs on its schedule, ${service.schedule}`);
  if (!service.running)
    return running === undefined ? change("none") : change("stop", 'its manifest says state = "stopped"');
  if (current === undefined) {
    const [old] = containers;
    if (old === undefined) return change("create", service.spec.image);
    const image = old.image === service.spec.image ? [] : [`image: ${old.image} → ${service.spec.image}`];
    return change("recreate", ...(image.length > 0 ? image : ["its spec changed"]));
  }
  if (current.status !== "running") return change("start", `its container is ${current.status}`);
  const caps = sameCaps(current.caps, service.caps)
    ? []
    : [`caps: ${describeCaps(current.caps)} → ${describeCaps(service.caps)}`];
  const files = listChangedFiles(service, delivered);
  return caps.length + files.length === 0 ? change("none") : change("update", ...caps, ...files);
}
