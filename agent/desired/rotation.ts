// Which service may take newer versions of its secrets now: one at a time, what others require first, and no next one
// before the last has settled. One that went back to its old value stops the line. Pure.

import type { InForce } from "../../shared/in-force.ts";
import { compareText } from "../../shared/problem.ts";
import type { SecretFacts } from "../../shared/secret-facts.ts";
import type { AcceptedManifest } from "./accept.ts";

/** What the choice depends on. */
export interface RotationInput {
  services: readonly AcceptedManifest[];
  inForce: InForce | undefined;
  facts: SecretFacts;
  /** Services that run what is wanted of them and have settled. */
  settled: ReadonlySet<string>;
}

/** The services whose turn it is: at most one service, and every job, since a job's next run takes what is newest. */
export function chooseRotation(input: RotationInput): ReadonlySet<string> {
  const pending = listPending(input);
  const jobs = pending.filter((entry) => entry.manifest.schedule !== undefined).map((entry) => entry.service);
  const waiting = pending.filter((entry) => entry.manifest.schedule === undefined);
  const underWay = input.services.filter((entry) => isRotating(entry.service, input)).map((entry) => entry.service);
  // What is under way may take a newer value still: the one it was given may be the reason why it does not settle.
  if (underWay.length > 0) {
    return new Set([...jobs, ...waiting.map((entry) => entry.service).filter((name) => underWay.includes(name))]);
  }
  const next = selectFirst(waiting, input.services);
  return new Set(next === undefined ? jobs : [...jobs, next]);
}

/** True while a service has been given a newer value and has not settled with it. */
export function isRotating(service: string, { inForce, settled }: Pick<RotationInput, "inForce" | "settled">): boolean {
  return inForce?.services[service]?.rotating === true && !settled.has(service);
}

function listPending({ services, inForce, facts }: RotationInput): AcceptedManifest[] {
  return services.filter(({ service, accepted }) => {
    const before = inForce?.services[service];
    if (before?.text !== accepted.text) return false;
    return Object.entries(before.secrets ?? {}).some(([path, version]) => {
      const fact = facts.look(path);
      return fact?.kind === "value" && fact.version !== version;
    });
  });
}

/** The first that requires none of the others, directly or through other services of this node. */
function selectFirst(waiting: readonly AcceptedManifest[], services: readonly AcceptedManifest[]): string | undefined {
  const names = waiting.map((entry) => entry.service).toSorted(compareText);
  const requires = new Map(services.map((entry) => [entry.service, listLocal(entry)]));
  const free = names.find((name) => {
    const reached = reach(name, requires);
    return !names.some((other) => other !== name && reached.has(other));
  });
  return free ?? names[0];
}

function listLocal({ node, manifest }: AcceptedManifest): string[] {
  const targets = [...manifest.requires.map((entry) => entry.target), ...manifest.wants];
  return targets.flatMap((target) =>
    target.kind === "service" && (target.node === undefined || target.node === node) ? [target.service] : [],
  );
}

function reach(from: string, requires: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  const reached = new Set<string>();
  const open = [from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const next of requires.get(name) ?? []) {
      if (reached.has(next)) continue;
      reached.add(next);
      open.push(next);
    }
  }
  return reached;
}
