// What is remembered of each store while the agent runs, and how it reaches the disk. Every change is made to what is remembered at that
// moment: work takes long, and others note things meanwhile.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { Clock } from "../../host/os/clock.ts";
import { setNewerAside } from "../../host/newer-document.ts";
import { readBackupState, STATE_VERSION, type StoreMemory, writeBackupState } from "./backup-state.ts";

/** Which store is meant. */
type StoreName = Pick<StorePlan, "service" | "store">;

/** The memories of one node's stores. */
export class StoreMemories {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #tell: (error: unknown) => void;
  readonly #memories: Map<string, StoreMemory>;
  #saving: Promise<void> = Promise.resolve();

  /** @param tell hears why something could not be kept */
  constructor(path: string, clock: Clock, tell: (error: unknown) => void) {
    this.#path = path;
    this.#clock = clock;
    this.#tell = tell;
    const newer = setNewerAside(path, STATE_VERSION);
    if (newer !== undefined) tell(newer);
    this.#memories = readBackupState(path);
    // What was done later than now was done by a clock that was wrong: counted from then, nothing would be due before that day comes.
    for (const [key, memory] of this.#memories) this.#memories.set(key, mapTimes(memory, clampTo(clock.nowMs())));
  }

  /**
   * The wall clock was set: where it was set back, nothing was done later for that. Time that it was set forward by may have passed
   * indeed, as on a machine that slept, and is made up.
   */
  followClock(stepMs: number): void {
    if (stepMs >= 0) return;
    for (const [key, memory] of this.#memories)
      this.#memories.set(
        key,
        mapTimes(memory, (ms) => ms + stepMs),
      );
    void this.save();
  }

  /** Undefined for one that was never seen. */
  find(plan: StoreName): StoreMemory | undefined {
    return this.#memories.get(nameStore(plan));
  }

  /** A store that is seen for the first time is counted from now. */
  recall(plan: StoreName): StoreMemory {
    const known = this.find(plan);
    if (known !== undefined) return known;
    const nowMs = this.#clock.nowMs();
    const begun = { accountedMs: nowMs, seenMs: nowMs };
    this.#memories.set(nameStore(plan), begun);
    // An agent that is started again before the first run counts from here all the same.
    void this.save();
    return begun;
  }

  /** Changes what is remembered now; in memory until it is saved. */
  change(plan: StoreName, change: (memory: StoreMemory) => StoreMemory): void {
    this.#memories.set(nameStore(plan), change(this.recall(plan)));
  }

  /** One after the other, so that the newest is what stays. Never rejects. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => writeBackupState(this.#path, this.#memories).catch(this.#tell));
    return this.#saving;
  }
}

function clampTo(nowMs: number): (ms: number) => number {
  return (ms) => Math.min(ms, nowMs);
}

/** Changes the times that runs are counted from; what names a backup stays. */
function mapTimes(memory: StoreMemory, map: (ms: number) => number): StoreMemory {
  const { accountedMs, proofAccountedMs, seenMs } = memory;
  return {
    ...memory,
    accountedMs: map(accountedMs),
    ...(proofAccountedMs === undefined ? {} : { proofAccountedMs: map(proofAccountedMs) }),
    ...(seenMs === undefined ? {} : { seenMs: map(seenMs) }),
    ...mapCopies(memory, map),
  };
}

/** When a copy that is owed was tried last; before the first try that is counted from the end of the run. */
function mapCopies(
  { repositories, lastRun }: StoreMemory,
  map: (ms: number) => number,
): Pick<StoreMemory, "repositories"> {
  if (repositories === undefined || lastRun === undefined) return {};
  const mapped = Object.entries(repositories).map(([name, repository]) => {
    const { reason, copies = { tries: 0, atMs: lastRun.endedMs } } = repository;
    return [name, reason === undefined ? repository : { ...repository, copies: { ...copies, atMs: map(copies.atMs) } }];
  });
  return { repositories: Object.fromEntries(mapped) as StoreMemory["repositories"] };
}

/** The name of a store within its node. */
export function nameStore({ service, store }: StoreName): string {
  return `${service}/${store}`;
}
