// The sink that the rest of the agent talks to: takes events, keeps what is known of the node, and records, logs and tells it.
// What serves it to people and acts for them stands above, in serve/. Made by daemon.ts. Nothing it does may hold up or break the loop: `emit` never throws and never waits.

import { statePath } from "../host/state-layout.ts";
import { wrapColdStarts } from "../../shared/state/cold-start.ts";
import type { AgentEvent, Emit, TurnSummary } from "../../shared/state/event.ts";
import type { StoreStanding } from "../../shared/state/promise.ts";
import type { ReleaseRecord } from "../../shared/state/memory.ts";
import type { AuditEntry, AuditLine } from "./audit/audit-chain.ts";
import type { StatusDocument } from "../../shared/document/status-document.ts";
import type { WhyDocument } from "../../shared/document/why-document.ts";
import { ClockSteps } from "../host/os/clock.ts";
import type { ClockReading } from "../plan/memory/clock-step.ts";
import { AlertDesk } from "./notify/alert-desk.ts";
import { AuditLog } from "./audit/audit-log.ts";
import {
  buildPruneEntry,
  buildRemovalEntry,
  buildRestoreEntry,
  buildStepEntry,
  buildTakeoverEntry,
  buildVolumeEntry,
} from "./audit/audit-entry.ts";
import { buildFleet } from "./status/fleet-builder.ts";
import { scrapeFleet } from "./metrics/gossip-metrics.ts";
import { HistoryFile, pickHistory, readHistory } from "./status/history-file.ts";
import { judgeLiveness } from "./status/liveness.ts";
import { logChange, logEvent, logSource } from "./log/log-events.ts";
import { Metrics } from "./metrics/metrics.ts";
import { NoteLog } from "./log/note-log.ts";
import type { ReadView } from "./read-view.ts";
import { type Note, noteText } from "../../shared/state/note.ts";
import { type ReportOptions, type ReportParts, type Served, type Sink } from "./report-options.ts";
import { chooseRelease } from "./status/release-choice.ts";
import type { StatusChange } from "./status/report-state.ts";
import { beginState, type ReportState, type Sampled } from "./status/report-state.ts";
import { buildSlo } from "./status/slo-builder.ts";
import type { LostNode } from "../../shared/slo/availability.ts";
import { type BrokenPromises, listBroken, type ServiceStanding } from "../../shared/state/promise.ts";
import type { SloDocument } from "../../shared/document/slo-document.ts";
import { PromiseKeeper } from "./promise/promise-keeper.ts";
import { listOwnLosses } from "./promise/own-losses.ts";
import { Sampler } from "./status/sampler.ts";
import { buildTrial } from "./status/trial-builder.ts";
import { buildStatus, listNotes } from "./status/status-builder.ts";
import { moveState } from "./status/moved-state.ts";
import { reduceStatus } from "./status/status-reducer.ts";
import { buildWhy, readKept } from "./status/why-builder.ts";

/** What is served while nobody serves. */
const NOWHERE: Served = { addresses: [], socket: undefined, troubles: [] };
const SHOWN_EXITS = 20;
const SHOWN_RELEASES = 5;
/** As many as the store keeps. */
const KEPT_RELEASES = 10;

/** Everything that is known and told of one agent. */
export class Report {
  readonly #options: ReportOptions;
  readonly #audit: AuditLog;
  readonly #history: HistoryFile;
  readonly #sampler: Sampler;
  readonly #promises: PromiseKeeper;
  readonly #alerts: AlertDesk;
  readonly #sinks: readonly Sink[];
  readonly #metrics = new Metrics();
  readonly #steps: ClockSteps;
  readonly #counts: Record<string, { done: number; failed: number }> = {};
  readonly #onTurn = new Set<(turn: TurnSummary) => void>();
  readonly #onEvent = new Set<(event: AgentEvent) => void>();
  readonly #onChange = new Set<(change: StatusChange) => void>();
  /** What can be read of the node. */
  readonly view: ReadView;
  #readServed: () => Served = () => NOWHERE;
  readonly #notes: NoteLog;
  #parts: ReportParts | undefined;
  #state: ReportState;
  #auditTrouble: string | undefined;
  /** By the clock that never jumps. */
  #turnedMs: number | undefined;

