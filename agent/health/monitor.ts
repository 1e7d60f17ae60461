// Probes what it is told to and keeps the newest view of each. Wakes the loop only when a view changes its status.
// Never decides what to do about it.

import { canonicalJson, jitterFraction } from "../../shared/state/identity.ts";
import type { HealthCheck } from "../../shared/manifest/manifest.ts";
import type { HealthView } from "../../shared/state/observed-state.ts";
import type { DockerExec } from "../docker/reader.ts";
import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { type AddressJudge, probeContainer, probeEndpoint } from "./probes.ts";
import type { ContainerTarget } from "../plan/targets.ts";
import { beginHealth, gatherProbe, nextHealth, nextProbeDelayMs, type ProbeResult, renewHealth } from "./thresholds.ts";

/** What the monitor needs. `probe` and `probeUrl` are the real ones unless a test holds them. */
export interface MonitorOptions {
  clock: Clock;
  exec: DockerExec;
  /** Called when a container or endpoint changes between healthy and not. */
  onChange: () => void;
  /** Says which addresses an endpoint may not lead this host to. */
  judgeAddress: AddressJudge;
  probe?: typeof probeContainer;
  probeUrl?: typeof probeEndpoint;
}

interface Watched {
  target: ContainerTarget;
  key: string;
  /** Its times are of the monotonic clock. */
  view: HealthView;
  begunMs: number;
  /** When its probes began. */
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

  /**
   * The newest view of each container.
   * @param offsetMs how far the wall clock stands before the monotonic one: by it moments are named
   */
  readHealth(offsetMs: number): ReadonlyMap<string, HealthView> {
    return new Map([...this.#watched].map(([id, { view }]) => [id, nameTimes(view, offsetMs)]));
  }

  /** The newest answer of each endpoint that has been probed. */
  get endpoints(): ReadonlyMap<string, { healthy: boolean; message: string }> {
    return new Map([...this.#endpoints].filter(([, endpoint]) => endpoint.message !== ""));
  }

  /** Replaces what is watched; what stays the same goes on undisturbed. Moments in targets are named by `offsetMs`, as views are. */
  watch(targets: readonly ContainerTarget[], endpoints: readonly string[], offsetMs: number): void {
    const wanted = new Map(targets.map((target) => [target.container, target]));
    const known = new Set(this.#watched.keys());
    for (const [id, watched] of this.#watched) {
      const target = wanted.get(id);
      if (target !== undefined && describeKey(target) === watched.key) continue;
      watched.cancel();
      this.#watched.delete(id);
      // The same run at another address or rhythm keeps what is known until its first probe; a new run begins anew.
      if (target !== undefined && target.startedMs === watched.target.startedMs) this.#goOn(target, watched);
    }
    for (const target of targets)
      if (!this.#watched.has(target.container)) this.#beginAnew(target, offsetMs, !known.has(target.container));
    this.#watchEndpoints(endpoints);
  }

  /** Begins to probe a run that has just begun, before the next turn tells of it; another run of the container is over. */
  add(target: ContainerTarget): void {
    const known = this.#watched.get(target.container);
    if (this.#closed || known?.target.startedMs === target.startedMs) return;
    known?.cancel();
    this.#beginAnew(target, 0, false);
  }

  /** Ends all probing, for good. */
  close(): void {
    this.watch([], [], 0);
    this.#closed = true;
  }

  #beginAnew(target: ContainerTarget, offsetMs: number, found: boolean): void {
    const watchedMs = this.#options.clock.monotonicMs();
    const begunMs = target.begunMs === undefined ? watchedMs : Math.min(watchedMs, target.begunMs - offsetMs);
    this.#begin(target, { view: beginHealth(target, begunMs, found), begunMs, watchedMs });
  }

  /** Goes on with a run that is looked at in another way; where something else is asked of it, that answer is waited for. */
  #goOn(target: ContainerTarget, watched: Watched): void {
    if (describeAsked(target) === describeAsked(watched.target)) return this.#begin(target, watched);
    const watchedMs = this.#options.clock.monotonicMs();
    this.#begin(target, { view: renewHealth(watched.view, watchedMs), begunMs: watched.begunMs, watchedMs });
    this.#options.onChange();
  }

  #begin(target: ContainerTarget, { view, begunMs, watchedMs }: Pick<Watched, "view" | "begunMs" | "watchedMs">): void {
    const watched: Watched = {
      target,
      key: describeKey(target),
      view,
      begunMs,
      watchedMs,
      probes: 0,
      cancel: () => undefined,
    };
    this.#watched.set(target.container, watched);
    this.#schedule(watched, 0);
  }

  #schedule(watched: Watched, delayMs: number): void {
    watched.cancel = this.#options.clock.after(delayMs, () => void this.#probe(watched));
  }

  async #probe(watched: Watched): Promise<void> {
    const { clock, exec, probe = probeContainer, onChange } = this.#options;
    const { target, begunMs, watchedMs } = watched;
    const result = await probe(target, exec);
    if (this.#watched.get(target.container) !== watched) return;
    const before = watched.view;
    watched.probes += 1;
    watched.view = nextHealth(before, result, target.check, { nowMs: clock.monotonicMs(), begunMs, watchedMs });
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
    const { probeUrl = probeEndpoint, judgeAddress, clock, onChange } = this.#options;
    const result: ProbeResult = await probeUrl(url, ENDPOINT_TIMEOUT_MS, judgeAddress);
    if (this.#endpoints.get(url) !== endpoint) return;
    const changed = endpoint.message === "" || endpoint.healthy !== (result.kind === "ok");
    endpoint.healthy = result.kind === "ok";
    endpoint.message = result.message;
    endpoint.cancel = clock.after(ENDPOINT_EVERY_MS, () => void this.#probeEndpoint(url, endpoint));
    if (changed) onChange();
  }
}

function nameTimes(view: HealthView, offsetMs: number): HealthView {
  const probedMs = view.probedMs === undefined ? undefined : Math.round(view.probedMs + offsetMs);
  const failing =
    view.failingSinceMs === undefined ? {} : { failingSinceMs: Math.round(view.failingSinceMs + offsetMs) };
  return { ...view, ...failing, sinceMs: Math.round(view.sinceMs + offsetMs), probedMs };
}

function describeAsked({ check: { http, tcp, exec } }: ContainerTarget): string {
  return canonicalJson([http ?? null, tcp ?? null, exec ?? null]);
}

function describeKey({ startedMs, address = "", check }: ContainerTarget): string {
  return `${startedMs} ${address} ${describeCheck(check)}`;
}

/** A check is one object as long as nothing of its service changes, and each turn asks. */
const checks = new WeakMap<HealthCheck, string>();

function describeCheck(check: HealthCheck): string {
  const text = checks.get(check) ?? canonicalJson(check);
  checks.set(check, text);
  return text;
}
