// What was refused: counted, and told at most once a minute for each node and reason. Pure; both protocols keep it so.

import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import type { RefusalKind } from "../../../shared/fleet/gossip-stats.ts";
import { MOST_REFUSALS, REFUSAL_EVERY_MS } from "../settings.ts";

/** The part of a protocol's state that refusals are kept in. */
interface RefusalState {
  nowMs: number;
  readonly refused: Record<RefusalKind, number>;
  /** When which refusal was told last. */
  readonly told: Map<string, number>;
  readonly effects: { push(effect: { kind: "event"; event: GossipEvent }): unknown };
}

/** Counts what was refused, and tells it where it was not told lately. */
export function reportRefusal(state: RefusalState, node: string, kind: RefusalKind, reason: string): void {
  state.refused[kind] += 1;
  const key = `${node}\n${reason}`;
  const toldMs = state.told.get(key);
  if (toldMs !== undefined && state.nowMs - toldMs < REFUSAL_EVERY_MS) return;
  if (state.told.size >= MOST_REFUSALS) state.told.clear();
  state.told.set(key, state.nowMs);
  state.effects.push({ kind: "event", event: { kind: "refused", node, reason } });
}
