// The Git source: polls a branch with one small request, and lets a short-lived child fetch when the branch has moved.
// `read` never waits: it answers what the newest poll found. A server that cannot be read is a failure, never an empty
// repository; what was read before stays.

import { setTimeout as sleep } from "node:timers/promises";

import { makeDirectory } from "../../../host/files/make-directory.ts";
import type { Setback } from "../../../../shared/state/backoff.ts";
import type { UnreadSource } from "../../../../shared/state/hold.ts";
import type { InForce } from "../../../../shared/state/in-force.ts";
import type { Approvals, Snapshot, Source, SourceReading } from "../../../../shared/state/snapshot.ts";
import type { ReadKeys, TrustedKey } from "../../../../shared/config/trusted-key.ts";
import { type CancelTimer, type Clock, nameMoment } from "../../../host/os/clock.ts";
import { approvalPrefix } from "../trust/git-approval.ts";
import { buildBase, isSameInputs, isSameJudgement, type Judged } from "./git-basis.ts";
import type { Fetch } from "./git-child.ts";
import type { FetchRequest, FetchResult, GitLocation } from "./git-exchange.ts";
import { describeRefusedTag } from "../../../../shared/text/words/source-words.ts";
import { GitFailure } from "../wire/git-failure.ts";
import { ReadMark } from "./last-read-file.ts";
import { GitRemote } from "../wire/git-remote.ts";
import { type ReadStatus, RolloutWatch } from "../../forge/rollout-watch.ts";
import { failPoll, hintDelayMs, pollDelayMs, type PollTimes } from "./git-schedule.ts";

/** What the source needs. */
export interface GitSourceOptions {
  location: GitLocation;
  /** The directory in the repository that holds `orca/`, or `orca/` itself. */
  path: string;
  node: string;
  /** How often the branch is asked for, before jitter. */
  pollMs: number;
  /** How long one fetch may take. */
  fetchMs: number;
  /** The largest pack that is taken. */
  limitBytes: number;
  /** Where the clone is kept: a cache that may be deleted at any time. */
  directory: string;
  /** Fetches once: in the agent by a child, `fetchBy`. */
  fetch: Fetch;
  clock: Clock;
  /** Asked before every poll; left out where no signature is asked for. */
  readKeys?: ReadKeys;
  /** How long one request of a poll may take. */
  requestMs?: number;
  /** Reads what other nodes have said of a commit. */
  readStatus: ReadStatus;
}

const REQUEST_MS = 10_000;
/** How long the agent's start waits for the first answer. */
const FIRST_READ_MS = 1_000;
const FIRST_READING: UnreadSource = { code: "unread", fault: { code: "first-reading" } };
/** A retry that is due or under way wakes the loop itself when it ends: until then the loop is not asked to look. */
const LEAST_WAIT_MS = 1_000;
/** When the source was last read is written down this often. */
const MARK_EVERY_MS = 60_000;

/** Reads one branch for one node. */
export class GitSource implements Source {
  readonly kind = "git";
  readonly location: string;
  readonly #options: GitSourceOptions;
  readonly #remote: GitRemote;
  readonly #rollouts: RolloutWatch;
  /** What jitter is drawn from. */
  readonly #key: string;
  readonly #ending = new AbortController();
  #result: Result | undefined;
  /** What the newest result was judged by. */
  #judged: Judged | undefined;
  #inForce: InForce | undefined;
  /** What people should know of the server. */
  #tipNotes: readonly string[] = [];
  #failure: GitFailure | undefined;
  /** A commit that cannot be used is not fetched again. */
  #refused: (Judged & { tip: string; base: string | undefined; failure: GitFailure }) | undefined;
  readonly #mark: ReadMark;
  #setback: Setback | undefined;
  #polls = 0;
  #again = false;
  /** A poll was asked for and has not ended. */
  #asked = false;
  #polling: Promise<void> | undefined;
  #times: PollTimes = { polledMs: -Infinity, fetchedMs: -Infinity, notBeforeMs: -Infinity };
  #nextMs = 0;
  #cancel: CancelTimer = () => undefined;
  #onHint: () => void = () => undefined;