  constructor(options: ReportOptions) {
    const { stateDir, clock, logger, node } = options;
    this.#options = options;
    this.#sinks = options.sinks ?? [];
    this.#notes = new NoteLog(logger);
    const historyPath = statePath(stateDir, "history");
    this.#steps = new ClockSteps(clock);
    const { services, ...told } = readHistory(historyPath, this.#readClock());
    this.#state = beginState(options.startedMs, services);
    this.#audit = new AuditLog({
      path: statePath(stateDir, "audit"),
      clock,
      onTrouble: (message) => this.#hearAudit(message),
    });
    this.#history = new HistoryFile(historyPath, clock, () => ({
      version: 1,
      services: pickHistory(this.#state),
      ...this.#alerts.memories,
      clock: this.#readClock(),
    }));
    this.#promises = new PromiseKeeper({
      clock,
      bootId: options.bootId ?? "unknown",
      store: () => this.#parts?.store.promises,
      hearLosses: () => listOwnLosses(this.#parts?.fleet, node),
    });
    this.view = this.#buildView();
    this.#sampler = new Sampler({
      clock,
      stateDir,
      listPids: () => [...this.#state.services.values()].flatMap(({ pid }) => (pid === 0 ? [] : [pid])),
      dataMount: () => this.#state.dataMount,
      reader: () => this.#parts?.reader,
      onSample: (sample) => this.#hear(sample),
      readHost: options.readHost,
    });
    this.#alerts = new AlertDesk(options.alerts, this.#buildAlertParts(), told);
  }

  #buildAlertParts(): ConstructorParameters<typeof AlertDesk>[1] {
    const { node, version, clock, logger, forge, alertTimeoutMs: timeoutMs } = this.#options;
    return {
      node,
      version,
      clock,
      logger,
      forge,
      timeoutMs,
      readSecret: (path) => this.#parts?.readSecret?.(path) ?? { reason: "the agent is still starting" },
      isAlive: () => this.view.liveness().ok,
    };
  }

  /** Takes an event. Never throws, never waits. */
  readonly emit: Emit = (event) => {
    try {
      this.#take(event);
    } catch (error) {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#options.logger.error({ error: message, event: event.kind }, "an event could not be reported");
    }
  };

  /** Hands over the parts of the agent, which is made with this report's `emit`. */
  attach(parts: ReportParts): void {
    this.#parts = parts;
  }

  /** The parts of the agent; undefined while it starts. */
  get parts(): ReportParts | undefined {
    return this.#parts;
  }

  /** Says where the node is reached: asked anew for each status. */
  showServed(read: () => Served): void {
    this.#readServed = read;
  }

  /** Opens the audit log and begins to read what nobody tells. */
  async start(): Promise<void> {
    await this.#audit.open();
    this.#sampler.start();
  }

  /** Ends; what the audit log still holds is written. */
  async close(): Promise<void> {
    const sinks = [this.#alerts, ...this.#sinks].map((sink) => sink.close());
    await Promise.all([this.#sampler.close(), ...sinks]);
    await Promise.all([this.#audit.close(), this.#history.close()]);
  }

  /** Writes what somebody asked for into the audit log; resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine> {
    return this.#audit.record(entry);
  }

  /** The status as `orca status --json` prints it. */
  status(): StatusDocument {
    const { node, version, clock, stateDir } = this.#options;
    this.#followClock();
    return buildStatus(this.#state, {
      node,
      version,
      nowMs: clock.nowMs(),
      notes: this.#listOwnNotes(),
      socket: this.#readServed().socket,
      stateDir,
    });
  }

  /** Calls back after each turn, once the status knows it; answers a function that ends that. */
  onTurn(callback: (turn: TurnSummary) => void): () => void {
    this.#onTurn.add(callback);
    return () => this.#onTurn.delete(callback);
  }

  /** Calls back for each event, once everything here has heard it; answers a function that ends that. */
  onEvent(callback: (event: AgentEvent) => void): () => void {
    this.#onEvent.add(callback);
    return () => this.#onEvent.delete(callback);
  }

  /** Calls back for each change of a service's state; answers a function that ends that. */
  onChange(callback: (change: StatusChange) => void): () => void {
    this.#onChange.add(callback);
    return () => this.#onChange.delete(callback);
  }

  /** The newest line of the audit log, to be kept elsewhere too. */
  get auditHead(): { seq: number; hash: string } {
    return this.#audit.head;
  }

  /** Which promises are broken now, of those that changes wait for. */
  listBroken(): BrokenPromises {
    return listBroken(this.#listPromises(), this.#standings, this.#options.clock.nowMs());
  }

  /** When other nodes were dead for this one, to be told to them. */
  get losses(): readonly LostNode[] {
    return this.#promises.losses;
  }

  #take(event: AgentEvent): void {
    if (event.kind === "step-done" || event.kind === "step-failed") this.#recordStep(event);
    if (event.kind === "backup-removed") this.#audit.append(buildRemovalEntry(event));
    if (event.kind === "gossip" && event.event.kind === "takeover") this.#audit.append(buildTakeoverEntry(event.event));
    if (event.kind === "volume-removed") this.#audit.append(buildVolumeEntry(event));
    if (event.kind === "prune-began" || event.kind === "pruned") this.#audit.append(buildPruneEntry(event));
    if (event.kind === "backup-restored") this.#audit.append(buildRestoreEntry(event.record));
    logEvent(this.#options.logger, event);
    this.#promises.hear(event);
    this.#hear(event);
    if (event.kind === "turn") this.#followTurn(event.turn);
    if (event.kind !== "turn" || this.#state.changes.length > 0) this.#history.touch();
    for (const sink of this.#sinks) sink.hear(event);
    for (const callback of this.#onEvent) callback(event);
  }

  /** Where somebody has set the wall clock, what is known is as old as it was. */
  #followClock(): void {
    const stepMs = this.#steps.take();
    if (stepMs === 0) return;
    this.#state = moveState(this.#state, stepMs);
    this.#alerts.move(stepMs);
  }

  #readClock(): ClockReading | undefined {
    const { bootId } = this.#options;
    return bootId === undefined ? undefined : { boot: bootId, offsetMs: this.#steps.offsetMs };
  }

  /** Takes over what is known, and tells whoever wants to know what changed. */
  #hear(event: AgentEvent | Sampled): void {
    this.#followClock();
    const before = this.#state;
    this.#state = reduceStatus(before, event);
    logSource(this.#options.logger, before, this.#state);
    for (const change of this.#state.changes) {
      logChange(this.#options.logger, change);
      for (const callback of this.#onChange) callback(change);
    }
    this.#lookForAlerts();
  }

  #lookForAlerts(): void {
    this.#alerts.look(this.#state, () => ({
      auditTrouble: this.#auditTrouble,
      auditCopyTrouble: this.#parts?.backups?.auditCopyTrouble,
      standings: this.#standings,
      services: this.#listPromises(),
      drills: this.#parts?.drills?.standings ?? [],
      peers: this.#parts?.fleet?.view() ?? [],
    }));
  }

  get #standings(): readonly StoreStanding[] {
    return this.#parts?.backups?.standings ?? [];
  }

  #buildSlo(): SloDocument {
    const { node, clock } = this.#options;
    const parts = { standings: this.#standings, services: this.#listPromises() };
    return buildSlo(parts, node, clock.nowMs());
  }

  /** Every service that is measured, with what its manifest promises. */
  #listPromises(): ServiceStanding[] {
    return this.#promises.list().map((times) => ({ ...times, slo: this.#state.slo[times.service] }));
  }

  #recordStep(event: Extract<AgentEvent, { kind: "step-done" | "step-failed" }>): void {
    const entry = buildStepEntry(event, this.#state);
    if (entry !== undefined) this.#audit.append(entry);
    const count = (this.#counts[event.step.kind] ??= { done: 0, failed: 0 });
    if (event.kind === "step-failed") count.failed += 1;
    else if (event.changed) count.done += 1;
  }

  #followTurn(turn: TurnSummary): void {
    this.#turnedMs = this.#options.clock.monotonicMs();
    if (!turn.observed.engine.reachable) this.#sampler.forgetEngine();
    this.#followClock();
    this.#notes.look(listNotes(this.#state, this.#options.clock.nowMs(), this.#listOwnNotes()));
    for (const callback of this.#onTurn) callback(turn);
  }

  #hearAudit(message: string | undefined): void {
    this.#auditTrouble = message;
    this.#followClock();
    const { logger } = this.#options;
    if (message === undefined) logger.info({}, "the audit log is written again");
    else logger.error({ error: message }, "audit log");
    this.#lookForAlerts();
  }

  #listOwnNotes(): Note[] {
    const own = [...(this.#options.notes ?? []), ...this.#readServed().troubles, ...(this.#parts?.fleet?.notes ?? [])];
    const troubles = [...own, this.#sampler.trouble, this.#auditTrouble, ...this.#alerts.troubles];
    const known = troubles.filter((trouble) => trouble !== undefined);
    const { backups, drills, prunes, updates } = this.#parts ?? {};
    const kept = [backups, drills, prunes, updates].flatMap((part) => part?.notes ?? []);
    return [...known.map(noteText), ...kept, ...this.#sinks.flatMap(({ note }) => note ?? [])];
  }

  #buildView(): ReadView {
    return {
      node: this.#options.node,
      refresh: () => this.#sampler.refresh(),
      status: () => this.status(),
      fleet: () => buildFleet(this.#parts?.fleet, this.status()),
      slo: () => this.#buildSlo(),
      trial: () => buildTrial(this.#state, { version: this.#options.version, heardBy: this.#parts?.fleet?.hearers }),
      coldStarts: () => wrapColdStarts(this.#options.node, this.#parts?.coldStarts?.()),
      why: (service, trusted) => this.#why(service, trusted),
      liveness: () =>
        judgeLiveness(this.#turnedMs, this.#options.clock.monotonicMs(), {
          trouble: this.#state.turn.trouble?.message,
          fault: this.#state.source?.fault,
        }),
      metrics: () =>
        this.#metrics.scrape({
          status: this.status(),
          turns: this.#state.turn,
          audit: { lines: this.#audit.head.seq, ok: this.#auditTrouble === undefined },
          alertsOk: this.#alerts.ok,
          dockerCalls: this.#parts?.dockerCalls?.(),
          steps: this.#counts,
          slo: this.view.slo(),
          residentBytes: process.memoryUsage.rss(),
          ...scrapeFleet(this.#parts, this.status()),
        }),
    };
  }

  /** The good release that a rollback of a service goes to, or why there is none. */
  findRelease(service: string, to: string | undefined): ReleaseRecord | string {
    const releases = this.#parts?.store.listReleases(service, KEPT_RELEASES) ?? [];
    return chooseRelease(releases, { service, to, current: this.#state.services.get(service)?.fingerprint });
  }

  #why(service: string, trusted: boolean): WhyDocument | undefined {
    const { node, clock } = this.#options;
    this.#followClock();
    return buildWhy(this.#state, service, {
      node,
      nowMs: clock.nowMs(),
      trusted,
      exits: readKept(() => this.#parts?.store.listExits(service, SHOWN_EXITS)),
      releases: readKept(() => this.#parts?.store.listReleases(service, SHOWN_RELEASES)),
    });
  }
}
