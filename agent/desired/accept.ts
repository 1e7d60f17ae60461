// Which inputs are in force: judges a snapshot against what was in force before. Error is not empty, a bad manifest holds
// its service at its release, and a change that removes much is held by the deletion brake. Pure.

import type { AcceptedService, InForce } from "../../shared/in-force.ts";
import type { Objection } from "../../shared/desired-state.ts";
import type { Fleet } from "../../shared/fleet.ts";
import { describeProblem } from "../../shared/problem.ts";
import type { CommitInfo } from "../../shared/snapshot.ts";
import {
  checkBudget,
  checkPolicyBudget,
  findDependencyCycles,
  findPortClashes,
  type PlacedService,
  placeName,
  type RemoteService,
  type Violation,
} from "./constraints.ts";
import type { ParsedManifest } from "./repository.ts";
import { type DesiredSettings, LOOPBACK } from "./settings.ts";

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
  /** Services that have containers on this node although nothing is remembered of them. */
  adopted: readonly string[];
  /** How many removals a person or a commit has allowed. */
  allowedRemovals: number;
  settings: DesiredSettings;
}

/** What is in force now, and what was objected to. */
export interface Acceptance {
  /** Service → the manifest in force; from this snapshot, or from before where it is held. */
  services: ReadonlyMap<string, AcceptedManifest>;
  objections: ReadonlyMap<string, Objection>;
  /** Set when the whole change is held. */
  held: string | undefined;
  /** What is not as it should be and holds nothing. */
  notes: readonly string[];
}

/** A manifest in force. */
export interface AcceptedManifest extends PlacedService {
  accepted: Omit<AcceptedService, "files">;
}

/** The most services an input change may remove without a word from a person (behaviour, section 1). */
function mostRemovals(before: number): number {
  return before >= 3 ? Math.min(Math.max(2, Math.floor(before * 0.3)), before - 1) : 2;
}

/** How many removals a commit allows by its trailer `Orca-Allow-Removal: <n>`; what is no number allows none. */
export function readAllowedRemovals(commit: CommitInfo | undefined): number {
  const values = (commit?.trailers ?? []).filter(([key]) => key.toLowerCase() === "orca-allow-removal");
  return Math.max(0, ...values.map(([, value]) => (/^\d{1,5}$/.test(value) ? Number(value) : 0)));
}

/** Judges a candidate. */
export function accept(candidate: Candidate): Acceptance {
  const brake = checkDeletionBrake(candidate);
  if (brake !== undefined) return keepBefore(candidate, brake);
  const objections = new Map<string, Objection>();
  const services = new Map<string, AcceptedManifest>();
  for (const parsed of candidate.own) {
    if (parsed.manifest !== undefined) {
      const { node, service, manifest, text } = parsed;
      services.set(service, {
        node,
        service,
        manifest,
        accepted: { text, revision: reviseOnly(candidate, service, text) },
      });
      continue;
    }
    const first = parsed.problems[0];
    const more = parsed.problems.length > 1 ? ` (and ${parsed.problems.length - 1} more)` : "";
    objections.set(parsed.service, {
      state: "invalid",
      reason: first === undefined ? "its manifest is invalid" : `${describeProblem(first)}${more}`,
      problems: parsed.problems,
    });
    hold(candidate, services, parsed.service);
  }
  holdViolations(candidate, services, objections);
  const budget = candidate.settings.budget === "warn" ? findBudgetFaults(candidate, [...services.values()]) : [];
  const notes = budget.map(({ message, hint }) => `${message}; on a real node this would be held: ${hint}`);
  return { services, objections, held: undefined, notes };
}

/** A service whose text did not change keeps the revision it came from: the label informs, and stays true. */
function reviseOnly(candidate: Candidate, service: string, text: string): string {
  const before = candidate.inForce?.services[service];
  return before?.text === text ? before.revision : candidate.revision;
}

function checkDeletionBrake(candidate: Candidate): string | undefined {
  const before = new Set([...Object.keys(candidate.inForce?.services ?? {}), ...candidate.adopted]);
  const now = new Set(candidate.own.map((parsed) => parsed.service));
  const gone = [...before].filter((service) => !now.has(service));
  if (gone.length <= mostRemovals(before.size) || gone.length <= candidate.allowedRemovals) return undefined;
  // A directory has no commits, and so no trailers.
  const byTrailer = candidate.revision.startsWith("dir:")
    ? ""
    : `, or write the trailer Orca-Allow-Removal: ${gone.length} into the commit`;
  return (
    `the change to ${candidate.revision} would remove ${gone.length} of ${before.size} services ` +
    `(${gone.toSorted().slice(0, 5).join(", ")}${gone.length > 5 ? ", …" : ""}); if that is meant, run ` +
    `orca sync --allow-removal ${gone.length}${byTrailer}`
  );
}

/** Everything stays as it was accepted before. */
function keepBefore(candidate: Candidate, held: string): Acceptance {
  const services = new Map<string, AcceptedManifest>();
  for (const service of candidate.before.keys()) hold(candidate, services, service);
  return { services, objections: new Map(), held, notes: [] };
}

/** Puts a service back to its last accepted manifest, or takes it out where there is none. */
function hold(candidate: Candidate, services: Map<string, AcceptedManifest>, service: string): void {
  const before = candidate.before.get(service);
  const accepted = candidate.inForce?.services[service];
  if (before === undefined || accepted === undefined) services.delete(service);
  else services.set(service, { ...before, accepted: { text: accepted.text, revision: accepted.revision } });
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
        objections.set(service, { state: "held", reason: `${violation.message}; ${violation.hint}`, problems: [] });
        hold(candidate, services, service);
        heldAny = true;
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
  return [...findDependencyCycles([...services, ...others]), ...budget, ...clashes];
}
