// A service that stands still while its volumes are copied: the loop stops it and starts it again, this asks for both and waits for the
// first. The loop writes down what it was asked before it stops anything, and an agent that begins starts it again.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { ObservedContainer, ObservedEngine } from "../../../shared/state/observed-state.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import type { Clock } from "../../host/os/clock.ts";
import type { ChildAnswer } from "../backup-exchange.ts";

/** What it is made from. */
interface StandingStillOptions {
  clock: Clock;
  /** Asks the loop to stop a service for a backup, or, without a store, to let it start again. */
  holdStill(service: string, store: string | undefined): void;
}

/** The longest `stop_timeout` there is, and a turn or two. */
const STOP_MS = 3_900_000;
/** A container that starts takes seconds; the next backup is not held up for one that cannot. */
const START_MS = 120_000;

/** Stops and starts services around copies of their volumes. */
export class StandingStill {
  readonly #options: StandingStillOptions;
  #engine: ObservedEngine | undefined;
  /** What services are, by the last turn. */
  #states: ReadonlyMap<string, string> | undefined;
  /** Of those that wait for a service to have stopped. */
  readonly #waiting = new Set<() => void>();
  /** Services that may start again and were not seen to run since. */
  readonly #away = new Set<string>();

  constructor(options: StandingStillOptions) {
    this.#options = options;
  }

  /** Takes over what a turn has found; left out, what runs counts as healthy. */
  follow(engine: ObservedEngine, services?: readonly Pick<ServiceView, "name" | "state">[]): void {
    this.#engine = engine;
    this.#states = services && new Map(services.map(({ name, state }) => [name, state]));
    for (const look of this.#waiting) look();
  }

  /** What there is of a service: what runs, or else the last that ran. */
  find({
    service,
  }: Pick<StorePlan, "service">): { id: string; isStopped: boolean; address: string | undefined } | undefined {
    const own = this.#list(service);
    const running = own.find(({ status }) => status === "running");
    if (running !== undefined) return { id: running.id, isStopped: false, address: findAddress(running) };
    const [last] = own.toSorted((one, other) => (other.startedMs ?? 0) - (one.startedMs ?? 0));
    return last === undefined ? undefined : { id: last.id, isStopped: true, address: undefined };
  }

  /**
   * Does the work while the service stands still, where its plan says so; it may start again whatever came of it.
   * @param check looks before whether the work can be done at all: what it finds wrong stops no service
   */
  async during(
    plan: StorePlan,
    signal: AbortSignal,
    { check, work }: { check: () => Promise<ChildAnswer>; work: () => Promise<ChildAnswer> },
  ): Promise<ChildAnswer> {
    if (!plan.source.stop || this.find(plan)?.isStopped !== false) return work();
    const checked = await check();
    if (checked.kind === "failed") return checked;
    const { service, store } = plan;
    this.#options.holdStill(service, store);
    this.#away.add(service);
    const hasStopped = (own: readonly ObservedContainer[]): boolean =>
      own.length > 0 && own.every(({ status }) => status === "exited" || status === "created");
    try {
      if (!(await this.#waitFor(service, { isSo: hasStopped, waitMs: STOP_MS, signal })))
        return { kind: "failed", reason: `${service} did not stop, so that its volumes could be copied` };
      return await work();
    } finally {
      this.#options.holdStill(service, undefined);
    }
  }

  /** Resolves once a service that stood still is healthy again; after two minutes, and for an agent that ends, with how it is then. */
  async untilBack({ service }: Pick<StorePlan, "service">, signal: AbortSignal): Promise<"healthy" | "runs" | "away"> {
    if (!this.#away.delete(service) || signal.aborted) return "healthy";
    const runs = (own: readonly ObservedContainer[]): boolean => own.some(({ status }) => status === "running");
    const isWell = (own: readonly ObservedContainer[]): boolean =>
      runs(own) && (this.#states?.get(service) ?? "healthy") === "healthy";
    if (await this.#waitFor(service, { isSo: isWell, waitMs: START_MS, signal })) return "healthy";
    return runs(this.#list(service)) ? "runs" : "away";
  }

  #waitFor(
    service: string,
    {
      isSo,
      waitMs,
      signal,
    }: { isSo: (own: readonly ObservedContainer[]) => boolean; waitMs: number; signal: AbortSignal },
  ): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isFound: boolean): void => {
        this.#waiting.delete(look);
        cancel();
        signal.removeEventListener("abort", giveUp);
        resolve(isFound);
      };
      const giveUp = (): void => end(false);
      const look = (): void => {
        if (isSo(this.#list(service))) end(true);
      };
      const cancel = this.#options.clock.after(waitMs, giveUp);
      signal.addEventListener("abort", giveUp);
      this.#waiting.add(look);
      look();
    });
  }

  #list(service: string): ObservedContainer[] {
    if (this.#engine?.reachable !== true) return [];
    return this.#engine.containers.filter((entry) => entry.service === service);
  }
}

/** Where this host reaches it: on its network, or on the host's own. */
function findAddress({ networks = {} }: Partial<Pick<ObservedContainer, "networks">>): string | undefined {
  return "host" in networks ? "127.0.0.1" : Object.values(networks).find((address) => address !== "");
}
