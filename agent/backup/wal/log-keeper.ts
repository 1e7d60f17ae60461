// Keeps the streams of a node's logs: which stores have one, one look at each after the other, and what is kept of bases and logs. Made by
// daemon.ts; told of each turn, and never holds one up.

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import type { AgentEvent } from "../../../shared/state/event.ts";
import type { Note } from "../../../shared/state/note.ts";
import type { ObservedEngine } from "../../../shared/state/observed-state.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import type { StorePlan, WalPlan } from "../../../shared/state/backup.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { setNewerAside } from "../../host/newer-document.ts";
import { waitAtMost } from "../../host/os/clock.ts";
import { nameStore } from "../keeper/store-memories.ts";
import { isUnderWay, judgeStanding } from "./core/judge-log.ts";
import { parsePosition } from "./core/wal-position.ts";
import { checkLog } from "./log-check.ts";
import { type LogServer, LogStream, type StreamParts } from "./wal-stream.ts";
import { type LogMemory, readWalState, WAL_STATE_VERSION, writeWalState } from "./wal-state.ts";

/** What the keeper is made from. */
export interface LogKeeperOptions extends Omit<StreamParts, "signal"> {
  statePath: string;
  emit(event: AgentEvent): void;
}

type StreamedPlan = StorePlan & { wal: WalPlan };

/** A log is held against what lies in the repositories so often. */
const CHECK_MS = 3_600_000;
const CLOSE_MS = 5_000;
/** A restore waits so long at most for what was received to be stored. */
const SHIP_NOW_MS = 60_000;
/** A server that is to drop a slot and does not answer is asked again so soon. */
const WITHDRAW_MS = 10_000;

