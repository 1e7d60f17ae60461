// Keeps the backups of a node: follows what is in force and what runs, begins each run, proof and retention when it is due, one at a
// time, and knows what there is. Made by daemon.ts; told of each turn, and never holds one up. Dumps and restores are a child's work.

import type { AgentEvent } from "../../../shared/state/event.ts";
import type {
  BackupRun,
  CopyOutOrder,
  LeftStore,
  RepositoryPlan,
  StorePlan,
  StoreStatus,
} from "../../../shared/state/backup.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import type { Note } from "../../../shared/state/note.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { type CancelTimer, type Clock, ClockSteps, nameMoment, waitAtMost } from "../../host/os/clock.ts";
import { askLight, type ChildParts } from "../ask-child.ts";
import type { ChildAnswer } from "../backup-exchange.ts";
import { findBackupDue } from "../core/backup-due.ts";
import { isBackupName } from "../core/backup-name.ts";
import { listStandings } from "../core/store-standing.ts";
import type { PlaceTerm } from "../repository/repository-port.ts";
import { StoreSources } from "../repository/store-sources.ts";
import { BaseProof } from "./base-proof.ts";
import { CopyOuts } from "./copy-outs.ts";
import { noteStore } from "./backup-notes.ts";
import { describeStore } from "./backup-view.ts";
import { describeLog } from "./log-view.ts";
import { listLeftStores } from "./left-stores.ts";
import { OwnKey } from "./own-key.ts";
import { RecordDesk } from "./record-desk.ts";
import { RepositoryDesk, type SecretReading } from "./repository-desk.ts";
import { findCopyDue, hasBackups, isMended, nameExpectations } from "./repository-memory.ts";
import { StandingStill } from "./standing-still.ts";
import { nameStore, StoreMemories } from "./store-memories.ts";
import { CopyWork } from "./copy-work.ts";
import { StoreWork } from "./store-work.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What the keeper is made from. */
export interface KeeperOptions extends ChildParts {
  clock: Clock;
  /** The directory of the repository `local`. */
  localDirectory: string;
  /** Of a spare in the node's place: the term of its takeover. */
  readTerm?: (() => PlaceTerm | undefined) | undefined;
  /** This node's age identity. */
  keyPath: string;
  readSecret(path: string): SecretReading;
  /** Runs a child beside one that dumps. */
  runLightChild: ChildParts["runChild"];
  /** Where what is remembered lies. */
  statePath: string;
  /** Asks the loop to stop a service for a backup, or, without a store, to let it start again. */
  holdStill(service: string, store: string | undefined): void;
  /** Names of a store's backups that a restore works with. */
  listHeld?: (store: Pick<StorePlan, "service" | "store">) => readonly string[];
  /** Brings an image to this host; answers why it is not there. */
  fetchImage?: (image: string, signal: AbortSignal) => Promise<string | undefined>;
  /** Hears of a store of which a base and its log were judged. */
  onBaseJudged?: (plan: StorePlan) => void;
  /** Removes containers of earlier runs, and backups that they have opened. */
  sweep(): Promise<unknown>;
  emit(event: AgentEvent): void;
}

/** The store that something is asked of, and for a proof another backup than the newest. */
interface AskedStore {
  service: string;
  store: string;
  backup?: string | undefined;
}

/** One thing to do for a store. */
interface Task {
  plan: StorePlan;
  /** `finish`: the hooks after a run that was cut off; `copy`: a repository that did not get the last one. */
  kind: "make" | "verify" | "verify-base" | "finish" | "copy" | "copy-out";
  trigger: BackupRun["trigger"];
  atMs: number;
  /** Of `verify`: another one than the newest. */
  backup?: string | undefined;
}

/** A run that failed is tried again so soon, and then by the schedule. */
const RETRY_MS = 300_000;
/** At its end the agent waits so long for what a run has left; the next one takes it away otherwise. */
const CLEAN_UP_MS = 5_000;
/** Due tasks are looked for at least so often: a clock that was set changes what is due. */
const LOOK_MS = 60_000;

