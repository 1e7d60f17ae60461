// Keeps the backups of a node: follows what is in force and what runs, begins each run when it is due, one at a time, and knows what
// there is. Made by daemon.ts; told of each turn, and never holds one up. The dump itself is a child's work.

import type { AgentEvent } from "../../shared/state/event.ts";
import type { BackupRun, KnownBackup, StorePlan, StoreStatus } from "../../shared/state/backup.ts";
import type { ObservedEngine } from "../../shared/state/observed-state.ts";
import type { ChildEnd, ChildRun } from "../host/os/child-process.ts";
import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { BACKUP_COMMAND, type BackupAnswer, type BackupRequest } from "./backup-exchange.ts";
import { readBackupState, type StoreMemory, writeBackupState } from "./backup-state.ts";
import { findBackupDue } from "./core/backup-due.ts";
import { type BackupRecord, isVerified } from "./core/backup-record.ts";
import { listBackups } from "./pipeline.ts";
import { openLocalRepository } from "./repository/local-repository.ts";

/** What the keeper is made from. */
export interface KeeperOptions {
  node: string;
  clock: Clock;
  /** Where what is remembered lies. */
  statePath: string;
  /** The directory of the repository `local`. */
  localDirectory: string;
  /** The engine's unix socket. */
  socket: string;
  /** The agent's own entry. */
  program: string;
  runChild(run: ChildRun): Promise<ChildEnd>;
  emit(event: AgentEvent): void;
}

const LOCAL = "local";
/** What a dump may take; its child has as much again beside it. */
const DUMP_MEMORY_BYTES = 256 * 2 ** 20;
const CHILD_MEMORY_BYTES = 256 * 2 ** 20;
const DEADLINE_MS = 6 * 3_600_000;
const ANSWER_LIMIT_BYTES = 1024 * 1024;
/** A run that failed is tried again so soon, and then by the schedule. */
const RETRY_MS = 300_000;
/** Due runs are looked for at least so often: a clock that was set changes what is due. */
const LOOK_MS = 60_000;

/** Keeps the backups of one node. */
export class BackupKeeper {
  readonly #options: KeeperOptions;
  readonly #memory: Map<string, StoreMemory>;
  readonly #startedMs: number;
  readonly #abort = new AbortController();
  #plans: readonly StorePlan[] = [];
  #engine: ObservedEngine | undefined;
  #running: { key: string; sinceMs: number } | undefined;
  #asked: string[] = [];
  #retry = new Map<string, number>();
  #cancel: CancelTimer | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#memory = readBackupState(options.statePath);
    this.#startedMs = options.clock.nowMs();
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(plans: readonly StorePlan[], engine: ObservedEngine): void {
    this.#plans = plans;
    this.#engine = engine;
    this.#look();
  }

  /** Asks for a run now; answers why there is none, or undefined once it is queued. */
  ask(service: string, store: string): string | undefined {
    const plan = this.#plans.find((entry) => entry.service === service && entry.store === store);
    if (plan === undefined) return `${service} has no backup ${store} that is in force here`;
    const trouble = this.#findTrouble(plan);
    if (trouble !== undefined) return trouble;
    const key = nameKey(plan);
    if (this.#running?.key !== key && !this.#asked.includes(key)) this.#asked.push(key);
    this.#look();
    return undefined;
  }

  /** Every store, with what its repository has. */
  async list(): Promise<StoreStatus[]> {
    return Promise.all(this.#plans.map((plan) => this.#describe(plan)));
  }

  /** Ends; a run that goes on is given up and leaves no backup. */
  close(): void {
    this.#cancel?.();
    this.#abort.abort();
  }

  #look(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#abort.signal.aborted) return;
    const nowMs = this.#options.clock.nowMs();
    const next = this.#running === undefined ? this.#findNext(nowMs) : undefined;
    if (next !== undefined && next.atMs <= nowMs) void this.#run(next.plan, next.trigger);
    const waitMs = next === undefined ? LOOK_MS : Math.min(LOOK_MS, Math.max(0, next.atMs - nowMs));
    if (this.#plans.length > 0) this.#cancel = this.#options.clock.after(waitMs, () => this.#look());
  }

  /** What a person asked for comes first, then what is due first. */
  #findNext(nowMs: number): { plan: StorePlan; atMs: number; trigger: BackupRun["trigger"] } | undefined {
    const able = this.#plans.filter((plan) => this.#findTrouble(plan) === undefined);
    const asked = able.find((plan) => this.#asked.includes(nameKey(plan)));
    if (asked !== undefined) return { plan: asked, atMs: nowMs, trigger: "asked" };
    const due = able.map((plan) => ({ plan, ...this.#findDue(plan, nowMs) }));
    return due.toSorted((one, other) => one.atMs - other.atMs)[0];
  }

  #findDue(plan: StorePlan, nowMs: number): { atMs: number; trigger: "schedule" | "catch-up" } {
    const key = nameKey(plan);
    const memory = this.#memory.get(key) ?? { accountedMs: nowMs };
    if (!this.#memory.has(key)) this.#memory.set(key, memory);
    const { atMs, trigger } = findBackupDue(plan.schedule, memory, {
      key: `${this.#options.node}/${key}`,
      nowMs,
      agentStartedMs: this.#startedMs,
    });
    const retryMs = this.#retry.get(key);
    return { atMs: retryMs === undefined ? atMs : Math.min(atMs, retryMs), trigger };
  }

  async #run(plan: StorePlan, trigger: BackupRun["trigger"]): Promise<void> {
    const { clock } = this.#options;
    const key = nameKey(plan);
    const startedMs = clock.nowMs();
    this.#running = { key, sinceMs: startedMs };
    this.#asked = this.#asked.filter((entry) => entry !== key);
    const answer = await this.#askChild(plan, trigger);
    const made = answer.kind === "made" ? answer.record.name : undefined;
    const reason = answer.kind === "made" ? undefined : answer.reason;
    const run: BackupRun = { trigger, startedMs, endedMs: clock.nowMs(), made, reason };
    this.#remember(key, run);
    this.#running = undefined;
    if (this.#abort.signal.aborted) return;
    const bytes = answer.kind === "made" ? sumBytes(answer.record) : 0;
    this.#options.emit({
      kind: "backup-ended",
      atMs: run.endedMs,
      service: plan.service,
      store: plan.store,
      run,
      bytes,
    });
    await writeBackupState(this.#options.statePath, this.#memory).catch((error: unknown) => {
      this.#options.emit({
        kind: "state-not-saved",
        atMs: clock.nowMs(),
        message: error instanceof Error ? error.message : String(error),
      });
    });
    this.#look();
  }

