// When the agent gives back memory: once it rests after work, and each hour, since people and polls bring pages in again. Made by
// daemon.ts. Held by test/unit/daemon/resting-memory.test.ts.

import type { CancelTimer, Clock } from "../host/os/clock.ts";
import type { AgentEvent } from "../../shared/state/event.ts";

/** It rests when it has done nothing for so long: what a start or a rollout needs comes again and again until then. */
const REST_MS = 30_000;
/** Giving back takes some 100 ms of a core: seldom enough to be 0.02 % of one at most. */
const LEAST_BETWEEN_MS = 600_000;
const EVERY_MS = 3_600_000;

/** What shows that the agent has done something that takes memory. */
const WORK: ReadonlySet<AgentEvent["kind"]> = new Set<AgentEvent["kind"]>([
  "agent-started",
  "step-done",
  "step-failed",
  "operation-ended",
  "host-files-read",
  "backup-ended",
  "backup-judged",
  "prune-ended",
]);

/** Gives memory back at rest. */
export class RestingMemory {
  readonly #clock: Clock;
  readonly #giveBack: () => Promise<void>;
  #revision: string | undefined;
  #workedMs = 0;
  #gaveMs = Number.NEGATIVE_INFINITY;
  #dueMs = Number.POSITIVE_INFINITY;
  #cancel: CancelTimer = () => undefined;
  #closed = false;

  /** @param giveBack gives it back; never rejects */
  constructor(clock: Clock, giveBack: () => Promise<void>) {
    this.#clock = clock;
    this.#giveBack = giveBack;
  }

  /** Hears of everything that happens. */
  hear(event: AgentEvent): void {
    if (!this.#isWork(event)) return;
    this.#workedMs = this.#clock.monotonicMs();
    this.#plan(this.#nextMs());
  }

  /** Ends. */
  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #isWork(event: AgentEvent): boolean {
    if (event.kind !== "turn") return WORK.has(event.kind);
    const revision = event.turn.desired?.revision;
    if (revision === this.#revision) return false;
    this.#revision = revision;
    return true;
  }

  #nextMs(): number {
    return Math.max(this.#workedMs + REST_MS, this.#gaveMs + LEAST_BETWEEN_MS);
  }

  /** A timer that is due before stays: it looks again itself. */
  #plan(dueMs: number): void {
    if (this.#closed || this.#dueMs <= dueMs) return;
    this.#cancel();
    this.#dueMs = dueMs;
    this.#cancel = this.#clock.after(dueMs - this.#clock.monotonicMs(), () => this.#look());
  }

  #look(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    const nextMs = this.#nextMs();
    if (nowMs < nextMs) return this.#plan(nextMs);
    this.#gaveMs = nowMs;
    void this.#giveBack();
    this.#plan(nowMs + EVERY_MS);
  }
}