  constructor(options: GitSourceOptions) {
    this.#options = options;
    this.location = `${options.location.url} (${options.location.branch})`;
    this.#key = `${options.node}\n${options.location.url}`;
    this.#remote = new GitRemote(options.location);
    this.#mark = new ReadMark(options.directory, options.clock);
    this.#rollouts = new RolloutWatch(options);
    this.#rollouts.watch(() => this.#onHint());
  }

  /** True while the server is asked or a child fetches. */
  get isBusy(): boolean {
    return this.#polling !== undefined || this.#rollouts.isBusy;
  }

  follow(inForce: InForce | undefined): void {
    this.#inForce = inForce;
    this.#watchRollout();
  }

  async read(): Promise<SourceReading> {
    const { clock } = this.#options;
    const { readMs } = this.#mark;
    const refreshing = this.#asked;
    if (this.#failure === undefined && this.#result !== undefined) {
      const { snapshot, approvals } = this.#result;
      const notes = [...this.#tipNotes, ...this.#result.notes];
      const { verdict: rollout } = this.#rollouts;
      return {
        kind: "read",
        snapshot,
        notes,
        readMs: readMs ?? clock.nowMs(),
        refreshing,
        ...(approvals && { approvals }),
        ...(rollout && { rollout }),
      };
    }
    const retryMs = nameMoment(clock, Math.max(clock.monotonicMs() + LEAST_WAIT_MS, this.#nextMs));
    const { distrusted = false, lasting = false } = this.#failure ?? {};
    const why = this.#failure === undefined ? FIRST_READING : this.#describeFailure(this.#failure);
    const revision = distrusted ? this.#refused?.tip : undefined;
    return {
      kind: "failed",
      why,
      distrusted,
      retryMs: lasting ? undefined : retryMs,
      refreshing,
      ...(readMs !== undefined && { readMs }),
      ...(revision !== undefined && { revision }),
    };
  }

  async watch(onHint: () => void): Promise<void> {
    const { directory } = this.#options;
    this.#onHint = onHint;
    // A disk that takes nothing is told by the fetch, and does not keep the agent from starting.
    await makeDirectory(directory, 0o700).catch(() => undefined);
    await this.#mark.load();
    this.#begin();
    // The first turn had better know the newest commit; a server that is slow keeps no container waiting for that.
    await Promise.race([this.#polling, sleep(FIRST_READ_MS, undefined, { ref: false })]);
  }

  invalidate(): void {
    this.#asked = true;
    this.#refused = undefined;
    if (this.#polling !== undefined) {
      this.#again = true;
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    const delayMs = hintDelayMs(this.#times, nowMs);
    if (nowMs + delayMs < this.#nextMs) this.#schedule(delayMs);
  }

  async close(): Promise<void> {
    this.#cancel();
    this.#ending.abort();
    await Promise.all([this.#polling, this.#rollouts.close()]);
    await this.#mark.write();
  }

  #schedule(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#cancel();
    this.#nextMs = this.#options.clock.monotonicMs() + delayMs;
    this.#cancel = this.#options.clock.after(delayMs, () => this.#begin());
  }

  #begin(): void {
    const asked = this.#asked;
    this.#polling = this.#poll().finally(() => {
      this.#polling = undefined;
      const again = this.#again;
      this.#again = false;
      if (again) return this.invalidate();
      if (!asked) return;
      this.#asked = false;
      this.#onHint();
    });
  }

  /** One poll, and a fetch where the branch has moved; then the next one is due. Never throws. */
  async #poll(): Promise<void> {
    const { clock, pollMs } = this.#options;
    this.#polls += 1;
    this.#times = { ...this.#times, polledMs: clock.monotonicMs() };
    const before = { snapshot: this.#result?.snapshot, said: this.#describe() };
    let delayMs = pollDelayMs(pollMs, this.#key, this.#polls);
    try {
      await this.#update();
      // Nobody has looked for the tag that may have been pushed together with the commit.
      if (this.#awaitsApproval && this.#judged?.tags === undefined) delayMs = LEAST_WAIT_MS;
      this.#failure = undefined;
      this.#setback = undefined;
      this.#mark.note();
      await this.#mark.write(MARK_EVERY_MS);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      const failure =
        error instanceof GitFailure ? error : new GitFailure({ code: "unexpected", message: String(error) });
      this.#failure = failure;
      if (!failure.lasting) delayMs = this.#backOff(failure);
      await this.#mark.write();
    }
    this.#schedule(delayMs);
    // A turn is worth making when there is something to see, and not for each poll.
    if (before.snapshot !== this.#result?.snapshot || before.said !== this.#describe()) this.#onHint();
  }

  #describe(): string {
    const { notes = [], approvals } = this.#result ?? {};
    return [
      this.#failure?.message,
      ...this.#tipNotes,
      ...notes,
      approvals?.granted,
      ...(approvals?.refused ?? []).map(describeRefusedTag),
    ].join("\n");
  }

  /** A commit that is not trusted waits for people anyway. */
  #describeFailure({ fault, lasting, distrusted }: GitFailure): UnreadSource {
    return { code: "unread", location: this.location, fault, final: lasting && !distrusted };
  }

  /** Counts a failure; answers how long to wait. */
  #backOff({ message, retryAfterMs = 0 }: GitFailure): number {
    const nowMs = this.#options.clock.monotonicMs();
    this.#times = { ...this.#times, notBeforeMs: nowMs + retryAfterMs };
    this.#setback = failPoll(this.#setback, { nowMs, message, key: this.#key, retryAfterMs });
    return this.#setback.nextMs - nowMs;
  }

  /** True while the newest commit changes what is in force and has no approval that it needs. */
  get #awaitsApproval(): boolean {
    const { snapshot, approvals } = this.#result ?? {};
    return approvals !== undefined && !isSameInputs(snapshot?.objects, this.#inForce?.objects);
  }

  /** Another node is asked after only while a change waits for it. */
  #watchRollout(): void {
    const { awaited, objects } = this.#result?.snapshot ?? {};
    const isChange = this.#inForce !== undefined && !isSameInputs(objects, this.#inForce.objects);
    this.#rollouts.want(isChange && awaited?.revisions.length !== 0 ? awaited : undefined);
  }

  async #update(): Promise<void> {
    const { requestMs = REQUEST_MS, node } = this.#options;
    const keys = await this.#readKeys();
    const tagPrefix = this.#awaitsApproval ? approvalPrefix(node) : undefined;
    const tip = await this.#remote.readTip({ deadlineMs: requestMs, signal: this.#ending.signal, tagPrefix });
    this.#tipNotes = tip.notes;
    const judged = { keys, tags: tagPrefix === undefined ? undefined : tip.tags };
    if (tip.id === this.#result?.snapshot.revision && isSameJudgement(judged, this.#judged)) {
      this.#judged = judged;
      return;
    }
    const base = this.#inForce?.revision;
    if (this.#refused?.tip === tip.id && this.#refused.base === base && isSameJudgement(judged, this.#refused))
      throw this.#refused.failure;
    this.#times = { ...this.#times, fetchedMs: this.#options.clock.monotonicMs() };
    try {
      const { snapshot, rewritten, notes, approvals } = await this.#fetch(tip.id, judged);
      const told = rewritten ? [describeRewrite(this.#result?.snapshot.revision, snapshot.revision)] : [];
      this.#result = { snapshot, notes: [...told, ...notes], approvals };
      this.#judged = judged;
      this.#watchRollout();
    } catch (error) {
      if (error instanceof GitFailure && error.lasting)
        this.#refused = { tip: tip.id, base, failure: error, ...judged };
      throw error;
    }
  }

  async #readKeys(): Promise<readonly TrustedKey[] | undefined> {
    return this.#options.readKeys?.().catch((error: Error) => {
      throw new GitFailure({ code: "keys-unread", message: error.message }, { cause: error });
    });
  }

  async #fetch(tip: string, { keys, tags }: Judged): Promise<FetchResult> {
    const { location, path, node, directory, fetchMs, limitBytes, fetch } = this.#options;
    const request: FetchRequest = {
      location,
      path,
      node,
      directory,
      tip,
      deadlineMs: fetchMs,
      limitBytes,
      base: buildBase(this.#inForce),
      keys,
      tags,
    };
    return fetch(request, this.#ending.signal);
  }
}

/** What the newest fetch gave. */
interface Result {
  snapshot: Snapshot;
  notes: readonly string[];
  approvals: Approvals | undefined;
}

function describeRewrite(from: string | undefined, to: string): string {
  const before = from === undefined ? "" : ` from ${from.slice(0, 12)}`;
  return `the branch was rewritten${before} to ${to.slice(0, 12)} (force-push): it is followed like any other change`;
}
