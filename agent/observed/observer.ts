// Makes one immutable read of the engine for each turn: one list of containers, one of networks, and an inspection only
// where an event, an unknown id or a gap asks for one. Events only say "look again"; the list is the truth.

import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import { claimContainer, LABEL, type OwnContainerId, sha256 } from "../../shared/state/identity.ts";
import type { ForeignContainer, ObservedContainer, ObservedEngine } from "../../shared/state/observed-state.ts";
import {
  type ContainerDetail,
  type ContainerRow,
  type DockerReader,
  EngineError,
  type NetworkRow,
} from "../docker/reader.ts";
import { type Probed, selectNotRunning } from "../plan/targets.ts";
import { isOwnJob } from "../docker/job-label.ts";
import { shortenAnswer } from "../docker/engine-answer.ts";
import { readMemory } from "../host/os/cgroup.ts";
import type { Clock } from "../host/os/clock.ts";
import { emptyNews, type EventNews, EventWatcher } from "./event-watcher.ts";
import { addWorkingSet, buildForeign } from "./observed-rows.ts";
import { type ToldEnd, ToldEnds } from "./told-ends.ts";
import { readVolumes } from "./volumes.ts";

/** What the observer needs. */
export interface ObserverOptions {
  node: string;
  bootId: string;
  reader: DockerReader;
  clock: Clock;
  /** True while the agent itself works on this service, or on this container of it: a kill is then its own. */
  isBusy: (service: string, container: string) => boolean;
  /** Called when something happened that a turn should look at, urgently where the agent did not do it itself. */
  onChange: (urgent: boolean) => void;
}

interface Known {
  detail: ContainerDetail;
  status: ContainerRow["status"];
  logTail: readonly string[];
  oomKilled: boolean;
  /** Its place in the order of this observer's reads. */
  read: number;
  /** When someone other than the agent last sent it an ending signal in this run. */
  killedMs: number | undefined;
}

/** An end this soon after a signal by hand is that signal's doing. */
const KILL_MEANS_END_MS = 60_000;

/** A resync inspects this share of the containers, so that each is looked at every so many resyncs without any event. */
const RESYNC_SHARE = 20;
/** So long the list of networks is believed while no event tells of another; an event stream that is frozen tells of none. */
const NETWORKS_BELIEVED_MS = 1_000;
const LOG_LINES = 20;

/** What is said of a container that could not be looked at yet. */
const UNKNOWN_DETAIL = {
  startedMs: undefined,
  finishedMs: undefined,
  exitCode: undefined,
  pid: 0,
  caps: { memoryBytes: 0, nanoCpus: 0, cpuShares: 0, pids: 0 },
  restartPolicy: "no",
  ownVolumes: [],
} as const;

const NO_NEWS: EventNews = emptyNews();

