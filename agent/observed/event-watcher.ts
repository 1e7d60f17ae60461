// Follows the engine's events and keeps what they said until the next turn reads it. A broken stream is opened again,
// with an overlap; after a gap everything is looked at. A frozen stream is harmless: the list of each turn is the truth.

import { backoffDelayMs } from "../../shared/state/backoff.ts";
import { LABEL } from "../../shared/state/identity.ts";
import type { DockerReader, EngineEvent } from "../docker/reader.ts";
import type { Clock } from "../host/os/clock.ts";

/** What the events said since they were last read. */
export interface EventNews {
  /** There was a gap: look at everything. */
  all: boolean;
  /** Something happened to networks themselves, or may have. */
  networks: boolean;
  /** Containers that something other than a start happened to. */
  touched: Set<string>;
  /** Containers of which a run was told to have begun, and when, by the engine's clock. */
  started: Map<string, number>;
  /** Containers in which the kernel killed a process for memory. */
  oom: Set<string>;
  /** Containers that someone other than the agent sent an ending signal, and when. */
  killedByHand: Map<string, number>;
  /** Containers whose run has ended, and how; undefined where one was started again since. */
  ended: Map<string, ContainerEnd | undefined>;
}

/** The end of a run, as its event tells it. */
export interface ContainerEnd {
  exitCode: number;
  /** By the engine's clock. */
  atMs: number;
}

/** What the watcher needs. */
export interface WatcherOptions {
  node: string;
  reader: DockerReader;
  clock: Clock;
  isBusy: (service: string, container: string) => boolean;
  /** Something happened; urgent where the agent did not do it itself. */
  onChange: (urgent: boolean) => void;
}

const RECONNECT = { initialMs: 100, maxMs: 2_000 };
/** The engine's clock and ours may differ a little, and events may be late: look back this far. */
const OVERLAP_MS = 3_000;
/** Events that change nothing a plan reads: what is created or connected is found by the list of the turn that follows. */
const QUIET = new Set(["create", "connect"]);
/** Events after which the list of networks is another. */
const OF_NETWORKS = new Set(["create", "destroy", "update"]);
const ENDING_SIGNALS = new Set(["2", "3", "9", "15"]);

/** Follows one engine's events. */
export class EventWatcher {
  readonly #options: WatcherOptions;
  readonly #abort = new AbortController();
  #news: EventNews = emptyNews();
  #running: Promise<void> | undefined;
  #cursorMs: number | undefined;
  #open = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#follow();
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** True while the engine tells what happens: what no event named is as it was. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Hands over what the events said; the next call begins empty. */
  takeNews(): EventNews {
    const news = this.#news;
    this.#news = emptyNews();
    return news;
  }

  /** The container is looked at now: what its events have said so far is used up. */
  takeTouch(id: string): void {
    this.#news.touched.delete(id);
    this.#news.started.delete(id);
  }

  /** Takes news back that could not be used. */
  giveBack(news: EventNews): void {
    this.#news.all ||= news.all;
    this.#news.networks ||= news.networks;
    for (const [id, atMs] of news.started) if (!this.#news.started.has(id)) this.#news.started.set(id, atMs);
    for (const key of ["touched", "oom"] as const) for (const id of news[key]) this.#news[key].add(id);
    for (const [id, atMs] of news.killedByHand) this.#news.killedByHand.set(id, atMs);
    for (const [id, end] of news.ended) if (!this.#news.ended.has(id)) this.#news.ended.set(id, end);
  }

  async #follow(): Promise<void> {
    const { reader, clock, onChange } = this.#options;
    const { signal } = this.#abort;
    let attempt = 0;
    while (!signal.aborted) {
      const sinceMs = this.#cursorMs === undefined ? undefined : this.#cursorMs - OVERLAP_MS;
      try {
        await reader.watchEvents({
          sinceMs,
          signal,
          onOpen: () => {
            attempt = 0;
            this.#cursorMs ??= clock.nowMs();
            this.#open = true;
            this.#news.all = true;
            onChange(true);
          },
          onEvent: (event) => this.#hear(event),
        });
      } catch {
        // The engine is away; the turn that follows says so, from its own failed read.
      }
      this.#open = false;
      if (signal.aborted) return;
      onChange(true);
      await this.#sleep(backoffDelayMs(RECONNECT, attempt, "events"));
      attempt += 1;
    }
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(delayMs, resolve);
      this.#abort.signal.addEventListener("abort", () => (cancel(), resolve()), { once: true });
    });
  }

  #hear(event: EngineEvent): void {
    // By the engine's clock, which may be set back: what comes after a broken stream comes after this one.
    this.#cursorMs = event.atMs;
    if (event.type === "network" && OF_NETWORKS.has(event.action)) this.#news.networks = true;
    if (QUIET.has(event.action)) return;
    const service = event.labels[LABEL.service];
    if (event.type === "container" && event.labels[LABEL.node] !== this.#options.node) return;
    if (event.type === "container" && event.action === "start") this.#news.started.set(event.id, event.atMs);
    else this.#news.touched.add(event.id);
    if (event.action === "oom") this.#news.oom.add(event.id);
    if (event.type === "container") this.#hearRun(event);
    const busy = this.#options.isBusy(service ?? "", event.id);
    if (event.action === "kill" && ENDING_SIGNALS.has(event.labels["signal"] ?? "") && !busy) {
      this.#news.killedByHand.set(event.id, event.atMs);
    }
    this.#options.onChange(!busy);
  }

  #hearRun({ action, id, atMs, labels }: EngineEvent): void {
    if (action === "start") this.#news.ended.set(id, undefined);
    const exitCode = Number(labels["exitCode"] ?? Number.NaN);
    if (action === "die" && Number.isInteger(exitCode)) this.#news.ended.set(id, { exitCode, atMs });
  }
}

/** Nothing was said. */
export function emptyNews(): EventNews {
  return {
    all: false,
    networks: false,
    touched: new Set(),
    oom: new Set(),
    started: new Map(),
    killedByHand: new Map(),
    ended: new Map(),
  };
}
