// Why a whole change is not in force yet: one word for each cause, and what a person can do. Made by desired/, shown by
// report/. Pure data.

/** What a change waits for. */
export type HoldKind =
  /** fleet.toml cannot be read, or is not for this node. */
  | "refused"
  /** Signatures do not allow it. */
  | "trust"
  /** It would remove much: the deletion brake. */
  | "removal"
  | "approval"
  | "freeze"
  | "rollout";

/** One cause. */
export interface Hold {
  kind: HoldKind;
  /** What it is about, and what to do, in words. */
  reason: string;
  /** When it ends by itself, in milliseconds since the epoch. */
  untilMs?: number;
}

/** What is known of the node that this one's rollouts wait for. */
export type RolloutVerdict =
  | { kind: "settled" }
  /** Its rollout ended badly. */
  | { kind: "failed"; state: string }
  | { kind: "waiting"; sinceMs: number }
  /** It cannot be told. */
  | { kind: "unknown"; reason: string; retryMs: number };

/** All that keeps a change from going in, as one text. */
export function describeHolds(holds: readonly Hold[]): string {
  return holds.map(({ reason }) => reason).join("; and ");
}
