// What a commit was judged on: what is in force, the trusted keys, the tags. While it is the same nothing is judged again,
// and no child is started. Pure; used by the Git source.

import type { InForce, SnapshotObjects } from "../../../../shared/state/in-force.ts";
import type { TrustedKey } from "../../../../shared/config/trusted-key.ts";
import type { BaseInputs, TagRef } from "./git-exchange.ts";

/** What a commit was judged by besides what is in force: the same again gives the same again. */
export interface Judged {
  keys: readonly TrustedKey[] | undefined;
  /** Undefined where tags were not asked for. */
  tags: readonly TagRef[] | undefined;
}

/** Tags that nobody needs any more make no difference. */
export function isSameJudgement(now: Judged, before: Judged | undefined): boolean {
  const isSame = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right);
  const tagsMatter = now.tags !== undefined && now.tags.length + (before?.tags?.length ?? 0) > 0;
  return before !== undefined && isSame(now.keys, before.keys) && (!tagsMatter || isSame(now.tags, before.tags));
}

/** True where nothing of this node's inputs is another object. */
export function isSameInputs(left: SnapshotObjects | undefined, right: SnapshotObjects | undefined): boolean {
  return left !== undefined && left.directory === right?.directory && left.fleet === right?.fleet;
}

/** What a commit is judged from. */
export function buildBase(inForce: InForce | undefined): BaseInputs | undefined {
  if (inForce === undefined) return undefined;
  const { revision, objects = { directory: undefined, fleet: undefined }, fleet, others = {} } = inForce;
  return { revision, objects, fleet, routed: Object.keys(others) };
}
