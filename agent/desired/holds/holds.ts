// What holds a whole change back: one list of pure checks, each with its reason, all of them asked. Judged by the fleet.toml
// in force, so that no commit lifts what would have held it. A held change leaves everything as it was accepted before.

import type { Fleet, FleetNode } from "../../../shared/fleet/fleet.ts";
import type { Hold, RolloutVerdict } from "../../../shared/state/hold.ts";
import type { InForce } from "../../../shared/state/in-force.ts";
import type { Approvals, CommitInfo, Snapshot } from "../../../shared/state/snapshot.ts";
import { findFreezeEnd } from "./freeze.ts";

/** What a change is judged on. */
export interface Change {
  node: string;
  snapshot: Pick<Snapshot, "revision" | "commit" | "objects" | "awaited">;
  inForce: InForce | undefined;
  /** fleet.toml in force, and at a first installation the one that comes with it. */
  judging: Fleet | undefined;
  /** The services before and after it. */
  services: { before: ReadonlySet<string>; after: ReadonlySet<string> };
  allowedRemovals: number;
  approvals: Approvals | undefined;
  rollout: RolloutVerdict | undefined;
  nowMs: number;
}

/** Lists all that holds a change, in the order in which people can do something about it. */
export function listHolds(change: Change): Hold[] {
  return CHECKS.flatMap((check) => check(change) ?? []);
}

/** A commit whose message ends with this goes in during a freeze, and without waiting for another node. */
const EMERGENCY = "orca-emergency";

type Check = (change: Change) => Hold | undefined;

const CHECKS: readonly Check[] = [checkRemovals, checkApproval, checkFreeze, checkRollout];

/** The most services an input change may remove without a word from a person (behaviour, section 1). */
function mostRemovals(before: number): number {
  return before >= 3 ? Math.min(Math.max(2, Math.floor(before * 0.3)), before - 1) : 2;
}

/** How many removals a commit allows by its trailer `Orca-Allow-Removal: <n>`; what is no number allows none. */
export function readAllowedRemovals(commit: CommitInfo | undefined): number {
  const values = (commit?.trailers ?? []).filter(([key]) => key.toLowerCase() === "orca-allow-removal");
  return Math.max(0, ...values.map(([, value]) => (/^\d{1,5}$/.test(value) ? Number(value) : 0)));
}

function checkRemovals({ snapshot, services: { before, after }, allowedRemovals }: Change): Hold | undefined {
  const gone = [...before].filter((service) => !after.has(service));
  if (gone.length <= mostRemovals(before.size) || gone.length <= allowedRemovals) return undefined;
  // A directory has no commits, and so no trailers.
  const byTrailer = snapshot.revision.startsWith("dir:")
    ? ""
    : `, or write the trailer Orca-Allow-Removal: ${gone.length} into the commit`;
  const reason =
    `the change to ${snapshot.revision} would remove ${gone.length} of ${before.size} services ` +
    `(${gone.toSorted().slice(0, 5).join(", ")}${gone.length > 5 ? ", …" : ""}); if that is meant, run ` +
    `orca sync --allow-removal ${gone.length}${byTrailer}`;
  return { kind: "removal", reason };
}

/** A first installation waits too: nobody has looked at it yet. Whoever may write a directory decides without a tag. */
function checkApproval(change: Change): Hold | undefined {
  const { node, snapshot, approvals, inForce } = change;
  if (findGates(change)?.approval !== "tag" || snapshot.objects === undefined || !isChange(change)) return undefined;
  if (approvals?.granted !== undefined) return undefined;
  const tag = `orca/approve/${node}/${snapshot.revision.slice(0, 12)}`;
  const how = approvals?.signed === false ? "-a" : "-s";
  const what = inForce === undefined ? `the first installation of ${node}` : `the change to ${snapshot.revision}`;
  const reason =
    `${what} waits for approval: run git tag ${how} -m approve ${tag} ${snapshot.revision} && git push origin ${tag}` +
    (approvals?.signed === false ? UNPROVED : "") +
    (approvals?.refused ?? []).map((why) => `; ${why}`).join("");
  return { kind: "approval", reason };
}

const UNPROVED = " (without source.git.trusted_keys the tag of anybody who may push counts)";

/** A first installation is not frozen: there is nothing to protect, and a node may be needed in the worst hour. */
function checkFreeze(change: Change): Hold | undefined {
  const { snapshot, inForce, nowMs } = change;
  if (inForce === undefined || !isChange(change) || isEmergency(snapshot.commit)) return undefined;
  const untilMs = findFreezeEnd(findGates(change)?.freeze ?? [], nowMs);
  if (untilMs === undefined) return undefined;
  const reason =
    `the change to ${snapshot.revision} is frozen until ${describeTime(untilMs)} and goes in by itself then ` +
    `(freeze in fleet.toml)${byEmergency(snapshot.revision)}`;
  return { kind: "freeze", reason, untilMs };
}

function checkRollout(change: Change): Hold | undefined {
  const { snapshot, inForce, rollout } = change;
  const after = findGates(change)?.rollout?.after;
  if (after === undefined || snapshot.objects === undefined || inForce === undefined) return undefined;
  if (!isChange(change) || isEmergency(snapshot.commit) || rollout?.kind === "settled") return undefined;
  // That node has had the same for as long as this one: there is nothing that it would try first.
  if (snapshot.awaited?.node === after && snapshot.awaited.revisions.length === 0) return undefined;
  const reason =
    `the change to ${snapshot.revision} waits for ${after} (rollout.after): ${describeVerdict(rollout, after)}` +
    byEmergency(snapshot.revision);
  return { kind: "rollout", reason };
}

function describeVerdict(verdict: RolloutVerdict | undefined, after: string): string {
  switch (verdict?.kind) {
    case "failed":
      return `its rollout there ended with ${verdict.state}; correct it, and the next commit is tried there first`;
    case "waiting":
      return `it has not settled there yet; waiting since ${describeTime(verdict.sinceMs)}`;
    case "unknown":
      return `how it went there is not known: ${verdict.reason}; next try at ${describeTime(verdict.retryMs)}`;
    default:
      return `${after} has not said yet how it went`;
  }
}

/** What fleet.toml says of this node's changes. */
function findGates({ judging, node }: Change): FleetNode | undefined {
  return judging?.nodes[node];
}

/** True where this node's inputs are others than those in force. */
function isChange({ snapshot, inForce }: Change): boolean {
  if (inForce === undefined) return true;
  const [now, before] = [snapshot.objects, inForce.objects];
  if (now === undefined || before === undefined) return snapshot.revision !== inForce.revision;
  return now.directory !== before.directory || now.fleet !== before.fleet;
}

function isEmergency(commit: CommitInfo | undefined): boolean {
  return (commit?.trailers ?? []).some(([key, value]) => key.toLowerCase() === EMERGENCY && value !== "");
}

function byEmergency(revision: string): string {
  if (revision.startsWith("dir:")) return "";
  return "; in an emergency, a commit whose message ends with Orca-Emergency: <why> does not wait";
}

function describeTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
