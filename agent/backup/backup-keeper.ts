// Keeps the backups of a node: follows what is in force and what runs, begins each run, proof and retention when it is due, one at a
// time, and knows what there is. Made by daemon.ts; told of each turn, and never holds one up. Dumps and restores are a child's work.

import type { AgentEvent } from "../../shared/state/event.ts";
import type { BackupRun, StorePlan, StoreStatus, VerifyRun } from "../../shared/state/backup.ts";
import type { Note } from "../../shared/state/note.ts";
import type { ObservedEngine } from "../../shared/state/observed-state.ts";
import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { askChild, type ChildParts } from "./ask-child.ts";
import { readBackupState, type StoreMemory, writeBackupState } from "./backup-state.ts";
import { noteStore } from "./backup-notes.ts";
import { describeStore, findTrouble } from "./backup-view.ts";
import { findBackupDue } from "./core/backup-due.ts";
import { carryOutRetention } from "./keep-few.ts";
import { listBackups } from "./pipeline.ts";
import { openLocalRepository } from "./repository/local-repository.ts";
import type { Repository } from "./repository/repository-port.ts";

/** What the keeper is made from. */
export interface KeeperOptions extends ChildParts {
  clock: Clock;
  /** Where what is remembered lies. */
  statePath: string;
  /** Removes containers of earlier runs. */
  sweep(): Promise<unknown>;
  emit(event: AgentEvent): void;
}

/** One thing to do for a store. */
interface Task {
  plan: StorePlan;
  kind: "make" | "verify";
  trigger: BackupRun["trigger"];
  atMs: number;
}

/** A run that failed is tried again so soon, and then by the schedule. */
const RETRY_MS = 300_000;
/** At its end the agent waits so long for what a run has left; the next one takes it away otherwise. */
const CLEAN_UP_MS = 5_000;
/** Due tasks are looked for at least so often: a clock that was set changes what is due. */
const LOOK_MS = 60_000;

/** Keeps the backups of one node. */
export class BackupKeeper {
  readonly #options: KeeperOptions;
  readonly #memory: Map<string, StoreMemory>;
  readonly #startedMs: number;
  readonly #abort = new AbortController();
  readonly #repository: Repository;
  #plans: readonly StorePlan[] = [];
  #engine: ObservedEngine | undefined;
  #running: { key: string; sinceMs: number } | undefined;
  /** What people asked for, by kind and store, in order. */
  #asked = new Set<string>();
  #retry = new Map<string, number>();
  #cancel: CancelTimer | undefined;
  #carrying: Promise<void> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  #swept = false;
  #sweeping = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#memory = readBackupState(options.statePath);
    this.#startedMs = options.clock.nowMs();
    this.#repository = openLocalRepository("local", options.localDirectory);
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(plans: readonly StorePlan[], engine: ObservedEngine): void {
    this.#plans = plans;
    this.#engine = engine;
    if (!this.#swept && engine.reachable && this.#running === undefined) {
      this.#swept = true;
      void this.#sweepFirst();
    }
    this.#look();
  }

  /** Asks for a run or a proof now; answers why there is none, or undefined once it is queued. */
  ask(kind: Task["kind"], service: string, store: string): string | undefined {
    const plan = this.#plans.find((entry) => entry.service === service && entry.store === store);
    if (plan === undefined) return `${service} has no backup ${store} that is in force here`;
    const trouble = findTrouble(plan);
    if (trouble !== undefined) return trouble;
    this.#asked.add(`${kind} ${nameKey(plan)}`);
    this.#look();
    return undefined;
  }

