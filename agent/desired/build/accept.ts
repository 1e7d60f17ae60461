// Which manifests are in force: judges each service of a snapshot against what was in force before. Error is not empty: a
// bad manifest holds its service at its release. What holds a whole change is in holds.ts. Pure.

import type { AcceptedService, InForce } from "../../../shared/state/in-force.ts";
import type { Objection } from "../../../shared/state/desired-state.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import {
  checkBudget,
  checkPolicyBudget,
  findDependencyCycles,
  findNameClashes,
  findPortClashes,
  type PlacedService,
  placeName,
  type RemoteService,
  type Violation,
} from "./constraints.ts";
import { findOrigin } from "../repository/moves.ts";
import type { ParsedManifest } from "../repository/repository.ts";
import { type DesiredSettings, LOOPBACK } from "./desired-settings.ts";

/** What acceptance is judged on. */
export interface Candidate {
  revision: string;
  fleet: Fleet | undefined;
  /** This node's manifests, parsed or not. */
  own: readonly ParsedManifest[];
  /** Other nodes' valid services, for cycles. */
  others: readonly RemoteService[];
  /** This node's last accepted manifests, parsed; a service whose old text no longer parses is absent. */
  before: ReadonlyMap<string, PlacedService>;
  inForce: InForce | undefined;
  settings: DesiredSettings;
}

/** What is in force now, and what was objected to. */
export interface Acceptance {
  /** Service → the manifest in force; from this snapshot, or from before where it is held. */
  services: ReadonlyMap<string, AcceptedManifest>;
  objections: ReadonlyMap<string, Objection>;
  /** What is not as it should be and holds nothing. */
  notes: readonly string[];
}

/** A manifest in force. */
export interface AcceptedManifest extends PlacedService {
  accepted: Omit<AcceptedService, "files">;
}

/** Judges each service of a candidate. */
export function accept(candidate: Candidate): Acceptance {
  const objections = new Map<string, Objection>();
  const services = new Map<string, AcceptedManifest>();
  for (const parsed of candidate.own) {
    if (parsed.manifest !== undefined) {
      const { node, service, manifest, text } = parsed;
      services.set(service, {
        node,
        service,
        manifest,
        accepted: { text, revision: revisionOf(candidate, service, text), ...findMove(candidate, service) },
      });
      continue;
    }
    const { problems } = parsed;
    const [first, ...others] = problems;
    const why = { code: "manifest-invalid", first, more: others.length } as const;
    objections.set(parsed.service, { state: "invalid", why, problems });
    hold(candidate, services, parsed.service);
  }
  holdViolations(candidate, services, objections);
  const budget = candidate.settings.budget === "warn" ? findBudgetFaults(candidate, [...services.values()]) : [];
  const notes = budget.map(({ message, hint }) => `${message}; on a real node this would be held: ${hint}`);
  return { services, objections, notes };
}

function findMove({ inForce, others }: Candidate, service: string): { movedFrom?: string } {
  const movedFrom = findOrigin(service, inForce, others);
  return movedFrom === undefined ? {} : { movedFrom };
}

/** A service whose text did not change keeps the revision it came from: the label informs, and stays true. */
function revisionOf(candidate: Candidate, service: string, text: string): string {
  const before = candidate.inForce?.services[service];
  return before?.text === text ? before.revision : candidate.revision;
}

/** Everything stays as it was accepted before. */
export function keepBefore({ before, inForce }: Pick<Candidate, "before" | "inForce">): Acceptance {
  const services = new Map<string, AcceptedManifest>();
  for (const [service, placed] of before) {
    const accepted = inForce?.services[service];
    if (accepted !== undefined) services.set(service, { ...placed, accepted });
  }
  return { services, objections: new Map(), notes: [] };
}

/** Puts a service back to its last accepted manifest, or takes it out where there is none. */
function hold(candidate: Candidate, services: Map<string, AcceptedManifest>, service: string): void {
  const before = candidate.before.get(service);
  const accepted = candidate.inForce?.services[service];
  if (before === undefined || accepted === undefined) services.delete(service);
  else services.set(service, { ...before, accepted: keepText(accepted) });
}

/** Holds the changed services of each violation until none is left that a change has brought. */
function holdViolations(
  candidate: Candidate,
  services: Map<string, AcceptedManifest>,
  objections: Map<string, Objection>,
): void {
  for (let round = 0; round <= candidate.own.length; round += 1) {
    const violations = findViolations(candidate, [...services.values()]);
    let heldAny = false;
    for (const violation of violations) {
      for (const member of violation.members) {
        const service = member.slice(member.indexOf("/") + 1);
        if (member !== placeName(candidate.settings.node, service) || !isChanged(candidate, services, service))
          continue;
        const { message, hint } = violation;
        objections.set(service, { state: "held", why: { code: "constraint-broken", message, hint }, problems: [] });
        hold(candidate, services, service);
        heldAny = true;
        if (violation.holdsOne === true) break;
      }
    }
    if (!heldAny) return;
  }
}

function isChanged(candidate: Candidate, services: ReadonlyMap<string, AcceptedManifest>, service: string): boolean {
  const now = services.get(service);
  return now !== undefined && now.accepted.text !== candidate.inForce?.services[service]?.text;
}

/** The caps against the node's memory, and against what the host's policy allows. */
function findBudgetFaults({ fleet, settings }: Candidate, services: readonly PlacedService[]): Violation[] {
  return [
    ...checkBudget(services, fleet?.nodes[settings.node]),
    ...checkPolicyBudget(services, settings.policy.memory.max_total),
  ];
}

function findViolations(candidate: Candidate, services: readonly PlacedService[]): Violation[] {
  const { settings, fleet, others } = candidate;
  const node = fleet?.nodes[settings.node];
  const address = settings.address ?? node?.address ?? LOOPBACK;
  const budget = settings.budget === "enforce" ? findBudgetFaults(candidate, services) : [];
  const clashes = settings.ports === "shift" ? [] : findPortClashes(services, address, settings.agentPorts);
  return [...findDependencyCycles([...services, ...others]), ...budget, ...clashes, ...findNameClashes(services)];
}

/** An accepted manifest without what is found out anew each time. */
export function keepText({ text, revision, movedFrom }: AcceptedService): AcceptedManifest["accepted"] {
  return { text, revision, ...(movedFrom === undefined ? {} : { movedFrom }) };
}
