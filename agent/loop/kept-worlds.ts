// The last turns that planned something, for `orca debug world`: what plan() was given and what it answered. Used by the
// reconciler. Keeps references to what the turns have made anyway, and writes them as text only when somebody asks.

import { leaveContents, type PlannedTurn, printTurn } from "../plan/world-text.ts";
import type { Plan, World } from "../plan/world.ts";

const KEPT_TURNS = 5;
/** What a text may be, so that asking for it neither fills the agent's memory nor stops its loop for long. */
const LARGEST_TEXT_CHARACTERS = 16 * 2 ** 20;
/** Services and containers of all kept worlds together: what each refers to is a few KiB at most. */
const MOST_ENTRIES = 4_000;

/** The last worlds of one loop. */
export class KeptWorlds {
  #turns: PlannedTurn[] = [];

  /** Keeps a turn, unless there was nothing to do. */
  keep(world: World, { operations, cancel, faults }: Plan): void {
    if (operations.length + cancel.length + faults.length === 0) return;
    this.#add({ world, answer: { kind: "planned", operations, cancel, faults } });
  }

  /** Keeps a turn whose plan() threw. */
  keepThrown(world: World, error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#add({ world, answer: { kind: "threw", message } });
  }

  /**
   * All that is kept as JSON, the newest turn first.
   * @param largestCharacters older turns that would make it longer are left out, and counted
   */
  print(largestCharacters = LARGEST_TEXT_CHARACTERS): string {
    const texts: string[] = [];
    let length = 0;
    for (const turn of this.#turns.toReversed()) {
      const text = printTurn(turn);
      length += text.length;
      if (length > largestCharacters) break;
      texts.push(text);
    }
    return `{"version":1,"leftOut":${this.#turns.length - texts.length},"turns":[${texts.join(",\n")}]}\n`;
  }

  #add(turn: PlannedTurn): void {
    this.#turns = [...this.#turns, { ...turn, world: leaveContents(turn.world) }].slice(-KEPT_TURNS);
    while (
      this.#turns.length > 1 &&
      this.#turns.reduce((sum, { world }) => sum + countEntries(world), 0) > MOST_ENTRIES
    )
      this.#turns.shift();
  }
}

function countEntries({ desired, observed: { engine } }: World): number {
  return desired.services.size + (engine.reachable ? engine.containers.length + engine.foreign.length : 0);
}
