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
  const { revision } = snapshot;
  return { kind: "removal", why: { code: "removes-much", revision, gone: gone.toSorted(), of: before.size } };
}

/** A first installation waits too: nobody has looked at it yet. Whoever may write a directory decides without a tag. */
function checkApproval(change: Change): Hold | undefined {
  const { node, snapshot, approvals, inForce } = change;
  if (findGates(change)?.approval !== "tag" || snapshot.objects === undefined || !isChange(change)) return undefined;
  if (approvals?.granted !== undefined) return undefined;
  const { signed, refused = [] } = approvals ?? {};
  const first = inForce === undefined;
  return {
    kind: "approval",
    why: { code: "not-approved", revision: snapshot.revision, node, first, signed, refused },
  };
}

/** A first installation is not frozen: there is nothing to protect, and a node may be needed in the worst hour. */
function checkFreeze(change: Change): Hold | undefined {
  const { snapshot, inForce, nowMs } = change;
  if (inForce === undefined || !isChange(change) || isEmergency(snapshot.commit)) return undefined;
  const untilMs = findFreezeEnd(findGates(change)?.freeze ?? [], nowMs);
  if (untilMs === undefined) return undefined;
  return { kind: "freeze", why: { code: "frozen", revision: snapshot.revision, untilMs }, untilMs };
}

function checkRollout(change: Change): Hold | undefined {
  const { snapshot, inForce, rollout } = change;
  const after = findGates(change)?.rollout?.after;
  if (after === undefined || snapshot.objects === undefined || inForce === undefined) return undefined;
  if (!isChange(change) || isEmergency(snapshot.commit) || rollout?.kind === "settled") return undefined;
  // That node has had the same for as long as this one: there is nothing that it would try first.
  if (snapshot.awaited?.node === after && snapshot.awaited.revisions.length === 0) return undefined;
  const { revision } = snapshot;
  return { kind: "rollout", why: { code: "other-node-first", revision, after, verdict: rollout } };
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
  return readEmergency(commit) !== undefined;
}

/** Why a commit waits for nobody, as its trailer `Orca-Emergency: <why>` says it; undefined without one. */
export function readEmergency(commit: CommitInfo | undefined): string | undefined {
  const found = (commit?.trailers ?? []).find(([key, value]) => key.toLowerCase() === EMERGENCY && value !== "");
  return found?.[1];
}