  /** Every store, with what its repository has. */
  list(): Promise<StoreStatus[]> {
    const nowMs = this.#options.clock.nowMs();
    const places = { node: this.#options.node, repository: this.#repository, directory: this.#options.localDirectory };
    return Promise.all(
      this.#plans.map((plan) => {
        const key = nameKey(plan);
        const sinceMs = this.#running?.key === key ? this.#running.sinceMs : undefined;
        const nextMs = sinceMs === undefined ? this.#findDue(plan, nowMs).atMs : undefined;
        return describeStore(plan, { ...places, sinceMs, nextMs, memory: this.#memory.get(key) });
      }),
    );
  }

  /** What is not as it should be. */
  get notes(): Note[] {
    const nowMs = this.#options.clock.nowMs();
    return this.#plans.flatMap((plan) => noteStore(plan, this.#memory.get(nameKey(plan)), nowMs));
  }

  /** Ends; a run that goes on is given up and leaves no backup, and no container. */
  async close(): Promise<void> {
    this.#cancel?.();
    this.#abort.abort();
    // Only what was cut off leaves something, and an engine that hangs must not keep the agent from ending.
    if (this.#running === undefined) return;
    const cleaned = this.#carrying.then(() => this.#sweep());
    await Promise.race([cleaned, new Promise<void>((resolve) => this.#options.clock.after(CLEAN_UP_MS, resolve))]);
  }

  /** No run begins meanwhile: its container would look like one that was left. */
  async #sweepFirst(): Promise<void> {
    this.#sweeping = true;
    await this.#sweep();
    this.#sweeping = false;
    this.#look();
  }

  /** Takes away containers of runs that were cut off: now, or before an agent that was killed. */
  async #sweep(): Promise<void> {
    await this.#options.sweep().catch(() => undefined);
  }

  /** One after the other, so that the newest is what stays. */
  #save(): Promise<void> {
    this.#saving = this.#saving.then(() =>
      writeBackupState(this.#options.statePath, this.#memory).catch((error: unknown) => this.#tell(error)),
    );
    return this.#saving;
  }

  #look(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#abort.signal.aborted) return;
    const nowMs = this.#options.clock.nowMs();
    const isFree = this.#running === undefined && !this.#sweeping;
    const next = isFree ? this.#findNext(nowMs) : undefined;
    if (next !== undefined && next.atMs <= nowMs) this.#carrying = this.#carryOut(next);
    const waitMs = next === undefined ? LOOK_MS : Math.min(LOOK_MS, Math.max(0, next.atMs - nowMs));
    if (this.#plans.length > 0) this.#cancel = this.#options.clock.after(waitMs, () => this.#look());
  }

  /** What a person asked for comes first, then what is due first. */
  #findNext(nowMs: number): Task | undefined {
    const able = this.#plans.filter((plan) => findTrouble(plan) === undefined);
    for (const kind of ["make", "verify"] as const) {
      const plan = able.find((entry) => this.#asked.has(`${kind} ${nameKey(entry)}`));
      if (plan !== undefined) return { plan, kind, atMs: nowMs, trigger: "asked" };
    }
    const due = able.flatMap((plan): Task[] => {
      const make: Task = { plan, kind: "make", ...this.#findDue(plan, nowMs) };
      const proof = this.#findProofDue(plan, nowMs);
      return proof === undefined ? [make] : [make, { plan, kind: "verify", trigger: "schedule", atMs: proof }];
    });
    return due.toSorted((one, other) => one.atMs - other.atMs)[0];
  }

  #findDue(plan: StorePlan, nowMs: number): Pick<Task, "atMs" | "trigger"> {
    const key = nameKey(plan);
    const { accountedMs } = this.#recall(key, nowMs);
    const times = { key: `${this.#options.node}/${key}`, nowMs, agentStartedMs: this.#startedMs };
    const { atMs, trigger } = findBackupDue(plan.schedule, { accountedMs }, times);
    const retryMs = this.#retry.get(key);
    return { atMs: retryMs === undefined ? atMs : Math.min(atMs, retryMs), trigger };
  }

  /** Only once there is a backup that was not proved. */
  #findProofDue(plan: StorePlan, nowMs: number): number | undefined {
    const key = nameKey(plan);
    const memory = this.#recall(key, nowMs);
    const made = memory.lastRun?.made;
    if (plan.verify?.schedule === undefined || made === undefined || memory.lastVerify?.backup === made)
      return undefined;
    const accountedMs = memory.proofAccountedMs ?? memory.accountedMs;
    const times = { key: `${this.#options.node}/${key}/verify`, nowMs, agentStartedMs: this.#startedMs };
    return findBackupDue(plan.verify.schedule, { accountedMs }, times).atMs;
  }

  /** A store that is seen for the first time is counted from now. */
  #recall(key: string, nowMs: number): StoreMemory {
    const known = this.#memory.get(key);
    if (known !== undefined) return known;
    const begun = { accountedMs: nowMs, seenMs: nowMs };
    this.#memory.set(key, begun);
    // An agent that is started again before the first run counts from here all the same.
    void this.#save();
    return begun;
  }

  async #carryOut(task: Task): Promise<void> {
    const { clock } = this.#options;
    const key = nameKey(task.plan);
    this.#running = { key, sinceMs: clock.nowMs() };
    this.#asked.delete(`${task.kind} ${key}`);
    try {
      const isDone = task.kind === "make" ? await this.#make(task) : await this.#verify(task);
      if (isDone) await this.#keepFew(task.plan);
    } catch (error) {
      this.#tell(error);
    }
    this.#running = undefined;
    if (this.#abort.signal.aborted) return;
    await this.#save();
    this.#look();
  }

  async #make({ plan, trigger }: Task): Promise<boolean> {
    const { clock } = this.#options;
    const key = nameKey(plan);
    const startedMs = clock.nowMs();
    const answer = await askChild(this.#options, this.#abort.signal, {
      kind: "make",
      plan,
      trigger,
      container: this.#findContainer(plan),
    });
    const made = answer.kind === "made" ? answer.record.name : undefined;
    const reason = answer.kind === "made" ? undefined : answer.kind === "failed" ? answer.reason : "no answer";
    const run: BackupRun = { trigger, startedMs, endedMs: clock.nowMs(), made, reason };
    this.#noteRun(key, run);
    if (this.#abort.signal.aborted) return false;
    const bytes = answer.kind === "made" ? answer.record.files.reduce((sum, { stored }) => sum + stored.bytes, 0) : 0;
    const { service, store } = plan;
    this.#options.emit({ kind: "backup-ended", atMs: run.endedMs, service, store, run, bytes });
    return made !== undefined;
  }

  /** A run that failed is tried again once soon; then the schedule has it. */
  #noteRun(key: string, run: BackupRun): void {
    const tried = this.#retry.delete(key);
    if (run.made === undefined && !tried) this.#retry.set(key, run.endedMs + RETRY_MS);
    const made = run.made === undefined ? {} : { madeMs: run.startedMs };
    this.#memory.set(key, { ...this.#memory.get(key), ...made, accountedMs: run.startedMs, lastRun: { ...run } });
  }