/** A wall clock that was set by more than the first is doubted for as long as the second: nothing is removed by it meanwhile. */
const CLOCK_STEP_MS = 600_000;
const CLOCK_REST_MS = 86_400_000;

/** So often is looked what lies in the repositories. */
const NOTE_MS = 3_600_000;

/** What somebody asked for. */
interface Asked {
  kind: "make" | "verify";
  /** The store's name within its node. */
  key: string;
  trigger: "asked" | "before-update";
  backup: string | undefined;
}

/** Keeps the backups of one node. */
export class BackupKeeper {
  readonly #options: KeeperOptions;
  readonly #memories: StoreMemories;
  readonly #work: StoreWork;
  readonly #copying: CopyWork;
  readonly #bases: BaseProof;
  /** By the monotonic clock: the other one may be set. */
  readonly #startedMs: number;
  readonly #steps: ClockSteps;
  /** When the wall clock was set last by more than a little, by the monotonic one. */
  #clockSetMs = Number.NEGATIVE_INFINITY;
  readonly #abort = new AbortController();
  readonly #desk: RepositoryDesk;
  readonly #identity: OwnKey;
  readonly sources: StoreSources;
  readonly records = new RecordDesk((place, work) => this.#desk.reach(place, work));
  readonly #still: StandingStill;
  #plans: readonly StorePlan[] = [];
  #running: { key: string; sinceMs: number } | undefined;
  /** What was asked for, by kind, store and backup, in order. */
  #asked = new Map<string, Asked>();
  readonly #copyOuts = new CopyOuts();
  #retry = new Map<string, number>();
  /** What each store was last proved against by this agent. */
  readonly #proving = new Map<string, string>();
  #cancel: CancelTimer | undefined;
  #carrying: Promise<void> = Promise.resolve();
  #swept = false;
  #notedMs = Number.NEGATIVE_INFINITY;
  #markSwept: () => void = () => undefined;
  #sweeping = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#memories = new StoreMemories(options.statePath, options.clock, (error) => this.#tell(error));
    this.#startedMs = options.clock.monotonicMs();
    this.#steps = new ClockSteps(options.clock);
    this.#still = new StandingStill(options);
    const light = { program: options.program, runChild: options.runLightChild };
    const ask = (request: Parameters<typeof askLight>[2]): Promise<ChildAnswer> =>
      askLight(light, this.#abort.signal, request);
    this.#identity = new OwnKey(options.keyPath, ask);
    const isKnown = (plan: StorePlan, repository: RepositoryPlan): boolean =>
      hasBackups(this.#memories.find(plan), repository);
    this.#desk = new RepositoryDesk({ ...options, isKnown, askLight: ask });
    const { signal } = this.#abort;
    const [memories, desk, identity, still] = [this.#memories, this.#desk, this.#identity, this.#still];
    const isClockSet = (): boolean => options.clock.monotonicMs() - this.#clockSetMs < CLOCK_REST_MS;
    const parts = { options, memories, desk, records: this.records, identity, still, signal, isClockSet };
    this.#work = new StoreWork(parts);
    this.#copying = new CopyWork(parts, (task) => this.#work.ask(task));
    this.#bases = new BaseProof(parts, (task) => this.#work.ask(task));
    this.sources = new StoreSources(() => this.#plans, this.#desk, this.#identity);
  }

  /** Resolves when what earlier agents have left of one-shot containers is taken away. */
  readonly swept = new Promise<void>((resolve) => (this.#markSwept = resolve));

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(
    plans: readonly StorePlan[],
    engine: ObservedEngine,
    services?: readonly Pick<ServiceView, "name" | "state">[],
  ): void {
    this.#plans = plans;
    this.#still.follow(engine, services);
    this.#noteAll();
    if (plans.length > 0) this.#identity.begin();
    if (!this.#swept && engine.reachable && this.#running === undefined) {
      this.#swept = true;
      void this.#sweepFirst();
    }
    this.#look();
  }

  /** Asks for a run or a proof now; answers why there is none, or undefined once it is queued. */
  ask(
    kind: Asked["kind"],
    { service, store, backup }: AskedStore,
    trigger: Asked["trigger"] = "asked",
  ): string | undefined {
    const plan = this.#plans.find((entry) => entry.service === service && entry.store === store);
    if (plan === undefined) return `${service} has no backup ${store} that is in force here`;
    const key = nameStore(plan);
    this.#asked.set(`${kind} ${key} ${backup ?? ""}`, { kind, key, trigger, backup });
    this.#look();
    return undefined;
  }

  /** Asks for a restore of a bucket into an empty place; answers why there is none, or undefined once it is queued. */
  copyOut(order: CopyOutOrder): string | undefined {
    const plan = this.#plans.find((entry) => entry.service === order.service && entry.store === order.store);
    const refusal = this.#copyOuts.ask(plan, order);
    if (refusal === undefined) this.#look();
    return refusal;
  }

  /** Every store, with what its repository has. */
  list(): Promise<StoreStatus[]> {
    const nowMs = this.#options.clock.nowMs();
    return Promise.all(
      this.#plans.map(async (plan) => {
        const key = nameStore(plan);
        const sinceMs = this.#running?.key === key ? this.#running.sinceMs : undefined;
        const nextMs = sinceMs === undefined ? this.#findDue(plan, nowMs).atMs : undefined;
        const parts = { desk: this.#desk, sinceMs, nextMs, memory: this.#memories.find(plan) };
        const log = await describeLog(plan, this.#desk, parts.memory);
        return { ...(await describeStore(plan, parts)), lastCopyOut: this.#copyOuts.last(plan), ...(log && { log }) };
      }),
    );
  }

  /** What lies in the repository `local` and belongs to no store in force. */
  listLeft(): Promise<LeftStore[]> {
    const { localDirectory, node } = this.#options;
    return listLeftStores(localDirectory, node, this.#plans);
  }

  /** The images that a restore of each store's newest and newest proved backup takes. Rejects where a repository cannot be read. */
  async listImages(): Promise<string[]> {
    const stores = await this.list();
    const unread = stores.find(({ trouble }) => trouble !== undefined);
    if (unread !== undefined) throw new Error(`the backups of ${unread.service}/${unread.store}: ${unread.trouble}`);
    return stores.flatMap(({ backups, log }) => {
      const needed = [backups, log?.bases ?? []].flatMap((all) => [all[0], all.find(({ verified }) => verified)]);
      return needed.flatMap((backup) => backup?.image ?? []);
    });
  }

  /** What the streams of logs share with dumps. */
  get shared(): { desk: RepositoryDesk; identity: OwnKey } {
    return { desk: this.#desk, identity: this.#identity };
  }

  /** How every store stands with what its manifest promises. */
  get standings(): StoreStanding[] {
    const nowMs = this.#options.clock.nowMs();
    return this.#plans.flatMap((plan) => listStandings(plan, this.#memories.find(plan), { trouble: undefined, nowMs }));
  }

  /** This node's recipient, for `backup_key` in fleet.toml. */
  get backupKey(): string | undefined {
    return this.#identity.recipient;
  }

  /** What is not as it should be. */
  get notes(): Note[] {
    const nowMs = this.#options.clock.nowMs();
    const stores = this.#plans.flatMap((plan) => noteStore(plan, this.#memories.find(plan), nowMs));
    return [...stores, ...this.#identity.note(this.#plans)];
  }

  /** Ends; a run that goes on is given up and leaves no backup, and no container. */
  async close(): Promise<void> {
    this.#cancel?.();
    this.#abort.abort();
    // Only what was cut off leaves something, and an engine that hangs must not keep the agent from ending.
    if (this.#running === undefined) return;
    const cleaned = this.#carrying.then(() => this.#sweep());
    await waitAtMost(cleaned, CLEAN_UP_MS, this.#options.clock);
  }

  /** No run begins meanwhile: its container would look like one that was left. */
  async #sweepFirst(): Promise<void> {
    this.#sweeping = true;
    await this.#sweep();
    this.#sweeping = false;
    this.#markSwept();
    this.#look();
  }

  /** Takes away containers of runs that were cut off: now, or before an agent that was killed. */
  async #sweep(): Promise<void> {
    await this.#options.sweep().catch(() => undefined);
  }

  #look(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#abort.signal.aborted) return;
    this.#followClock();
    const nowMs = this.#options.clock.nowMs();
    const isFree = this.#running === undefined && !this.#sweeping;
    const next = isFree ? this.#findNext(nowMs) : undefined;
    if (next !== undefined && next.atMs <= nowMs) this.#carrying = this.#carryOut(next);
    const waitMs = next === undefined ? LOOK_MS : Math.min(LOOK_MS, Math.max(0, next.atMs - nowMs));
    if (this.#plans.length > 0) this.#cancel = this.#options.clock.after(waitMs, () => this.#look());
  }

  #followClock(): void {
    const stepMs = this.#steps.take();
    if (stepMs === 0) return;
    if (Math.abs(stepMs) > CLOCK_STEP_MS) this.#clockSetMs = this.#options.clock.monotonicMs();
    this.#memories.followClock(stepMs);
  }

  /** When the agent began, as the wall clock has it now. */
  get #agentStartedMs(): number {
    return nameMoment(this.#options.clock, this.#startedMs);
  }

  /** What a person asked for comes first, then what is due first. */
  #findNext(nowMs: number): Task | undefined {
    const able = this.#plans;
    const owing = able.find((entry) => this.#work.owesHooks(entry));
    if (owing !== undefined) return { plan: owing, kind: "finish", atMs: nowMs, trigger: "asked" };
    const copying = able.find((entry) => this.#copyOuts.isAsked(entry));
    if (copying !== undefined) return { plan: copying, kind: "copy-out", atMs: nowMs, trigger: "asked" };
    for (const kind of ["make", "verify"] as const) {
      for (const asked of this.#asked.values()) {
        const plan = asked.kind === kind ? able.find((entry) => nameStore(entry) === asked.key) : undefined;
        if (plan !== undefined) return { ...asked, plan, atMs: nowMs };
      }
    }
    const due = able.flatMap((plan): Task[] => {
      const make: Task = { plan, kind: "make", ...this.#findDue(plan, nowMs) };
      const proof = this.#findProofDue(plan, nowMs);
      const base = this.#findBaseProofDue(plan, nowMs);
      const copyMs = findCopyDue(plan, this.#memories.recall(plan))?.atMs;
      return [
        make,
        ...(proof === undefined ? [] : [{ plan, kind: "verify" as const, trigger: "schedule" as const, atMs: proof }]),
        ...(base === undefined
          ? []
          : [{ plan, kind: "verify-base" as const, trigger: "schedule" as const, atMs: base }]),
        ...(copyMs === undefined ? [] : [{ plan, kind: "copy" as const, trigger: "schedule" as const, atMs: copyMs }]),
      ];
    });
    return due.toSorted((one, other) => one.atMs - other.atMs)[0];
  }

  #findDue(plan: StorePlan, nowMs: number): Pick<Task, "atMs" | "trigger"> {
    const key = nameStore(plan);
    const { accountedMs } = this.#memories.recall(plan);
    const times = { key: `${this.#options.node}/${key}`, nowMs, agentStartedMs: this.#agentStartedMs };
    const { atMs, trigger } = findBackupDue(plan.schedule, { accountedMs }, times);
    const retryMs = this.#retry.get(key);
    return { atMs: retryMs === undefined ? atMs : Math.min(atMs, retryMs), trigger };
  }

  /** Only once there is a backup that was not proved. */
  #findProofDue(plan: StorePlan, nowMs: number): number | undefined {
    const key = nameStore(plan);
    const memory = this.#memories.recall(plan);
    const made = memory.lastRun?.made;
    const expects = nameExpectations(plan);
    // Once for each word of Git's, whatever comes of it.
    if (isMended(plan, memory) && this.#proving.get(key) !== expects) return nowMs;
    if (plan.verify?.schedule === undefined || made === undefined || memory.lastVerify?.backup === made)
      return undefined;
    const accountedMs = memory.proofAccountedMs ?? memory.accountedMs;
    const times = { key: `${this.#options.node}/${key}/verify`, nowMs, agentStartedMs: this.#agentStartedMs };
    return findBackupDue(plan.verify.schedule, { accountedMs }, times).atMs;
  }

  /** By the same schedule, whether or not there is a new base: its log is longer by then. */
  #findBaseProofDue(plan: StorePlan, nowMs: number): number | undefined {
    if (plan.wal === undefined || plan.verify?.schedule === undefined) return undefined;
    const { baseProofAccountedMs, accountedMs } = this.#memories.recall(plan);
    const key = `${this.#options.node}/${nameStore(plan)}/verify`;
    const times = { key, nowMs, agentStartedMs: this.#agentStartedMs };
    return findBackupDue(plan.verify.schedule, { accountedMs: baseProofAccountedMs ?? accountedMs }, times).atMs;
  }

  /** What a person asks for without a name is the newest of both. */
  async #verify(plan: StorePlan, { trigger, backup }: Pick<Task, "trigger" | "backup">): Promise<boolean> {
    const isBase = backup !== undefined && isBackupName("postgres-base", backup);
    const isDone = !isBase && (await this.#work.verify(plan, backup));
    const isBoth = backup === undefined && trigger === "asked" && plan.wal !== undefined;
    if (isBase || isBoth) await this.#bases.verify(plan, backup);
    return isDone;
  }

  async #carryOut({ plan, kind, trigger, backup }: Task): Promise<void> {
    const key = nameStore(plan);
    this.#running = { key, sinceMs: this.#options.clock.nowMs() };
    this.#asked.delete(`${kind} ${key} ${backup ?? ""}`);
    try {
      if (kind === "finish") await this.#work.finish(plan);
      else if (kind === "copy") await this.#copy(plan);
      else if (kind === "verify-base") await this.#bases.verify(plan);
      else if (kind === "copy-out") await this.#copyOuts.carryOut(plan, this.#copying);
      else {
        if (kind === "verify") this.#proving.set(key, nameExpectations(plan));
        const isDone =
          kind === "make" ? await this.#make(plan, trigger) : await this.#verify(plan, { trigger, backup });
        if (isDone) await this.#work.keepFew(plan);
      }
      await this.#work.noteGood(plan, () => true);
    } catch (error) {
      this.#tell(error);
    }
    this.#running = undefined;
    if (this.#abort.signal.aborted) return;
    await this.#memories.save();
    this.#look();
  }

  /** A run that failed for want of it has succeeded by it, and needs no other dump. */
  async #copy(plan: StorePlan): Promise<void> {
    await this.#copying.copy(plan);
    if (this.#memories.find(plan)?.lastRun?.made !== undefined) this.#retry.delete(nameStore(plan));
  }

  /** A run that failed is tried again once soon; then the schedule has it. */
  async #make(plan: StorePlan, trigger: BackupRun["trigger"]): Promise<boolean> {
    const run = await this.#work.make(plan, trigger);
    const key = nameStore(plan);
    const tried = this.#retry.delete(key);
    if (run.made === undefined && !tried) this.#retry.set(key, run.endedMs + RETRY_MS);
    return run.made !== undefined && !this.#abort.signal.aborted;
  }

  /** Looks into the repositories by itself: into all at the start, and now and then into those of this host. */
  #noteAll(): void {
    const { clock } = this.#options;
    const isNew = this.#plans.some((plan) => this.#memories.find(plan) === undefined);
    if (!isNew && clock.monotonicMs() - this.#notedMs < NOTE_MS) return;
    const isFirst = this.#notedMs === Number.NEGATIVE_INFINITY;
    this.#notedMs = clock.monotonicMs();
    for (const plan of this.#plans) {
      this.#memories.recall(plan);
      void this.#work.noteGood(plan, ({ kind }) => isFirst || kind !== "s3").catch(() => undefined);
    }
  }

  #tell(error: unknown): void {
    const message = readMessage(error);
    this.#options.emit({ kind: "state-not-saved", atMs: this.#options.clock.nowMs(), message: `backups: ${message}` });
  }
}
