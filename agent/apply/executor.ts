// Carries operations out: one lane for each service, at most one operation in a lane. No lane waits for another, but
// for what only prepares: such containers are created a few at a time, so that the engine has time for starts.
// No turn of the loop waits here: an operation is begun, is seen as in flight, and wakes the loop when it ends.

import type { Emit } from "../../shared/state/event.ts";
import { nameFrontLanes } from "../../shared/state/front.ts";
import type { OwnContainerId } from "../../shared/state/identity.ts";
import type { Operation, OperationInFlight, OperationOutcome, Step } from "../../shared/state/step.ts";
import type { Clock } from "../host/os/clock.ts";
import { classifyFailure, describeFailure } from "./failure.ts";
import { resolveContainer, type Run, runStep, type StepResult, type Tools } from "./handlers.ts";
import { Turnstile } from "./turnstile.ts";

/** What the executor needs besides the tools of its handlers. */
export interface ExecutorOptions {
  clock: Clock;
  emit: Emit;
  /**
   * Called when an operation has ended, and now and then while a long step has made progress; urgently where what waits may go on
   * through that.
   */
  onChange: (urgent: boolean) => void;
  /** Called when a container of a service has just been started, before its operation ends. Must not throw. */
  onStarted: (service: string, container: OwnContainerId) => Promise<void>;
}

/** Progress wakes the loop at most this often. */
const PROGRESS_EVERY_MS = 1_000;
/** How long an ending agent waits for what is in flight. The engine carries it out in any case. */
const CLOSE_GRACE_MS = 2_000;

/** Containers that are created at once beside those that start then, and how long one that is slow holds another back. */
const CREATED_AT_ONCE = 4;
const CREATION_HELD_MS = 2_000;
const BEFORE_CREATION: ReadonlySet<Step["kind"]> = new Set(["ensure-image", "ensure-volume", "write-files"]);

interface Lane {
  operation: Operation;
  stage: Step["kind"];
  /** When it began, and when its step that starts a container did, by the monotonic clock. */
  sinceMs: number;
  startBegunMs: number | undefined;
  /** Containers of which a step so far ends a run or begins one. */
  changing: Set<string>;
  progress: string | undefined;
  reportedMs: number | undefined;
  abort: AbortController;
  ended: Promise<void>;
}

/** Runs operations against one engine. */
export class Executor {
  readonly #tools: Tools;
  readonly #options: ExecutorOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #creations: Turnstile;
  /** Their times are of the monotonic clock. */
  #outcomes: OperationOutcome[] = [];
  #closed = false;

  constructor(tools: Tools, options: ExecutorOptions) {
    this.#tools = tools;
    this.#options = options;
    const { clock } = options;
    this.#creations = new Turnstile({ clock, places: CREATED_AT_ONCE, heldMs: CREATION_HELD_MS });
  }