/** Streams the logs of one node. */
export class LogKeeper {
  readonly #options: LogKeeperOptions;
  readonly #abort = new AbortController();
  readonly #logs: Map<string, LogMemory>;
  readonly #streams = new Map<string, LogStream>();
  readonly #looking = new Map<string, Promise<void>>();
  /** Stores whose log is checked before its hour. */
  readonly #hasty = new Set<string>();
  /** Who waits for a look that has not begun yet. */
  readonly #hurried = new Map<string, (() => void)[]>();
  readonly #wakes = new Map<string, () => void>();
  #plans: readonly StorePlan[] = [];
  #engine: ObservedEngine = { reachable: false, reason: "" };
  #swept: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: LogKeeperOptions) {
    this.#options = options;
    const newer = setNewerAside(options.statePath, WAL_STATE_VERSION);
    if (newer !== undefined) this.#tell(newer);
    this.#logs = readWalState(options.statePath);
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(plans: readonly StorePlan[], engine: ObservedEngine): void {
    this.#plans = plans;
    this.#engine = engine;
    if (!engine.reachable || this.#abort.signal.aborted) return;
    const keys = new Set([...plans.filter(isStreamed).map(nameStore), ...this.#logs.keys()]);
    if (keys.size === 0) return;
    this.#swept ??= this.#sweep();
    for (const key of keys) if (!this.#looking.has(key)) this.#looking.set(key, this.#attend(key));
  }

  /** A base and its log were judged: both are looked at with the next look, and not within the hour. */
  recheck(plan: StorePlan): void {
    this.#hasty.add(nameStore(plan));
  }

  /**
   * Ships what was received by now, since a restore reads what is stored alone; where a repository hangs, it is waited for a little.
   * @returns repository → a moment of which it has everything; none where the log is another one by now
   */
  async shipNow(store: string, { systemId, timeline }: Pick<LogMemory, "systemId" | "timeline">) {
    if (this.#looking.has(store) && !this.#abort.signal.aborted) {
      const shipped = new Promise<void>((resolve) =>
        this.#hurried.set(store, [...(this.#hurried.get(store) ?? []), resolve]),
      );
      this.#wakes.get(store)?.();
      await waitAtMost(shipped, SHIP_NOW_MS, this.#options.clock);
    }
    const log = this.#logs.get(store);
    return log?.systemId === systemId && log.timeline === timeline ? log.caughtUpMs : {};
  }

  /** The same standings, with what the logs make of them. */
  improve(standings: readonly StoreStanding[]): StoreStanding[] {
    return standings.map((standing) => {
      const key = nameStore(standing);
      if (!this.#plans.some((plan) => isStreamed(plan) && nameStore(plan) === key)) return standing;
      const log = this.#logs.get(key);
      const judged = judgeStanding(log, standing.repository);
      if ("trouble" in judged) {
        const streaming = this.#streams.get(key)?.trouble;
        const begins = streaming === undefined && isUnderWay(log, standing.repository);
        return { ...standing, trouble: streaming ?? judged.trouble, begins };
      }
      return { ...standing, newestMs: Math.max(standing.newestMs ?? 0, judged.goodMs) };
    });
  }

  /** What is not as it should be. */
  get notes(): Note[] {
    return this.#plans.filter(isStreamed).flatMap((plan) => {
      const key = nameStore(plan);
      const [log, trouble] = [this.#logs.get(key), this.#streams.get(key)?.trouble];
      const note = (what: string, text: string): Note => ({
        name: `log ${key} ${what}`,
        text: `${text}: see orca help wal`,
      });
      const gaps = Object.entries(log?.gaps ?? {});
      const nowMs = this.#options.clock.nowMs();
      const { rpoMs } = plan;
      const old = plan.repositories.flatMap(({ name }): Note[] => {
        const judged = judgeStanding(log, name);
        if (rpoMs === undefined || ("goodMs" in judged && nowMs - judged.goodMs <= rpoMs)) return [];
        const what =
          "trouble" in judged
            ? judged.trouble
            : `what is stored of it is ${describeDuration(nowMs - judged.goodMs)} old`;
        const promise = `its manifest promises ${describeDuration(rpoMs)} (slo.rpo)`;
        return [note(`old in ${name}`, `the log of ${key} in ${name}: ${what}, and ${promise}`)];
      });
      return [
        ...old,
        ...(trouble === undefined ? [] : [note("trouble", `the log of ${key}: ${trouble}`)]),
        ...(log?.lost === undefined
          ? []
          : [note("lost", `the log of ${key} was lost, and a new base is made: ${log.lost.why}`)]),
        ...(log?.baseReason === undefined
          ? []
          : [note("base", `the log of ${key} has no new base: ${log.baseReason}`)]),
        ...gaps.map(([name, { from, to }]) =>
          note(
            `gap in ${name}`,
            `the log of ${key} from ${from} to ${to} is missing in ${name}${isHeld(log, to) ? ": no moment of that can be restored from there" : ", and a new base is made"}`,
          ),
        ),
      ];
    });
  }

  /** Ends; the server holds the log meanwhile, within its bound. */
  async close(): Promise<void> {
    this.#abort.abort();
    const ended = Promise.all([...this.#streams.values()].map((stream) => stream.close()));
    await waitAtMost(
      ended.then(() => undefined),
      CLOSE_MS,
      this.#options.clock,
    );
  }

  /** What an agent that was killed has left: receivers, and directories of logs that nobody remembers. */
  async #sweep(): Promise<void> {
    const { engine, node, walDirectory } = this.#options;
    await engine.receivers.sweep(node).catch((error: unknown) => this.#tell(readMessage(error)));
    const known = new Set([...this.#logs.values()].map(({ directory }) => directory));
    for (const name of await readdir(walDirectory).catch(() => []))
      if (!known.has(name)) await rm(join(walDirectory, name), { recursive: true, force: true }).catch(() => undefined);
  }

  /** Looks at one store until it has no log any more. Never rejects. */
  async #attend(key: string): Promise<void> {
    await this.#swept;
    for (;;) {
      const plan = this.#plans.find((entry) => nameStore(entry) === key);
      const waiting = this.#hurried.get(key) ?? [];
      this.#hurried.delete(key);
      try {
        if (plan === undefined || !isStreamed(plan)) {
          if (await this.#withdraw(key, plan)) break;
        } else await this.#look(plan);
      } catch (error) {
        this.#tell(readMessage(error));
      } finally {
        for (const done of waiting) done();
      }
      if (this.#abort.signal.aborted) return;
      if (!this.#hurried.has(key)) await this.#wait(key, plan?.wal?.shipMs ?? WITHDRAW_MS);
      if (this.#abort.signal.aborted) return;
    }
    this.#looking.delete(key);
  }

  async #look(plan: StreamedPlan): Promise<void> {
    const key = nameStore(plan);
    const stream = this.#open(key);
    await stream.look(plan, this.#findServer(plan));
    const log = this.#logs.get(key);
    const nowMs = this.#options.clock.nowMs();
    if (log?.base === undefined || stream.isBasing) return;
    if (!this.#hasty.delete(key) && nowMs - (log.checkedMs ?? log.beganMs) < CHECK_MS) return;
    const { desk, program, runLightChild, identity } = this.#options;
    const keys = { recipients: identity.listRecipients(plan), identities: identity.secrets };
    const parts = {
      desk,
      program,
      runChild: runLightChild,
      node: this.#options.node,
      signal: this.#abort.signal,
      keys,
    };
    const { gaps, indexed } = await checkLog(parts, plan, { log, nowMs });
    const now = this.#logs.get(key);
    if (now?.directory !== log.directory) return;
    const left = Object.entries(now.unindexed ?? {}).map(([repository, stored]) => {
      const rest = stored.filter(({ name }) => !indexed.has(`${repository} ${name}`));
      return [repository, rest] as const;
    });
    await this.#write(key, { ...now, gaps, unindexed: Object.fromEntries(left), checkedMs: nowMs });
  }

  /** True once nothing of it is left. A service that is gone has taken its slot along. */
  async #withdraw(key: string, plan: StorePlan | undefined): Promise<boolean> {
    const log = this.#logs.get(key);
    if (log === undefined) return true;
    const [service = "", store = ""] = key.split("/");
    const server = this.#findServer({ service });
    const isThere = this.#engine.reachable && this.#engine.containers.some((entry) => entry.service === service);
    // It does not run: what it holds is let go of when it does.
    if (server === undefined && isThere) return false;
    const { user, password, databases } = log;
    const source = { ...(plan?.source ?? EMPTY_SOURCE), user, password, databases };
    await this.#open(key).withdraw({ ...(plan ?? EMPTY_PLAN), service, store, source }, server);
    this.#streams.delete(key);
    return true;
  }

  #open(key: string): LogStream {
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    const stream = new LogStream(
      { ...this.#options, signal: this.#abort.signal },
      { read: () => this.#logs.get(key), write: (memory) => this.#write(key, memory) },
    );
    this.#streams.set(key, stream);
    return stream;
  }

  #findServer({ service }: Pick<StorePlan, "service">): LogServer | undefined {
    if (!this.#engine.reachable) return undefined;
    const running = this.#engine.containers.find((entry) => entry.service === service && entry.status === "running");
    return running?.startedMs === undefined ? undefined : { id: running.id, startedMs: running.startedMs };
  }

  #write(key: string, memory: LogMemory | undefined): Promise<void> {
    if (memory === undefined) this.#logs.delete(key);
    else this.#logs.set(key, memory);
    this.#saving = this.#saving.then(() =>
      writeWalState(this.#options.statePath, this.#logs).catch((error: unknown) => this.#tell(readMessage(error))),
    );
    return this.#saving;
  }

  #wait(key: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve);
      const wake = (): void => {
        cancel();
        resolve();
      };
      this.#wakes.set(key, wake);
      this.#abort.signal.addEventListener("abort", wake);
    });
  }

  #tell(message: string): void {
    this.#options.emit({ kind: "state-not-saved", atMs: this.#options.clock.nowMs(), message: `logs: ${message}` });
  }
}

/** True for a gap that is before the newest base: that one needs nothing of it. */
function isHeld(log: LogMemory | undefined, to: string): boolean {
  return (parsePosition(to) ?? 0n) <= (parsePosition(log?.base?.start ?? "") ?? 0n);
}

function isStreamed(plan: StorePlan): plan is StreamedPlan {
  return plan.wal !== undefined;
}

/** Of a store that its manifest has no more: only how the server is reached matters then. */
const EMPTY_SOURCE: StorePlan["source"] = {
  user: "",
  password: undefined,
  databases: undefined,
  command: undefined,
  exec: false,
  bucket: undefined,
  stop: false,
  volumes: [],
  image: undefined,
  hooks: { before: [], after: [] },
  memoryBytes: 0,
  minBytes: undefined,
};
const EMPTY_PLAN: StorePlan = {
  service: "",
  store: "",
  engine: "postgres",
  schedule: "",
  source: EMPTY_SOURCE,
  repositories: [],
  minSuccess: 1,
  recipients: [],
  backupKey: undefined,
  keepMs: undefined,
  retention: { days: 0, daily: 0, weekly: 0, monthly: 0 },
  verify: undefined,
  rpoMs: undefined,
};
