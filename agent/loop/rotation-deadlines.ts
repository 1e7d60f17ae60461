// How long services have had newer values of their secrets: who does not settle in its time keeps nobody waiting. By the clock
// that never jumps; an agent that starts gives each its time anew. Used by the builder; decides nothing else.

import type { DesiredState } from "../../shared/state/desired-state.ts";
import type { InForce } from "../../shared/state/in-force.ts";
import type { ServiceStanding } from "../../shared/state/rotation.ts";

interface Turn {
  /** The versions that it is about: newer ones begin a new turn. */
  versions: string;
  endMs: number;
}

/** The turns of one node's services. All times are of the monotonic clock. */
export class RotationDeadlines {
  #turns = new Map<string, Turn>();

  /** Takes who has newer values now; a turn lasts as long as a release has to settle. */
  follow(
    { inForce, desired }: { inForce: InForce; desired: DesiredState },
    standings: ReadonlyMap<string, ServiceStanding>,
    nowMs: number,
  ): void {
    const turns = new Map<string, Turn>();
    for (const [name, { rotation, secrets }] of Object.entries(inForce.services)) {
      // Where it went back, its turn is over; when a person lets it try again, that is another one.
      if (rotation === undefined || standings.get(name)?.fault?.wentBack === true) continue;
      const update = desired.services.get(name)?.update;
      const lengthMs = (update?.healthy_within ?? 0) + (update?.settle ?? 0);
      const versions = JSON.stringify(secrets);
      const known = this.#turns.get(name);
      turns.set(name, known?.versions === versions ? known : { versions, endMs: nowMs + lengthMs });
    }
    this.#turns = turns;
  }

  /** Those whose turn is over. */
  listLate(nowMs: number): ReadonlySet<string> {
    return new Set([...this.#turns].filter(([, { endMs }]) => nowMs >= endMs).map(([name]) => name));
  }

  /** How long until the next turn is over. */
  nextInMs(nowMs: number): number | undefined {
    const left = [...this.#turns.values()].map(({ endMs }) => endMs - nowMs).filter((ms) => ms > 0);
    return left.length === 0 ? undefined : Math.min(...left);
  }
}
