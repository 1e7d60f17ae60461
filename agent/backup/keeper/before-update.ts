// Backups that changes wait for: looks at each store that is awaited, asks the keeper for a backup and then for its proof, and tells the
// loop what there is. Made by daemon/; told of each turn. Decides nothing about the change itself.

import type { AwaitedBackup, BackupFact, BackupFacts, StoreStatus } from "../../../shared/state/backup.ts";
import type { TurnSummary } from "../../../shared/state/event.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { isFresh, LATE_MS, nameNeed } from "../../plan/rules/backup-first.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What is done about an awaited store. */
export interface NextBackup {
  fact: BackupFact;
  /** What the keeper is asked for now. */
  ask?: "make" | "verify";
}

/** What is asked of the keeper of backups. */
interface Keeper {
  list(): Promise<StoreStatus[]>;
  ask(
    kind: "make" | "verify",
    store: { service: string; store: string },
    trigger?: "before-update",
  ): string | undefined;
}

/** A try that failed is made again so soon. */
const RETRY_MS = 300_000;
/** While something is awaited, it is looked at so often. */
const LOOK_MS = 1_000;

/** What there is of an awaited store, and what comes next. Pure. */
export function findNextBackup(
  status: StoreStatus | undefined,
  { sinceMs, service }: AwaitedBackup,
  nowMs: number,
): NextBackup {
  if (status === undefined) return { fact: { trouble: `${service} has no such backup in force here` } };
  const { trouble, backups, runningSinceMs, lastRun } = status;
  const fresh = backups.filter(({ startedMs }) => isFresh(startedMs, { sinceMs, nowMs }));
  const proved = fresh.find(({ verified }) => verified);
  if (proved !== undefined) return { fact: { verified: { name: proved.name, startedMs: proved.startedMs } } };
  if (trouble !== undefined) return { fact: { trouble } };
  const late = nowMs - sinceMs > LATE_MS ? `not within ${describeDuration(LATE_MS)}` : undefined;
  const say = (doing: string, ask?: NextBackup["ask"]): NextBackup => ({
    fact: { doing, ...(late === undefined ? {} : { trouble: late }) },
    ...(ask === undefined ? {} : { ask }),
  });
  if (runningSinceMs !== undefined) return say(`a run of ${describeDuration(nowMs - runningSinceMs)} goes on`);
  // Of these the newest alone is proved.
  const [newest] = fresh;
  if (newest !== undefined) {
    const { verdict } = newest;
    if (verdict === undefined) return say(`${newest.name} is proved by a restore`, "verify");
    const why = `${newest.name} ${verdict.verdict === "bad" ? "cannot be restored" : "cannot be judged"}: ${verdict.detail}`;
    return againAfter(verdict.atMs, why, nowMs);
  }
  if (lastRun?.reason !== undefined && lastRun.endedMs >= sinceMs)
    return againAfter(lastRun.endedMs, lastRun.reason, nowMs);
  return say("a backup is made", "make");
}

function againAfter(failedMs: number, trouble: string, nowMs: number): NextBackup {
  const againMs = failedMs + RETRY_MS;
  // One that failed later than now did so by a clock that was wrong.
  if (nowMs >= againMs || failedMs > nowMs) return { fact: { trouble }, ask: "make" };
  // The moment, and not how long until then: what is told changes once.
  const at = new Date(againMs).toISOString().slice(11, 16);
  return { fact: { trouble: `${trouble}; another one is made at ${at} UTC` } };
}

/** Sees to the backups that changes of one node wait for. */
export class BeforeUpdate {
  readonly #keeper: Keeper;
  readonly #clock: Clock;
  readonly #learn: (facts: BackupFacts) => void;
  #awaited: readonly AwaitedBackup[] = [];
  #told = "{}";
  #looking = false;
  #closed = false;
  #cancel: CancelTimer | undefined;

  /** @param learn hands what is known to the loop, where it is news */
  constructor(keeper: Keeper, clock: Clock, learn: (facts: BackupFacts) => void) {
    this.#keeper = keeper;
    this.#clock = clock;
    this.#learn = learn;
  }

  /** Takes over what a turn waits for. Never throws, never waits. */
  follow({ awaited = [] }: TurnSummary): void {
    const isNews = JSON.stringify(awaited) !== JSON.stringify(this.#awaited);
    this.#awaited = awaited;
    if (isNews) void this.#look();
  }

  /** Ends looking. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    this.#cancel?.();
    const facts: Record<string, BackupFact> = {};
    try {
      const stores = this.#awaited.length === 0 ? [] : await this.#keeper.list();
      for (const need of this.#awaited) facts[nameNeed(need)] = this.#see(need, stores);
    } catch (error) {
      const trouble = readMessage(error);
      for (const need of this.#awaited) facts[nameNeed(need)] = { trouble };
    }
    this.#looking = false;
    if (this.#closed) return;
    const text = JSON.stringify(facts);
    if (text !== this.#told) this.#learn(facts);
    this.#told = text;
    if (this.#awaited.length > 0) this.#cancel = this.#clock.after(LOOK_MS, () => void this.#look());
  }

  #see(need: AwaitedBackup, stores: readonly StoreStatus[]): BackupFact {
    const { service, store } = need;
    const status = stores.find((entry) => entry.service === service && entry.store === store);
    const { fact, ask } = findNextBackup(status, need, this.#clock.nowMs());
    const refusal = ask === undefined ? undefined : this.#keeper.ask(ask, { service, store }, "before-update");
    return refusal === undefined ? fact : { trouble: refusal };
  }
}
