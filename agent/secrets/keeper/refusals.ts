// Which secrets the provider refuses although their values are in use, and since when. A refusal ends a value only after it has stood for
// a time and for more than one round: an identity that is being given its rights anew must not cost what runs its next start.

import type { SecretRefusal } from "../../../shared/secret/secret-facts.ts";
import type { SecretRefused } from "../../../shared/secret/secret-provider.ts";
import type { Clock } from "../../host/os/clock.ts";

/** So long, and for so many rounds, a refusal stands before the value is gone. */
const REFUSAL_STANDS_MS = 900_000;
const LEAST_ROUNDS = 2;
/** How often the provider is asked meanwhile, where it would be asked more seldom or never. */
export const REFUSAL_POLL_MS = 300_000;

interface Standing {
  refusal: SecretRefusal;
  /** On the monotonic clock. */
  beganMs: number;
  rounds: number;
  /** It stood before this agent started: since when, and how old its value is, has its time from another clock. */
  isOld: boolean;
}

/** The refusals of one node. */
export class Refusals {
  readonly #clock: Clock;
  readonly #standing = new Map<string, Standing>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes over what stood before this agent started; how long it has stood is measured anew. */
  load(stored: readonly SecretRefusal[]): void {
    const untilMs = this.#clock.nowMs() + REFUSAL_STANDS_MS;
    for (const refusal of stored) {
      const kept = refusal.ended ? refusal : { ...refusal, untilMs };
      this.#standing.set(refusal.path, { refusal: kept, beganMs: this.#clock.monotonicMs(), rounds: 0, isOld: true });
    }
  }

  /** The wall clock was set: what was named by it moves along. */
  move(stepMs: number): void {
    for (const [path, standing] of this.#standing) {
      const { sinceMs, readMs, untilMs, ...rest } = standing.refusal;
      const by = standing.isOld ? 0 : stepMs;
      const refusal = { ...rest, sinceMs: sinceMs + by, readMs: readMs + by, untilMs: untilMs + stepMs };
      this.#standing.set(path, { ...standing, refusal });
    }
  }

  get(path: string): SecretRefusal | undefined {
    return this.#standing.get(path)?.refusal;
  }

  /** Every one, to be kept over a restart. */
  list(): SecretRefusal[] {
    return [...this.#standing.values()].map(({ refusal }) => refusal);
  }

  /** True while one stands and has not ended its value yet. */
  get isOpen(): boolean {
    return this.list().some(({ ended }) => !ended);
  }

  /**
   * Counts a round in which a path was refused while others were answered.
   * @param readMs when its value was last confirmed
   * @returns the refusal, ended where its time is over
   */
  note(path: string, { kind, reason }: SecretRefused, readMs: number): SecretRefusal {
    const nowMs = this.#clock.nowMs();
    const begun = { path, kind, reason, sinceMs: nowMs, readMs, untilMs: nowMs + REFUSAL_STANDS_MS, ended: false };
    const before = this.#standing.get(path) ?? {
      refusal: begun,
      beganMs: this.#clock.monotonicMs(),
      rounds: 0,
      isOld: false,
    };
    const rounds = before.rounds + 1;
    const isOver = rounds >= LEAST_ROUNDS && this.#clock.monotonicMs() - before.beganMs >= REFUSAL_STANDS_MS;
    const refusal = { ...before.refusal, kind, reason, ended: before.refusal.ended || isOver };
    this.#standing.set(path, { ...before, refusal, rounds });
    return refusal;
  }

  /** It was given again. */
  clear(path: string): void {
    this.#standing.delete(path);
  }

  /** Forgets what nothing takes any more. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const path of this.#standing.keys()) if (!paths.has(path)) this.#standing.delete(path);
  }
}
