// What a drill hears of the agent: each turn, and each event, for as long as somebody waits for one. Used by the drills of this room.

import type { AgentEvent, TurnSummary } from "../../shared/state/event.ts";

/** The agent ends: whoever waits gives up. */
export class GivenUp extends Error {}

/** Hears events and lets drills wait for them. */
export class DrillEars {
  /** The newest one. */
  turn: TurnSummary | undefined;
  readonly #listeners = new Set<(event: AgentEvent | undefined) => void>();
  #closed = false;

  /** Never throws, never waits. */
  hear(event: AgentEvent): void {
    if (event.kind === "turn") this.turn = event.turn;
    for (const listener of this.#listeners) listener(event);
  }

  /** Whoever waits gives up now. */
  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners) listener(undefined);
  }

  /**
   * Waits for an event that gives an answer. Rejects with `GivenUp` when the agent ends.
   * @param answer called with each event from now on
   */
  until<T>(answer: (event: AgentEvent) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new GivenUp());
      const listener = (event: AgentEvent | undefined): void => {
        const found = event === undefined ? undefined : answer(event);
        if (event !== undefined && found === undefined) return;
        this.#listeners.delete(listener);
        if (found === undefined) reject(new GivenUp());
        else resolve(found);
      };
      this.#listeners.add(listener);
    });
  }
}
