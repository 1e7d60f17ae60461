// Incidents of services: when each began, and when the service had settled again. Follows the turns for promise-keeper.ts, which hands
// them in; keeps them in the state as they begin and end. Never judges whether a promise is broken.

import type { TurnSummary } from "../../../shared/state/event.ts";
import type { Incident } from "../../../shared/slo/availability.ts";
import type { Cause } from "../../../shared/state/step.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import type { PromiseStore } from "../../host/store/promise-store.ts";
import type { Tracked } from "./track-services.ts";

/** Down in one of these states, it is so by no change that was asked for. */
const FAILING: ReadonlySet<ServiceState> = new Set(["unhealthy", "backoff", "failed", "stalled", "rolled-back"]);
/** What is done for one of these reasons follows an incident. */
const HEALING: ReadonlySet<Cause["kind"]> = new Set(["crash", "oom", "unhealthy", "boot"]);

/** How time stands. */
interface Moment {
  nowMs: number;
  monotonicMs: number;
}

interface Open {
  incident: Incident;
  /** When it began, by the clock that does not jump. */
  beganAt: number;
}

type Keeping = Pick<PromiseStore, "listIncidents" | "saveIncident">;

/** Keeps the newest incident of each service. */
export class Incidents {
  #last = new Map<string, Incident>();
  readonly #open = new Map<string, Open>();
  /** Since when a service is down, by the clock that does not jump. */
  readonly #downSince = new Map<string, number>();

  /** Takes what is kept; one that has not ended goes on. */
  load(store: Keeping, { nowMs, monotonicMs }: Moment): void {
    this.#last = store.listIncidents();
    for (const [service, incident] of this.#last)
      if (incident.endedMs === undefined)
        this.#open.set(service, { incident, beganAt: monotonicMs - Math.max(0, nowMs - incident.beganMs) });
  }

  /** The newest incident of a service; one that goes on has taken so long by now. */
  find(service: string, { monotonicMs }: Moment): Incident | undefined {
    const open = this.#open.get(service);
    return open === undefined
      ? this.#last.get(service)
      : { ...open.incident, tookMs: Math.max(0, Math.round(monotonicMs - open.beganAt)) };
  }

  /** The host was lost with what ran on it, `forMs` ago: an incident of each of these services. */
  beginLost(services: readonly string[], forMs: number, { nowMs, monotonicMs }: Moment, store: Keeping): void {
    for (const service of services) {
      if (this.#open.has(service)) continue;
      const incident = { service, beganMs: nowMs - forMs, endedMs: undefined, tookMs: forMs, state: "lost" };
      this.#save({ incident, beganAt: monotonicMs - forMs }, { store, isNew: true });
    }
  }

  /** Peers have said that the host was lost earlier than it seemed. */
  beginEarlier(services: readonly string[], fromMs: number, store: Keeping): void {
    for (const service of services) {
      const last = this.#open.get(service)?.incident ?? this.#last.get(service);
      if (last?.state !== "lost" || last.beganMs <= fromMs) continue;
      const byMs = last.beganMs - fromMs;
      const incident = { ...last, beganMs: fromMs, tookMs: last.tookMs + byMs };
      const open = this.#open.get(service);
      if (open === undefined) this.#last.set(service, incident);
      else this.#open.set(service, { incident, beganAt: open.beganAt - byMs });
      store.saveIncident(incident, false);
    }
  }

  /** Looks at one turn. Throws what the store throws. */
  follow(turn: TurnSummary, tracked: ReadonlyMap<string, Tracked>, at: Moment, store: Keeping): void {
    for (const service of this.#open.keys()) if (!tracked.has(service)) this.#end(service, at, store);
    for (const service of this.#downSince.keys()) if (!tracked.has(service)) this.#downSince.delete(service);
    for (const { name, state, settled } of turn.services) {
      const now = tracked.get(name);
      if (now === undefined) continue;
      if (now.verdict === "up") {
        this.#downSince.delete(name);
        if (state === "healthy" && settled) this.#end(name, at, store);
      }
      if (now.verdict !== "down" || this.#open.has(name)) continue;
      const since = this.#downSince.get(name) ?? at.monotonicMs - now.failingForMs;
      this.#downSince.set(name, since);
      const isHealed = turn.observed.operations.some(({ lane, cause }) => lane === name && HEALING.has(cause.kind));
      if (!FAILING.has(state) && !isHealed) continue;
      const tookMs = Math.round(at.monotonicMs - since);
      const incident = { service: name, beganMs: at.nowMs - tookMs, endedMs: undefined, tookMs, state };
      this.#save({ incident, beganAt: since }, { store, isNew: true });
    }
  }

  /** Settled, or nobody wants it any more. */
  #end(service: string, at: Moment, store: Keeping): void {
    const open = this.#open.get(service);
    if (open === undefined) return;
    const tookMs = Math.max(0, Math.round(at.monotonicMs - open.beganAt));
    const incident = { ...open.incident, endedMs: at.nowMs, tookMs };
    store.saveIncident(incident, false);
    this.#open.delete(service);
    this.#last.set(service, incident);
  }

  #save(open: Open, { store, isNew }: { store: Keeping; isNew: boolean }): void {
    store.saveIncident(open.incident, isNew);
    this.#open.set(open.incident.service, open);
  }
}
