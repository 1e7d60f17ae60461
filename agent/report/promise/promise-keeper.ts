// Counts how long each service was up, down or unknown, follows incidents, and remembers when other nodes were lost to this one. The
// report hands it every event. Never throws and never waits; what the disk does not take is counted on in memory.

import {
  addTimes,
  BUCKET_MS,
  type Gap,
  judgeGap,
  type LostNode,
  NO_TIMES,
  type ServiceTimes,
  type Span,
  splitSpan,
  type Times,
  WINDOW_MS,
} from "../../../shared/slo/availability.ts";
import type { AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import type { Clock } from "../../host/os/clock.ts";
import type { PromiseMark, PromiseStore, TimesRow } from "../../host/store/promise-store.ts";
import { Incidents } from "./incidents.ts";
import { countSpan, type Tracked, trackServices } from "./track-services.ts";

/** What it works with. */
export interface PromiseKeeperOptions {
  clock: Clock;
  /** This boot of the host. */
  bootId: string;
  /** Undefined while the agent starts, and where nothing is kept. */
  store: () => PromiseStore | undefined;
  /** When this node was lost to others, as they say. */
  hearLosses: () => readonly LostNode[];
}

/** Written so often: what a kill of the agent costs is unknown, and no more. */
const FLUSH_MS = 60_000;
/** So long peers are listened to about a gap, and told of the losses of others. */
const TOLD_MS = 7 * 86_400_000;
const MOST_TOLD = 32;

/** Keeps the times of one node. */
export class PromiseKeeper {
  readonly #options: PromiseKeeperOptions;
  readonly #incidents = new Incidents();
  #last: { tracked: ReadonlyMap<string, Tracked>; monotonicMs: number } | undefined;
  /** Services that were up once: before that there is nothing to measure. */
  readonly #known = new Set<string>();
  #pending = new Map<string, TimesRow>();
  #sums: ReadonlyMap<string, Times> = new Map();
  #summedHour = Number.NaN;
  #flushedMs = Number.NEGATIVE_INFINITY;
  #stopped = false;
  /** What the first turn has found and no disk has taken yet. */
  #gap: Omit<Gap, "id"> | undefined;
  #lost: ((store: PromiseStore) => void) | undefined;
  readonly #suspected = new Map<string, number>();
  #losses: readonly LostNode[] = [];

  constructor(options: PromiseKeeperOptions) {
    this.#options = options;
  }

  /** When other nodes were lost to this one: it is told to all, for those that it is about. The same array until it changes. */
  get losses(): readonly LostNode[] {
    return this.#losses;
  }

  /** What is known of every service that is measured now. */
  list(): ServiceTimes[] {
    const at = this.#readClocks();
    const pending = new Map<string, Times>();
    for (const row of this.#pending.values())
      pending.set(row.service, addTimes(pending.get(row.service) ?? NO_TIMES, row));
    return [...(this.#last?.tracked.keys() ?? [])].map((service) => ({
      service,
      ...addTimes(this.#sums.get(service) ?? NO_TIMES, pending.get(service) ?? NO_TIMES),
      incident: this.#incidents.find(service, at),
    }));
  }

  /** Takes an event of the agent. */
  hear(event: AgentEvent): void {
    const store = this.#options.store();
    if (store === undefined || this.#stopped) return;
    try {
      if (event.kind === "turn") this.#followTurn(event.turn, store);
      else if (event.kind === "gossip") this.#followPeer(event.event, store);
      else if (event.kind === "agent-stopping") this.#stop(store);
    } catch {
      // A disk that takes nothing is told by whoever saves the state; what was counted is still in memory.
    }
  }

  #readClocks(): { nowMs: number; monotonicMs: number } {
    const { clock } = this.#options;
    return { nowMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
  }

  #followTurn(turn: TurnSummary, store: PromiseStore): void {
    if (turn.desired === undefined) return;
    const at = this.#readClocks();
    const tracked = trackServices(turn);
    const last = this.#last;
    if (last === undefined) this.#begin(store, tracked, at);
    else this.#count(last, tracked, at);
    for (const [service, { verdict }] of tracked) if (verdict === "up") this.#known.add(service);
    this.#last = { tracked, monotonicMs: at.monotonicMs };
    this.#lost?.(store);
    this.#lost = undefined;
    this.#incidents.follow(turn, this.#selectKnown(tracked), at, store);
    // A change is written at once: what a kill of the agent takes is a minute in which nothing happened.
    const changed = [...tracked].some(([service, { verdict }]) => last?.tracked.get(service)?.verdict !== verdict);
    if (changed || at.monotonicMs - this.#flushedMs >= FLUSH_MS) this.#flush(store, at);
  }

  #selectKnown(tracked: ReadonlyMap<string, Tracked>): ReadonlyMap<string, Tracked> {
    return new Map([...tracked].filter(([service]) => this.#known.has(service)));
  }

  /** The first turn: what lies between it and what the agent before this one has accounted for, nobody has seen. */
  #begin(store: PromiseStore, tracked: ReadonlyMap<string, Tracked>, at: { nowMs: number; monotonicMs: number }): void {
    const mark = store.readMark();
    this.#losses = this.#listLosses(store, at.nowMs);
    this.#sums = store.sumTimes(at.nowMs);
    for (const service of [...this.#sums.keys(), ...(mark?.services ?? [])]) this.#known.add(service);
    this.#incidents.load(store, at);
    if (mark === undefined) return;
    const services = mark.services.filter((service) => tracked.has(service));
    const isSameBoot = mark.boot === this.#options.bootId;
    const passedMs = isSameBoot ? at.monotonicMs - mark.monotonicMs : at.nowMs - mark.atMs;
    const lengthMs = Math.min(WINDOW_MS, Math.max(0, Math.round(passedMs)));
    const gap = { fromMs: at.nowMs - lengthMs, toMs: at.nowMs };
    // Nothing that ran outlives the host, and nothing runs again before the agent has started it.
    const bootedMs = isSameBoot ? gap.toMs : Math.max(gap.fromMs, Math.round(at.nowMs - at.monotonicMs));
    const down = { fromMs: bootedMs, toMs: gap.toMs };
    const rows = [
      ...listRows(services, { fromMs: gap.fromMs, toMs: bootedMs }, "unknownMs"),
      ...listRows(services, down, "downMs"),
    ];
    // Written with the flush of this turn, or of a later one where the disk takes nothing now: it is counted meanwhile.
    for (const row of rows) this.#add(row);
    if (isSameBoot) return;
    this.#gap = { ...gap, services, down };
    this.#lost = (into) => this.#incidents.beginLost(services, at.nowMs - bootedMs, at, into);
  }

  #count(
    last: { tracked: ReadonlyMap<string, Tracked>; monotonicMs: number },
    tracked: ReadonlyMap<string, Tracked>,
    { nowMs, monotonicMs }: { nowMs: number; monotonicMs: number },
  ): void {
    const elapsedMs = Math.max(0, monotonicMs - last.monotonicMs);
    const hourMs = Math.floor(nowMs / BUCKET_MS) * BUCKET_MS;
    for (const [service, before] of last.tracked) {
      if (!this.#known.has(service)) continue;
      this.#add({ service, hourMs, ...countSpan(before, tracked.get(service), elapsedMs) });
    }
  }

  #add({ service, hourMs, ...times }: TimesRow): void {
    const key = `${service} ${hourMs}`;
    this.#pending.set(key, { service, hourMs, ...addTimes(this.#pending.get(key) ?? NO_TIMES, times) });
  }

  #flush(store: PromiseStore, at: { nowMs: number; monotonicMs: number }): void {
    const { tracked } = this.#last ?? { tracked: new Map<string, Tracked>() };
    this.#flushedMs = at.monotonicMs;
    store.account([...this.#pending.values()], this.#buildMark(tracked, at), this.#gap);
    this.#gap = undefined;
    const sums = new Map(this.#sums);
    for (const row of this.#pending.values()) sums.set(row.service, addTimes(sums.get(row.service) ?? NO_TIMES, row));
    this.#sums = sums;
    this.#pending = new Map();
    const hasNewer = this.#settleGaps(store, at.nowMs);
    const hour = Math.floor(at.nowMs / BUCKET_MS);
    // What falls out of the window does so bucket by bucket.
    if (hour !== this.#summedHour || hasNewer) this.#sums = store.sumTimes(at.nowMs);
    this.#summedHour = hour;
  }

  /** What peers say of this node counts in gaps in which its host has booted: else its containers may have run all the time. */
  #settleGaps(store: PromiseStore, nowMs: number): boolean {
    const lost = this.#options.hearLosses();
    const gaps = lost.length === 0 ? [] : store.listGaps(nowMs - TOLD_MS);
    let hasNewer = false;
    for (const gap of gaps) {
      const down = judgeGap(gap, lost);
      if (down === undefined || (down.fromMs === gap.down?.fromMs && down.toMs === gap.down.toMs)) continue;
      store.settleGap(gap, down);
      this.#incidents.beginEarlier(gap.services, down.fromMs, store);
      hasNewer = true;
    }
    return hasNewer;
  }

  #buildMark(
    tracked: ReadonlyMap<string, Tracked>,
    { nowMs, monotonicMs }: { nowMs: number; monotonicMs: number },
  ): PromiseMark {
    const services = [...tracked.keys()].filter((service) => this.#known.has(service));
    return { atMs: nowMs, monotonicMs, boot: this.#options.bootId, services };
  }

  #followPeer(event: GossipEvent, store: PromiseStore): void {
    if (event.kind !== "peer") return;
    const { node, state } = event;
    const nowMs = this.#options.clock.nowMs();
    const isLost = this.#listLosses(store, nowMs).some((loss) => loss.node === node && loss.toMs === undefined);
    if (state === "suspect") this.#suspected.set(node, nowMs);
    if (state === "dead" && !isLost) store.beginLoss(node, this.#suspected.get(node) ?? nowMs);
    if (state === "alive" || state === "left") {
      this.#suspected.delete(node);
      if (isLost) store.endLoss(node, nowMs);
    }
    this.#losses = this.#listLosses(store, nowMs);
  }

  #listLosses(store: PromiseStore, nowMs: number): LostNode[] {
    return store.listLosses(nowMs - TOLD_MS).slice(-MOST_TOLD);
  }

  /** The store is closed after this: nothing is counted any more. */
  #stop(store: PromiseStore): void {
    const at = this.#readClocks();
    this.#stopped = true;
    if (this.#last === undefined) return;
    this.#count(this.#last, this.#last.tracked, at);
    this.#flush(store, at);
  }
}

function listRows(services: readonly string[], span: Span, kind: keyof Times): TimesRow[] {
  return services.flatMap((service) =>
    splitSpan(span).map(({ hourMs, lengthMs }) => ({ service, hourMs, ...NO_TIMES, [kind]: lengthMs })),
  );
}
