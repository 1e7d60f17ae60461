// Asks the forge how another node's rollout of a change went, while this node's waits for it (`rollout.after`): one context of
// a commit's status, on the same schedule as the branch. Nothing is asked while nothing waits. Decides nothing: its verdict
// is one of the things that desired/ judges a change on.

import { setMaxListeners } from "node:events";

import type { Setback } from "../../../shared/state/backoff.ts";
import type { RolloutVerdict } from "../../../shared/state/hold.ts";
import type { AwaitedPeer } from "../../../shared/state/snapshot.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { pollDelayMs, failPoll } from "../git/poll/git-schedule.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** Reads one context of a commit's status; undefined where there is none. Throws where that cannot be told. */
export type ReadStatus = (sha: string, context: string, signal: AbortSignal) => Promise<string | undefined>;

/** What the watch needs. */
export interface RolloutWatchOptions {
  node: string;
  /** How often it is asked, before jitter. */
  pollMs: number;
  clock: Clock;
  readStatus: ReadStatus;
}

/**
 * A node says its status of the commit that it put in force, which may be any of those with the same inputs: these from each end
 * are asked each time, and of those between them some in turn.
 */
const ASKED_FROM_EACH_END = 4;
const ASKED_BETWEEN = 4;
/** "error" is no verdict: another commit took that one's place before it had settled there. */
const VERDICTS: Readonly<Record<string, "settled" | "failed">> = { success: "settled", failure: "failed" };

/** Watches one node at a time. */
export class RolloutWatch {
  readonly #options: RolloutWatchOptions;
  readonly #ending = new AbortController();
  #awaited: { key: string; peer: AwaitedPeer; sinceMs: number } | undefined;
  #verdict: RolloutVerdict | undefined;
  /** The commit that has a status: it alone is asked again. */
  #found: string | undefined;
  #setback: Setback | undefined;
  #polls = 0;
  #asking: Promise<void> | undefined;
  #cancel: CancelTimer = () => undefined;
  #onChange: () => void = () => undefined;

  constructor(options: RolloutWatchOptions) {
    this.#options = options;
    setMaxListeners(0, this.#ending.signal);
  }

  /** True while the forge is asked. */
  get isBusy(): boolean {
    return this.#asking !== undefined;
  }

  /** What is known of what is awaited; undefined before the first answer. */
  get verdict(): RolloutVerdict | undefined {
    return this.#verdict;
  }

  /** Calls back when the verdict has changed. */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** Says what is awaited now; undefined where nothing is. */
  want(peer: AwaitedPeer | undefined): void {
    const key = peer === undefined ? undefined : JSON.stringify([peer.node, peer.revisions]);
    if (key === this.#awaited?.key) return;
    this.#cancel();
    [this.#verdict, this.#found, this.#setback] = [undefined, undefined, undefined];
    this.#awaited = peer && key !== undefined ? { key, peer, sinceMs: this.#options.clock.nowMs() } : undefined;
    if (this.#awaited !== undefined) this.#schedule(0);
  }

  async close(): Promise<void> {
    this.#cancel();
    this.#ending.abort();
    await this.#asking;
  }

  #schedule(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#cancel();
    this.#cancel = this.#options.clock.after(delayMs, () => {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
    });
  }

  /** Asks once, and says when to ask again. Never throws. */
  async #ask(): Promise<void> {
    const awaited = this.#awaited;
    if (awaited === undefined) return;
    const { clock, pollMs, node } = this.#options;
    this.#polls += 1;
    let delayMs = pollDelayMs(pollMs, node, this.#polls);
    let verdict: RolloutVerdict;
    try {
      verdict = await this.#read(awaited.peer, awaited.sinceMs);
      this.#setback = undefined;
    } catch (error) {
      const reason = readMessage(error);
      const [nowMs, retryAfterMs] = [clock.nowMs(), readRetryAfter(error)];
      this.#setback = failPoll(this.#setback, { nowMs, message: reason, key: node, retryAfterMs });
      delayMs = this.#setback.nextMs - nowMs;
      verdict = { kind: "unknown", reason, retryMs: this.#setback.nextMs };
    }
    // Something else may be awaited by now: that has its own question.
    if (this.#awaited !== awaited) return this.#schedule(0);
    const isNew = JSON.stringify(verdict) !== JSON.stringify(this.#verdict);
    this.#verdict = verdict;
    if (verdict.kind !== "settled") this.#schedule(delayMs);
    if (isNew) this.#onChange();
  }

  async #read({ node, revisions }: AwaitedPeer, sinceMs: number): Promise<RolloutVerdict> {
    const asked = selectAsked(revisions, this.#polls);
    for (const sha of this.#found === undefined ? asked : [this.#found, ...asked]) {
      const state = await this.#options.readStatus(sha, `orca/${node}`, this.#ending.signal);
      if (state === undefined || state === "error") continue;
      this.#found = sha;
      const end = VERDICTS[state];
      if (end === "settled") return { kind: "settled" };
      return end === "failed" ? { kind: "failed", state } : { kind: "waiting", sinceMs };
    }
    this.#found = undefined;
    return { kind: "waiting", sinceMs };
  }
}

/** The newest and the oldest, and the next of those between. */
function selectAsked(revisions: readonly string[], round: number): string[] {
  const between = revisions.slice(ASKED_FROM_EACH_END, -ASKED_FROM_EACH_END);
  const parts = Math.max(1, Math.ceil(between.length / ASKED_BETWEEN));
  const at = (round % parts) * ASKED_BETWEEN;
  const chosen = [
    ...revisions.slice(0, ASKED_FROM_EACH_END),
    ...revisions.slice(-ASKED_FROM_EACH_END),
    ...between.slice(at, at + ASKED_BETWEEN),
  ];
  return [...new Set(chosen)];
}

function readRetryAfter(error: unknown): number {
  const { retryAfterMs } = error as { retryAfterMs?: number | undefined };
  return retryAfterMs ?? 0;
}
