// Probes what it is told to and keeps the newest view of each. Wakes the loop only when a view changes its status.
// Never decides what to do about it.

import { canonicalJson, jitterFraction } from "../../shared/identity.ts";
import type { HealthView } from "../../shared/observed-state.ts";
import type { DockerExec } from "../docker/reader.ts";
import type { CancelTimer, Clock } from "../host/clock.ts";
import { probeContainer, probeEndpoint } from "./probes.ts";
import type { ContainerTarget } from "./targets.ts";
import { beginHealth, gatherProbe, nextHealth, nextProbeDelayMs, type ProbeResult } from "./thresholds.ts";

/** What the monitor needs. `probe` and `probeUrl` are the real ones unless a test holds them. */
export interface MonitorOptions {
  clock: Clock;
  exec: DockerExec;
  /** Called when a container or endpoint changes between healthy and not. */
  onChange: () => void;
  probe?: typeof probeContainer;
  probeUrl?: typeof probeEndpoint;
}

interface Watched {
  target: ContainerTarget;
  key: string;
  view: HealthView;
  /** When its probes began, in milliseconds since the epoch. */
  watchedMs: number;
  probes: number;
  cancel: CancelTimer;
}

interface WatchedEndpoint {
  healthy: boolean;
  message: string;
  cancel: CancelTimer;
}

const ENDPOINT_EVERY_MS = 1_000;
const ENDPOINT_TIMEOUT_MS = 3_000;

/** Probes the containers of one node. */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #endpoints = new Map<string, WatchedEndpoint>();
  #closed = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** The newest view of each container. */
  get health(): ReadonlyMap<string, HealthView> {
    return new Map([...this.#watched].map(([id, watched]) => [id, watched.view]));
  }

  /** The newest answer of each endpoint that has been probed. */
  get endpoints(): ReadonlyMap<string, { healthy: boolean; message: string }> {
    return new Map([...this.#endpoints].filter(([, endpoint]) => endpoint.message !== ""));
  }

  /** Replaces what is watched; what stays the same goes on undisturbed. */
  watch(targets: readonly ContainerTarget[], endpoints: readonly string[]): void {
    const wanted = new Map(targets.map((target) => [target.container, target]));
    const known = new Set(this.#watched.keys());
    for (const [id, watched] of this.#watched) {
      const target = wanted.get(id);
      if (target !== undefined && describeKey(target) === watched.key) continue;
      watched.cancel();
      this.#watched.delete(id);
      // A new check on the same run keeps what is known until its first probe; a new run begins anew.
      if (target !== undefined && target.startedMs === watched.target.startedMs) this.#begin(target, watched.view);
    }
    for (const target of targets)
      if (!this.#watched.has(target.container))
        this.#begin(target, beginHealth(target.startedMs, !known.has(target.container)));
    this.#watchEndpoints(endpoints);
  }

  /** Begins to probe one container before the next turn tells of it. */
  add(target: ContainerTarget): void {
    if (!this.#closed && !this.#watched.has(target.container))
      this.#begin(target, beginHealth(target.startedMs, false));
  }

  /** Ends all probing, for good. */
  close(): void {
    this.watch([], []);
    this.#closed = true;
  }

  #begin(target: ContainerTarget, view: HealthView): void {
    const watchedMs = this.#options.clock.nowMs();
    const watched: Watched = { target, key: describeKey(target), view, watchedMs, probes: 0, cancel: () => undefined };
    this.#watched.set(target.container, watched);
    this.#schedule(watched, 0);
  }

  #schedule(watched: Watched, delayMs: number): void {
    watched.cancel = this.#options.clock.after(delayMs, () => void this.#probe(watched));
  }

  async #probe(watched: Watched): Promise<void> {
    const { clock, exec, probe = probeContainer, onChange } = this.#options;
    const { target } = watched;
    const result = await probe(target, exec);
    if (this.#watched.get(target.container) !== watched) return;
    const before = watched.view;
    watched.probes += 1;
    const { startedMs } = target;
    watched.view = nextHealth(before, result, target.check, {
      nowMs: clock.nowMs(),
      startedMs,
      watchedMs: watched.watchedMs,
    });
    const delayMs = nextProbeDelayMs(watched.view, target.check, watched.probes);
    // The first probe after a change of status is moved by a share of the interval, so that services do not beat in step.
    const spread =
      watched.view.status === before.status || delayMs < 1_000 ? 0 : delayMs * 0.5 * jitterFraction(target.container);
    this.#schedule(watched, watched.view.status === "starting" ? delayMs : this.#gather(target, delayMs - spread));
    if (watched.view.status !== before.status) onChange();
  }

  /** Timers take whole milliseconds: one that came early would be on the beat before. */
  #gather({ check }: ContainerTarget, delayMs: number): number {
    const nowMs = this.#options.clock.monotonicMs();
    return Math.ceil(gatherProbe(nowMs + delayMs, check) - nowMs);
  }

  #watchEndpoints(urls: readonly string[]): void {
    const wanted = new Set(urls);
    for (const [url, endpoint] of this.#endpoints) {
      if (wanted.has(url)) continue;
      endpoint.cancel();
      this.#endpoints.delete(url);
    }
    for (const url of urls) {
      if (this.#endpoints.has(url)) continue;
      const endpoint: WatchedEndpoint = { healthy: false, message: "", cancel: () => undefined };
      this.#endpoints.set(url, endpoint);
      endpoint.cancel = this.#options.clock.after(0, () => void this.#probeEndpoint(url, endpoint));
    }
  }

  async #probeEndpoint(url: string, endpoint: WatchedEndpoint): Promise<void> {
    const { probeUrl = probeEndpoint, clock, onChange } = this.#options;
    const result: ProbeResult = await probeUrl(url, ENDPOINT_TIMEOUT_MS);
    if (this.#endpoints.get(url) !== endpoint) return;
    const changed = endpoint.message === "" || endpoint.healthy !== (result.kind === "ok");
    endpoint.healthy = result.kind === "ok";
    endpoint.message = result.message;
    endpoint.cancel = clock.after(ENDPOINT_EVERY_MS, () => void this.#probeEndpoint(url, endpoint));
    if (changed) onChange();
  }
}

function describeKey(target: ContainerTarget): string {
  return canonicalJson([target.startedMs, target.address ?? null, target.check]);
}