/** Reads one engine for one node. */
export class Observer {
  readonly #options: ObserverOptions;
  readonly #events: EventWatcher;
  readonly #known = new Map<string, Known>();
  readonly #deferred = new Set<string>();
  readonly #ends = new ToldEnds();
  #resyncs = 0;
  #volumesSeen = false;
  #networks: { rows: readonly NetworkRow[]; atMs: number } | undefined;
  #reads = 0;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#events = new EventWatcher(options);
  }

  /** Begins to follow the engine's events. */
  start(): void {
    this.#events.start();
  }

  /** Ends following. */
  async close(): Promise<void> {
    await this.#events.close();
  }

  /**
   * Reads the engine.
   * @param desired what is wanted; undefined to learn only what is there
   * @param resync also inspects a share of the containers that no event named
   * @param wanted services whose volumes are looked up although another release of them stands in `desired`
   */
  async observe(
    desired: DesiredState | undefined,
    resync: boolean,
    wanted: readonly DesiredService[] = [],
  ): Promise<ObservedEngine> {
    const news = this.#events.takeNews();
    const begun = (this.#reads += 1);
    this.#ends.hear(news);
    try {
      const [rows, networks] = await Promise.all([
        this.#options.reader.listContainers(),
        this.#readNetworks(desired, news, resync),
      ]);
      // The signals with which an engine ends everything when it goes down look like a person's.
      if (news.killedByHand.size > 0 && !(await this.#options.reader.accepts()))
        throw new EngineError("it takes no new calls: it is going down", undefined);
      if (resync) this.#resyncs += 1;
      return await this.#build({ rows, networks, desired, wanted, news, resync, begun });
    } catch (error) {
      // What the events said is needed again by the next turn that reaches the engine.
      this.#events.giveBack(news);
      this.#networks = undefined;
      if (error instanceof EngineError) return { reachable: false, reason: shortenAnswer(error.message) };
      throw error;
    }
  }

  /** The engine's networks: asked for where they may be others than before, or are others than is wanted. */
  async #readNetworks(
    desired: DesiredState | undefined,
    news: EventNews,
    resync: boolean,
  ): Promise<readonly NetworkRow[]> {
    const { reader, clock } = this.#options;
    const atMs = clock.monotonicMs();
    const known = this.#networks;
    const isNew = news.all || news.networks || resync || !this.#events.isOpen;
    const isThere = known?.rows.some(({ name }) => name === desired?.network.name) === true;
    if (known !== undefined && isThere && !isNew && atMs - known.atMs < NETWORKS_BELIEVED_MS) return known.rows;
    const rows = await reader.listNetworks();
    this.#networks = { rows, atMs };
    return rows;
  }

  /**
   * Looks at one container that the agent has just started, so that its probes need not wait for a turn.
   * @returns undefined when the engine did not answer or the container is gone; the next turn sees to that
   */
  async look(service: string, id: OwnContainerId): Promise<Probed | undefined> {
    this.#events.takeTouch(id);
    this.#deferred.delete(id);
    try {
      const detail = await this.#inspect(id, undefined, NO_NEWS);
      return detail === undefined ? undefined : { ...detail, id, service };
    } catch {
      // The next turn looks, whatever the events say.
      this.#deferred.add(id);
      return undefined;
    }
  }

  async #build(read: Read): Promise<ObservedEngine> {
    const { rows, networks, desired, wanted } = read;
    const containers: ObservedContainer[] = [];
    const foreign: ForeignContainer[] = [];
    const own = rows.filter((row) => claimContainer(row.id, row.labels, this.#options.node) !== undefined);
    await this.#refresh(own, read);
    for (const row of rows) {
      const container = this.#buildContainer(row);
      if (container === undefined) {
        // What backups and restores run for a while is nobody else's.
        if (!isOwnJob(row, this.#options.node)) foreign.push(buildForeign(row));
      } else containers.push(addWorkingSet(container, desired));
    }
    const ids = new Set(own.map((row) => row.id));
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
    return {
      reachable: true,
      ...this.#buildRun(networks),
      containers,
      foreign,
      networks: Object.fromEntries(
        networks.map((network) => [
          network.name,
          { node: network.labels[LABEL.node], internal: network.internal, subnets: network.subnets },
        ]),
      ),
      ...(await readVolumes(this.#options, [...this.#selectStarting(desired, containers), ...wanted])),
    };
  }

  /** The first look is at all: which volume what runs has its data in is known before that ends. */
  #selectStarting(desired: DesiredState | undefined, containers: readonly ObservedContainer[]): DesiredService[] {
    if (desired === undefined) return [];
    if (this.#volumesSeen) return selectNotRunning(desired, containers);
    this.#volumesSeen = true;
    return [...desired.services.values()];
  }

  /** Inspects what an event named, what is new or changed its status, and on a resync a share of the rest. */
  async #refresh(own: readonly ContainerRow[], { news, resync, begun }: Read): Promise<void> {
    const share = this.#resyncs % RESYNC_SHARE;
    const ending = new Set(own.filter((row) => this.#isEnding(row)));
    for (const { id } of ending) this.#askOfEnd(id, news);
    const stale = own.filter((row, index) => {
      if (ending.has(row)) return false;
      const known = this.#known.get(row.id);
      // What was looked at since this read began is newer than its list and than most news.
      const told = news.oom.has(row.id) || news.killedByHand.has(row.id);
      if (known !== undefined && known.read > begun && !told) return false;
      const named = news.all || news.touched.has(row.id) || this.#deferred.has(row.id) || isNewRun(known, row, news);
      return known === undefined || known.status !== row.status || named || (resync && index % RESYNC_SHARE === share);
    });
    // An engine answers an inspection only after a start or stop in progress: the container of a busy lane is looked at
    // when its operation has ended, so that no turn waits for one.
    const free = stale.filter((row) => !this.#options.isBusy(row.labels[LABEL.service] ?? "", row.id));
    for (const row of stale) this.#deferred.add(row.id);
    for (const row of free) this.#deferred.delete(row.id);
    await Promise.all(free.map((row) => this.#inspect(row.id, row.status, news)));
  }

  /** The engine has told how it ended, still lists it as running, and would hold an inspection back. */
  #isEnding(row: ContainerRow): boolean {
    return (
      this.#ends.find(row) !== undefined &&
      this.#known.has(row.id) &&
      !this.#options.isBusy(row.labels[LABEL.service] ?? "", row.id)
    );
  }

  /** No turn waits for this: the answer wakes the loop. */
  #askOfEnd(id: string, news: EventNews): void {
    this.#ends.ask(
      id,
      () => this.#inspect(id, undefined, news),
      ({ oomKilled }, failed) => {
        const known = this.#known.get(id);
        if (failed) this.#deferred.add(id);
        else if (known !== undefined) known.oomKilled ||= oomKilled;
        this.#options.onChange(true);
      },
    );
  }

  /** `listed` is the status that the list of this turn gave, which must be what is remembered. */
  async #inspect(
    id: string,
    listed: ContainerRow["status"] | undefined,
    news: EventNews,
  ): Promise<ContainerDetail | undefined> {
    const { reader } = this.#options;
    const read = (this.#reads += 1);
    const detail = await reader.inspectContainer(id);
    if (detail === undefined) return undefined;
    const status = listed ?? detail.status;
    const known = this.#known.get(id);
    const before = known?.detail.startedMs === detail.startedMs ? known : undefined;
    // What has just been started has no record of the kernel yet.
    const kernel = listed === "running" ? readMemory(detail.pid) : undefined;
    const oomSaid = detail.oomKilled || news.oom.has(id) || before?.oomKilled === true;
    const ended = status === "exited" || status === "dead";
    const isNew = ended && before?.status !== status;
    this.#known.set(id, {
      detail,
      status,
      read,
      logTail: isNew ? await reader.tailLogs(id, LOG_LINES).catch(() => []) : (before?.logTail ?? []),
      oomKilled: oomSaid || (kernel?.oomKills ?? 0) > 0,
      killedMs: news.killedByHand.get(id) ?? before?.killedMs,
    });
    return detail;
  }

  #buildContainer(row: ContainerRow): ObservedContainer | undefined {
    const id = claimContainer(row.id, row.labels, this.#options.node);
    if (id === undefined) return undefined;
    const known = this.#known.get(row.id);
    const detail = known?.detail ?? { ...UNKNOWN_DETAIL, image: row.image };
    const end = this.#isEnding(row) ? this.#ends.find(row) : undefined;
    return {
      id,
      name: row.name,
      service: row.labels[LABEL.service] ?? "",
      specHash: row.labels[LABEL.spec] ?? "",
      revision: row.labels[LABEL.revision] ?? "",
      image: detail.image,
      status: end === undefined ? row.status : "exited",
      startedMs: detail.startedMs,
      ...describeEnd(detail, known, end),
      caps: detail.caps,
      networks: row.networks,
      ports: row.ports,
      pid: detail.pid,
      restartPolicy: detail.restartPolicy,
      ownVolumes: detail.ownVolumes,
      writes: row.writes,
      frontName: row.labels[LABEL.front],
      workingSetBytes: undefined,
      logTail: known?.logTail ?? [],
    };
  }

  /**
   * The engine's run: its default bridge is made anew whenever it starts and no container has survived, and the kernel's
   * boot id tells a reboot where an engine has no default bridge.
   */
  #buildRun(networks: readonly NetworkRow[]): { run: string; sinceMs?: number } {
    const bridge = networks.find((network) => network.name === "bridge");
    const run = sha256(`${this.#options.bootId}\n${bridge?.id ?? ""}`).slice(0, 16);
    return bridge?.createdMs === undefined ? { run } : { run, sinceMs: bridge.createdMs };
  }
}

/** The events tell of a start that is not the one that was looked at: an end between two would have been told as well. */
function isNewRun(known: Known | undefined, { id }: ContainerRow, { started }: EventNews): boolean {
  const toldMs = started.get(id);
  const seenMs = known?.status === "running" ? known.detail.startedMs : undefined;
  return toldMs !== undefined && (seenMs === undefined || seenMs > toldMs);
}

/** How its run has ended: as the inspection says, or the event while there is none. */
function describeEnd(
  detail: Pick<ContainerDetail, "finishedMs" | "exitCode">,
  known: Known | undefined,
  told: ToldEnd | undefined,
): Pick<ObservedContainer, "finishedMs" | "exitCode" | "endIsTold" | "oomKilled" | "stoppedByHand"> {
  const finishedMs = told?.atMs ?? detail.finishedMs;
  const killedMs = told?.killedMs ?? known?.killedMs;
  return {
    finishedMs,
    exitCode: told?.exitCode ?? detail.exitCode,
    ...(told === undefined ? {} : { endIsTold: true }),
    oomKilled: known?.oomKilled === true || told?.oomKilled === true,
    stoppedByHand: killedMs !== undefined && (finishedMs ?? 0) - killedMs < KILL_MEANS_END_MS,
  };
}

interface Read {
  rows: readonly ContainerRow[];
  networks: readonly NetworkRow[];
  desired: DesiredState | undefined;
  wanted: readonly DesiredService[];
  news: EventNews;
  resync: boolean;
  /** Its place in the order of reads. */
  begun: number;
}