  /** The newest one: each is proved while it is the one that a bad hour would take. */
  async #verify({ plan }: Task): Promise<boolean> {
    const { node, clock, emit } = { ...this.#options, emit: (event: AgentEvent) => this.#options.emit(event) };
    const { service, store } = plan;
    const startedMs = clock.nowMs();
    const { records } = await listBackups(this.#repository, { node, service, store });
    const [newest] = records;
    if (newest === undefined) return false;
    const answer = await askChild(this.#options, this.#abort.signal, { kind: "verify", plan, record: newest });
    const judged =
      answer.kind === "judged"
        ? answer.verdict
        : { verdict: "unknown" as const, detail: answer.kind === "failed" ? answer.reason : "no answer" };
    if (this.#abort.signal.aborted) return false;
    const run: VerifyRun = { backup: newest.name, endedMs: clock.nowMs(), ...judged };
    const key = nameKey(plan);
    this.#memory.set(key, { ...this.#recall(key, startedMs), proofAccountedMs: startedMs, lastVerify: { ...run } });
    emit({ kind: "backup-judged", atMs: run.endedMs, service, store, run });
    return run.verdict === "good";
  }

  async #keepFew(plan: StorePlan): Promise<void> {
    const { node, clock } = this.#options;
    const key = nameKey(plan);
    const memory = this.#recall(key, clock.nowMs());
    const kept = await carryOutRetention(
      this.#repository,
      { node, service: plan.service, store: plan.store },
      {
        policy: plan.retention,
        nowMs: clock.nowMs(),
        memory,
      },
    );
    this.#memory.set(key, { ...memory, expected: kept.count });
    for (const name of kept.removed)
      this.#options.emit({
        kind: "backup-removed",
        atMs: clock.nowMs(),
        service: plan.service,
        store: plan.store,
        backup: name,
      });
  }

  #tell(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.emit({ kind: "state-not-saved", atMs: this.#options.clock.nowMs(), message: `backups: ${message}` });
  }

  #findContainer({ service }: StorePlan): string | undefined {
    if (this.#engine?.reachable !== true) return undefined;
    return this.#engine.containers.find((entry) => entry.service === service && entry.status === "running")?.id;
  }
}

function nameKey({ service, store }: Pick<StorePlan, "service" | "store">): string {
  return `${service}/${store}`;
}