  /** A run that failed is tried again once soon; then the schedule has it. */
  #remember(key: string, run: BackupRun): void {
    const tried = this.#retry.has(key);
    this.#retry.delete(key);
    if (run.made === undefined && !tried) this.#retry.set(key, run.endedMs + RETRY_MS);
    const { made, reason, ...rest } = run;
    this.#memory.set(key, {
      accountedMs: run.startedMs,
      lastRun: { ...rest, ...(made === undefined ? {} : { made }), ...(reason === undefined ? {} : { reason }) },
    });
  }

  async #askChild(plan: StorePlan, trigger: BackupRun["trigger"]): Promise<BackupAnswer> {
    const request = this.#buildRequest(plan, trigger);
    if (typeof request === "string") return { kind: "failed", reason: request };
    const end = await this.#options.runChild({
      program: this.#options.program,
      command: BACKUP_COMMAND,
      request: JSON.stringify(request),
      deadlineMs: DEADLINE_MS,
      answerLimitBytes: ANSWER_LIMIT_BYTES,
      memoryLimitBytes: CHILD_MEMORY_BYTES,
      signal: this.#abort.signal,
    });
    if (end.kind === "failed") return { kind: "failed", reason: `the child that makes it failed: ${end.reason}` };
    try {
      return JSON.parse(end.answer.toString("utf8")) as BackupAnswer;
    } catch {
      return { kind: "failed", reason: "the child that makes it gave no answer" };
    }
  }

  #buildRequest(plan: StorePlan, trigger: BackupRun["trigger"]): BackupRequest | string {
    const { node, socket, localDirectory } = this.#options;
    const container = this.#findContainer(plan);
    if (container === undefined) return `${plan.service} does not run: a dump is read from a server that does`;
    return {
      folder: { node, service: plan.service, store: plan.store },
      engine: "postgres",
      trigger,
      socket,
      container,
      user: plan.user,
      memoryBytes: DUMP_MEMORY_BYTES,
      repository: { name: LOCAL, directory: localDirectory },
      recipients: [],
    };
  }

  #findContainer({ service }: StorePlan): string | undefined {
    if (this.#engine?.reachable !== true) return undefined;
    return this.#engine.containers.find((entry) => entry.service === service && entry.status === "running")?.id;
  }

  /** Why this version does not run it: said, and never a silence that looks like a backup. */
  #findTrouble({ engine, repositories }: StorePlan): string | undefined {
    if (engine !== "postgres") return `engine ${engine} is not run by this version: nothing of it is backed up`;
    const others = repositories.filter((name) => name !== LOCAL);
    if (others.length > 0)
      return `repository ${others.join(", ")} is not used by this version: name local, or nothing is backed up`;
    return undefined;
  }

  async #describe(plan: StorePlan): Promise<StoreStatus> {
    const { node, clock, localDirectory } = this.#options;
    const key = nameKey(plan);
    const trouble = this.#findTrouble(plan);
    const repository = openLocalRepository(LOCAL, localDirectory);
    const folder = { node, service: plan.service, store: plan.store };
    const running = this.#running?.key === key ? this.#running.sinceMs : undefined;
    const memory = this.#memory.get(key);
    const common = {
      service: plan.service,
      store: plan.store,
      engine: plan.engine,
      schedule: plan.schedule,
      repository: plan.repositories.join(", "),
      runningSinceMs: running,
      nextMs: running === undefined && trouble === undefined ? this.#findDue(plan, clock.nowMs()).atMs : undefined,
      lastRun: memory?.lastRun === undefined ? undefined : { made: undefined, reason: undefined, ...memory.lastRun },
    };
    try {
      const { records, strange } = await listBackups(repository, folder);
      const backups = records.map((record) => describeBackup(record, localDirectory));
      return { ...common, trouble, backups, strange: running === undefined ? strange : [] };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { ...common, trouble: trouble ?? reason, backups: [], strange: [] };
    }
  }
}

function nameKey({ service, store }: Pick<StorePlan, "service" | "store">): string {
  return `${service}/${store}`;
}

function sumBytes(record: BackupRecord): number {
  return record.files.reduce((sum, { stored }) => sum + stored.bytes, 0);
}

function describeBackup(record: BackupRecord, directory: string): KnownBackup {
  const { name, node, service, store, startedMs, endedMs, files, recipients, restoreWith } = record;
  return {
    name,
    startedMs,
    endedMs,
    plainBytes: files.reduce((sum, { plain }) => sum + plain.bytes, 0),
    storedBytes: sumBytes(record),
    verified: isVerified(record),
    encrypted: recipients.length > 0,
    files: files.map(({ file }) => `${directory}/${node}/${service}/${store}/${file}`),
    restoreWith,
  };
}