  /** Begins operations; one whose lane is busy is left for a later turn. */
  begin(operations: readonly Operation[], findContent: Run["findContent"]): void {
    for (const operation of operations) {
      if (this.#closed || this.#lanes.has(operation.lane)) continue;
      const abort = new AbortController();
      const lane: Lane = {
        operation,
        stage: operation.steps[0]?.kind ?? "write-files",
        sinceMs: this.#options.clock.monotonicMs(),
        startBegunMs: undefined,
        changing: new Set(),
        progress: undefined,
        reportedMs: undefined,
        abort,
        ended: Promise.resolve(),
      };
      this.#lanes.set(operation.lane, lane);
      lane.ended = this.#carryOut(lane, findContent);
    }
  }

  /** Cancels operations before their next step, and a pull in the middle of it. */
  cancel(lanes: readonly string[]): void {
    for (const name of lanes) this.#lanes.get(name)?.abort.abort();
  }

  /** True while the executor works on a service, or ends or starts this one container of it beside that. */
  isBusy(service: string, container: string): boolean {
    if (this.#lanes.has(service)) return true;
    const aim = this.#lanes.get(nameFrontLanes(service).retire)?.operation.aim;
    return aim !== undefined && aim.kind !== "traffic" && aim.container === container;
  }

  /** True while nothing is in flight. */
  get isIdle(): boolean {
    return this.#lanes.size === 0;
  }

  /**
   * What is in flight now and what has ended since the last call. Must be read before the engine is.
   * @param offsetMs how far the wall clock stands before the monotonic one: by it moments are named
   */
  readLanesAndDrainOutcomes(offsetMs: number): { operations: OperationInFlight[]; outcomes: OperationOutcome[] } {
    const operations = [...this.#lanes.values()].map(({ operation, stage, sinceMs, changing, progress }) => ({
      lane: operation.lane,
      cause: operation.cause,
      fingerprint: operation.fingerprint,
      ...(operation.aim === undefined ? {} : { aim: operation.aim }),
      stage,
      starts: operation.steps.some((step) => step.kind === "start-container"),
      changing: [...changing],
      sinceMs: Math.round(sinceMs + offsetMs),
      progress,
    }));
    const outcomes = this.#outcomes.map(({ startBegunMs, ...outcome }) => ({
      ...outcome,
      ...(startBegunMs === undefined ? {} : { startBegunMs: Math.round(startBegunMs + offsetMs) }),
      endedMs: Math.round(outcome.endedMs + offsetMs),
    }));
    this.#outcomes = [];
    return { operations, outcomes };
  }

  /**
   * Takes no more operations, cancels what is in flight and waits a little for it. What the engine has begun, it carries
   * out; the next agent sees the result. Containers are left as they are.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.cancel([...this.#lanes.keys()]);
    const ended = Promise.all([...this.#lanes.values()].map((lane) => lane.ended));
    let cancelTimer = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancelTimer = this.#options.clock.after(CLOSE_GRACE_MS, resolve);
    });
    await Promise.race([ended, late]);
    cancelTimer();
  }

  async #carryOut(lane: Lane, findContent: Run["findContent"]): Promise<void> {
    const { operation, abort } = lane;
    const run: Run = {
      signal: abort.signal,
      findContent,
      created: undefined,
      report: (progress) => this.#report(lane, progress),
    };
    let result: OperationOutcome["result"] = { kind: "done", steps: operation.steps.length };
    for (const step of operation.steps) {
      if (abort.signal.aborted) {
        result = { kind: "cancelled", before: step.kind };
        break;
      }
      lane.stage = step.kind;
      this.#noteRun(lane, step, run);
      const ended = await this.#takeInTurn(lane, step, run);
      if (ended !== undefined) {
        result = ended;
        break;
      }
    }
    const { clock, emit } = this.#options;
    const { startBegunMs } = lane;
    const start = startBegunMs === undefined ? {} : { startBegunMs };
    this.#lanes.delete(operation.lane);
    this.#outcomes.push({ operation, ...start, endedMs: clock.monotonicMs(), result });
    const atMs = clock.nowMs();
    emit({ kind: "operation-ended", atMs, outcome: { operation, endedMs: atMs, result } });
    this.#options.onChange(result.kind !== "done" || this.isIdle || !operation.steps.every(isPreparing));
  }

  /** From here on it is not certain which run of the container is seen. */
  #noteRun(lane: Lane, step: Step, run: Run): void {
    if (step.kind === "start-container") lane.startBegunMs = this.#options.clock.monotonicMs();
    if (step.kind !== "start-container" && step.kind !== "stop-container") return;
    const id = step.container === "created" ? run.created : step.container;
    if (id !== undefined) lane.changing.add(id);
  }

  #report(lane: Lane, progress: string): void {
    const { clock, onChange } = this.#options;
    lane.progress = progress;
    if (lane.reportedMs !== undefined && clock.monotonicMs() - lane.reportedMs < PROGRESS_EVERY_MS) return;
    lane.reportedMs = clock.monotonicMs();
    onChange(false);
  }

  /** What starts as soon as it is made waits for nothing: it has its slot. */
  async #takeInTurn(lane: Lane, step: Step, run: Run): Promise<OperationOutcome["result"] | undefined> {
    if (step.kind !== "create-container") return this.#takeStep(lane, step, run);
    const starts = lane.operation.steps.some(({ kind }) => kind === "start-container");
    const leave = await this.#creations.enter(starts, run.signal);
    try {
      if (run.signal.aborted) return { kind: "cancelled", before: step.kind };
      return await this.#takeStep(lane, step, run);
    } finally {
      leave();
    }
  }

  /** Takes one step; answers how the operation ends, or undefined when it goes on. */
  async #takeStep(lane: Lane, step: Step, run: Run): Promise<OperationOutcome["result"] | undefined> {
    const { clock, emit } = this.#options;
    const { cause, lane: name } = lane.operation;
    const startedMs = clock.monotonicMs();
    try {
      const result: StepResult = await runStep(step, run, this.#tools);
      if (step.kind === "start-container") await this.#options.onStarted(name, resolveContainer(step.container, run));
      const changed = result !== "unchanged";
      emit({
        kind: "step-done",
        atMs: clock.nowMs(),
        lane: name,
        step,
        cause,
        tookMs: clock.monotonicMs() - startedMs,
        changed,
      });
      return result === "replan" ? { kind: "replan", after: step.kind } : undefined;
    } catch (error) {
      if (run.signal.aborted) return { kind: "cancelled", before: step.kind };
      const said = describeFailure(error, (text) => this.#tools.redact(text));
      emit({ kind: "step-failed", atMs: clock.nowMs(), lane: name, step, cause, ...said });
      return { kind: "failed", step: step.kind, ...classifyFailure(step.kind, error), ...said };
    }
  }
}

/** Nothing waits for these to end: what is made starts when a slot is free, and of what was started the probes tell. */
function isPreparing({ kind }: Step): boolean {
  return kind === "create-container" || kind === "start-container" || BEFORE_CREATION.has(kind);
}
