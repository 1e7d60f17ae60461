// Cycles, memory budgets, clashes of ports and names of the whole fleet, by the same rules that the agent holds changes with.

import type { PublishedPort } from "../../../shared/manifest/published-port.ts";
import {
  checkBudget,
  findDependencyCycles,
  findNameClashes,
  findPortClashes,
  type Violation,
} from "../build/constraints.ts";
import { LOOPBACK } from "../build/desired-settings.ts";
import { blameFleet, type FileFinding, findNode, type RepositoryView } from "./view/repository-view.ts";

/** The agent's own listener. 127.0.0.1:80 is not in here: the agent leaves it to whoever publishes it. */
const AGENT_PORTS: readonly PublishedPort[] = [
  { address: LOOPBACK, hostPort: 7070, containerPort: 7070, protocol: "tcp" },
];

/** Checks what must hold between services. */
export function checkConstraints(view: RepositoryView): FileFinding[] {
  const budgets = [...view.servicesOf].flatMap(([name, services]) => {
    const budget = checkBudget(services, findNode(view.fleet.fleet, name));
    return budget.map((violation) => locate(view, violation, ["nodes", name, "memory"]));
  });
  return [...checkRivals(view), ...budgets];
}

/** Cycles and clashes: each is told by two keys, whatever else is wrong with the manifests that they stand in. */
export function checkRivals(view: RepositoryView): FileFinding[] {
  const findings = findDependencyCycles(view.services).map((cycle) => locate(view, cycle, []));
  for (const [name, services] of view.servicesOf) {
    const node = findNode(view.fleet.fleet, name);
    const clashes = findPortClashes(services, node?.address ?? LOOPBACK, AGENT_PORTS);
    const names = findNameClashes(services);
    findings.push(...[...clashes, ...names].map((violation) => locate(view, violation, [])));
  }
  return findings;
}

/** One finding for one violation, at the key that the violation names, or in fleet.toml. */
function locate(view: RepositoryView, violation: Violation, inFleet: readonly (string | number)[]): FileFinding {
  const { code, message, hint, at, members } = violation;
  const nodes = [...new Set(members.map((member) => member.slice(0, member.indexOf("/"))))];
  const service = at === undefined ? undefined : view.byPlace.get(at.member);
  const fault = { severity: "error", code, message, hint } as const;
  if (at === undefined || service === undefined) return { ...blameFleet(view, inFleet, fault), nodes };
  return { ...fault, path: at.path, file: service.file, nodes };
}
