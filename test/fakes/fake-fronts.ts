// Fronts in memory that stand beside the real ones and pass the same contract suite (test/contract/front-port.ts). What a
// front was told lives with the front's run, as in a real one; what an agent remembers of it lives with the agent.

import type { AskedFront, Drained, FrontPort } from "../../agent/apply/front-control.ts";
import type { Clock } from "../../agent/host/os/clock.ts";
import { FRONT_CONTROL, type FrontRouting } from "../../shared/state/front.ts";

/** What all fronts of a node do, over every agent that tells them. */
export class FakeFrontWorld {
  /** Front → the run that was told, and who gets its traffic in it. Another run of it was told nothing. */
  readonly #told = new Map<string, FrontRouting>();
  readonly #findRun: (front: string) => string | undefined;
  /** Address → connections that are open there. */
  readonly connections = new Map<string, number>();
  /** Who got the traffic of any front, in order; undefined for nobody. */
  readonly switches: (string | undefined)[] = [];
  /** Fronts that do not answer who asks or tells them; their traffic goes on. */
  readonly mute = new Set<string>();

  /** @param findRun the run of a front that is there now */
  constructor(findRun: (front: string) => string | undefined) {
    this.#findRun = findRun;
  }

  /** Who gets the traffic of a front that runs now; undefined where there is none. */
  find(front: string): FrontRouting | undefined {
    const run = this.#findRun(front);
    const told = this.#told.get(front);
    if (run === undefined) return undefined;
    return told?.run === run ? told : { run, address: undefined };
  }

  /** The address that new requests go to now; undefined where nobody answers them. */
  serving(front: string): string | undefined {
    return this.find(front)?.address;
  }

  /** What a front says of itself to who asks it; undefined where no answer comes. */
  ask(front: string): FrontRouting | undefined {
    return this.mute.has(front) ? undefined : this.find(front);
  }

  /** What the front's run of now does from here on. */
  set(front: string, to: Omit<FrontRouting, "run">): void {
    const run = this.#findRun(front);
    if (run !== undefined) this.#told.set(front, { ...to, run });
  }
}

/** The fronts as one agent sees them. */
export class FakeFronts implements FrontPort {
  readonly routing = new Map<string, FrontRouting>();
  readonly #world: FakeFrontWorld;
  readonly #clock: Clock;

  constructor(world: FakeFrontWorld, clock: Clock) {
    this.#world = world;
    this.#clock = clock;
  }

  async mount(front: string): Promise<{ source: string; target: string; readOnly: boolean }> {
    return { source: `/var/lib/orca/fronts/${front}`, target: FRONT_CONTROL, readOnly: false };
  }

  async look(fronts: readonly AskedFront[], again: boolean): Promise<void> {
    for (const { front, run } of fronts) {
      const known = this.routing.get(front);
      const isKnown = known?.run === run && known.silent === undefined;
      if (isKnown && !again) continue;
      const now = this.#world.ask(front);
      if (now !== undefined) this.routing.set(front, { ...now, run });
      else if (!isKnown) this.routing.set(front, { run, address: undefined, silent: `ask ${front}: connect ENOENT` });
    }
  }

  async switchTo(front: string, to: FrontRouting, _ports: readonly number[]): Promise<boolean> {
    const before = this.#world.ask(front);
    if (before === undefined) {
      this.routing.delete(front);
      throw new Error(`ask ${front}: connect ENOENT`);
    }
    const changed = before.uneven === true || before.address !== to.address;
    this.#world.set(front, { address: to.address });
    if (changed) this.#world.switches.push(to.address);
    this.routing.set(front, to);
    return changed;
  }

  async drain(front: string, from: Drained, signal: AbortSignal): Promise<void> {
    if (this.#world.ask(front) === undefined) throw new Error(`ask ${front}: connect ENOENT`);
    const endMs = this.#clock.monotonicMs() + from.timeoutMs;
    while (!signal.aborted && this.#clock.monotonicMs() < endMs) {
      if ((this.#world.connections.get(from.address) ?? 0) === 0) break;
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(250, resolve);
        signal.addEventListener("abort", () => {
          cancel();
          resolve();
        });
      });
    }
    if (signal.aborted) throw new Error(`drain ${from.address}: it is wanted again`);
    this.#world.connections.delete(from.address);
  }
}
