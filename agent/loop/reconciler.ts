// THE LOOP. One turn: read sources, build desired, observe, plan, apply, report. Read this file first.
// A turn only begins and ends work, it never waits for it: pulls, stops and starts are operations of the executor.

import type { Executor } from "../apply/executor.ts";
import type { FrontPort } from "../apply/front-control.ts";
import type { SecretDelivery } from "../apply/secret-delivery.ts";
import type { ColdStarts } from "./cold-starts.ts";
import type { BuiltState, DesiredBuilder } from "./desired-builder.ts";
import type { Monitor } from "../health/monitor.ts";
import { type Probed, selectEndpoints, selectTarget, selectTargets } from "../plan/targets.ts";
import type { Clock } from "../host/os/clock.ts";
import { readHostFacts } from "../host/files/host-facts.ts";
import { type ObstacleProbe, readHostObstacles } from "../host/os/host-obstacles.ts";
import type { FileStore } from "../host/files/file-store.ts";
import type { Store } from "../host/store/store.ts";
import type { Observer } from "../observed/observer.ts";
import { followClock } from "../plan/memory/clock-step.ts";
import { selectFronts } from "../plan/front/traffic.ts";
import { takeOverLater } from "../plan/rules/later.ts";
import { plan } from "../plan/plan.ts";
import { listAwaited, rememberBackups } from "../plan/rules/backup-first.ts";
import { followGeneration, followGenerations } from "../plan/rules/generations.ts";
import { applyRollbacks, keepOperatorOverrides } from "../plan/rules/rollout.ts";
import type { PeerPort } from "../gossip/peer-port.ts";
import type { Plan, PlanSettings, World } from "../plan/world.ts";
import { KeptWorlds } from "./kept-worlds.ts";
import { previewPlan } from "./preview.ts";
import { ReleaseJudge } from "./release-judge.ts";
import type { BrokenPromises } from "../../shared/state/promise.ts";
import type { Request } from "../../shared/state/request.ts";
import { applyRequest } from "./requests.ts";
import { listVersions } from "../secrets/keeper/in-use.ts";
import type { SecretKeeper } from "../secrets/keeper/keeper.ts";
import type { AwaitedBackup, BackupFacts } from "../../shared/state/backup.ts";
import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { Emit, TurnSummary } from "../../shared/state/event.ts";
import type { ExitRecord, NodeMemory } from "../../shared/state/memory.ts";
import { noteSilentEngine } from "../../shared/state/note.ts";
import type { ObservedEngine, ObservedState } from "../../shared/state/observed-state.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";
import type { PlanPreview } from "../../shared/document/plan-preview.ts";
import type { OperationOutcome } from "../../shared/state/step.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What one loop works with. */
export interface ReconcilerParts {
  builder: DesiredBuilder;
  observer: Observer;
  executor: Executor;
  monitor: Monitor;
  files: FileStore;
  obstacles: ObstacleProbe;
  fronts: Pick<FrontPort, "routing" | "look">;
  store: Store;
  clock: Clock;
  /** The boot of the host: with it the monotonic clock begins anew. */
  bootId: string;
  emit: Emit;
  peers: PeerPort;
  coldStarts: Pick<ColdStarts, "look" | "memory">;
  settings: PlanSettings;
  secrets: Pick<SecretKeeper, "use" | "refresh" | "trouble">;
  delivery: Pick<SecretDelivery, "hashes" | "verify">;
}

/** Files, and a share of the containers that no event named, are looked at again this often. */
const RESYNC_MS = 30_000;
/** An engine that has not answered by then does not answer. */
const TURN_DEADLINE_MS = 5_000;

/** Runs turns for one node. */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  #memory: NodeMemory;
  #requests: Request[] = [];
  #backups: BackupFacts = {};
  #broken: BrokenPromises | undefined;
  #begun: ReadonlyMap<string, string> = new Map();
  #outcomes: OperationOutcome[] = [];
  /** What the disk did not take yet: memory is saved whole by any later turn, these would be lost. */
  #unsaved: { newExits: ExitRecord[]; newReleases: Plan["newReleases"][number][] } = { newExits: [], newReleases: [] };
  #engine: ObservedEngine = { reachable: false, reason: "it was not asked yet" };
  #world: World | undefined;
  readonly #worlds = new KeptWorlds();
  readonly #judge: ReleaseJudge;
  #resyncedMs = Number.NEGATIVE_INFINITY;
  #crowded = false;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    // A backup that copied a stopped service has ended with the agent that made it: the service starts again.
    const { copies: _copies, ...memory } = parts.store.loadMemory();
    this.#memory = memory;
    this.#judge = new ReleaseJudge({ store: parts.store, read: () => parts.builder.law });
  }

  /** True where the last turn left a service waiting for a start slot alone. */
  get isCrowded(): boolean {
    return this.#crowded;
  }

  /** Takes what is known of backups that changes wait for. */
  learnBackups(facts: BackupFacts): void {
    this.#backups = facts;
  }

  /** Takes which promises are broken: changes of services that stand still for that wait. */
  learnPromises(broken: BrokenPromises): void {
    this.#broken = broken;
  }

  /** Takes what a person asked for; the next turn looks at it. */
  request(request: Request): void {
    this.#requests.push(request);
  }

  /** The agent ends: what a person asked for and no turn has looked at is remembered for the next agent. */
  keepRequests(): void {
    if (this.#requests.length === 0) return;
    this.#takeRequests();
    this.#save(undefined, new Map());
  }

  /** A container was just started: it is probed from now on, not only from the next turn on. */
  startProbing(container: Probed): void {
    const target = this.#world === undefined ? undefined : selectTarget(this.#world.desired, container);
    if (target !== undefined) this.#parts.monitor.add(target);
  }

  /** What a turn would do now with what the last one saw; undefined before the first. */
  preview(): PlanPreview | undefined {
    if (this.#world === undefined) return undefined;
    const observed = { ...this.#world.observed, outcomes: [] };
    const world = { ...this.#world, observed, memory: this.#memory, nowMs: this.#nowMs };
    const later = world.desired.held?.desired;
    return previewPlan(world, later && { ...world, ...this.#chooseReleases(later, false) });
  }

  /** Why the host's policy refuses a kept release now; undefined where it may run. */
  async judgeRelease(service: string, fingerprint: string): Promise<string | undefined> {
    const why = await this.#judge.ask(service, fingerprint);
    return why && describeReason(why, this.#nowMs);
  }

  /** The last turns that planned something, as JSON. */
  printWorlds(): string {
    return this.#worlds.print();
  }

  #plan(world: World): Plan {
    try {
      const planned = plan(world);
      this.#worlds.keep(world, planned);
      return planned;
    } catch (error) {
      this.#worlds.keepThrown(world, error);
      throw error;
    }
  }

  /**
   * One turn of the loop.
   * @returns how many milliseconds the next turn may wait
   */
  async turn(): Promise<number> {
    const { builder, executor, monitor, peers, settings, coldStarts } = this.#parts;
    this.#readClocks();
    const startedMs = this.#nowMs;
    this.#takeRequests();
    if (builder.needsAdoption) this.#engine = await this.#readEngine(undefined, false);
    const built = await builder.build(this.#engine);
    if (built.desired === undefined) return this.#reportNothing(startedMs, built);
    const { store, secrets } = this.#parts;
    this.#memory = keepOperatorOverrides(this.#memory, built.desired);
    await this.#judge.look(built.desired, this.#memory);
    const chosen = this.#chooseReleases(built.desired, true);
    const { desired } = chosen;
    secrets.use(listVersions([...desired.services.values(), ...chosen.releases.values(), ...chosen.wanted.values()]));
    const observed = await this.#observe(desired, [...chosen.wanted.values()]);
    this.#world = {
      ...chosen,
      observed,
      memory: this.#memory,
      peers: peers.read(desired),
      settings,
      backups: this.#backups,
      nowMs: this.#nowMs,
    };
    const planned = this.#plan(this.#world);
    this.#crowded = planned.services.some(({ start }) => start?.at === "slot");
    builder.noteStandings(planned.standings);
    const cold = coldStarts.look(this.#world, planned);
    this.#remember(planned, built);
    peers.tell(this.#world, planned, cold);
    const { engine } = observed;
    const targets = selectTargets(desired, engine, { memory: planned.memory, nowMs: this.#world.nowMs });
    monitor.watch(targets, selectEndpoints(desired, engine, planned.memory.services), this.#offsetMs);
    executor.cancel(planned.cancel);
    executor.begin(planned.operations, (hash) => desired.contents.get(hash) ?? store.findContent(hash));
    const keeps = [...chosen.wanted.values(), ...chosen.releases.values()];
    this.#report(planned, { startedMs, observed, desired, keeps, source: built.source });
    return this.#nextDelayMs(planned, built);
  }

  #chooseReleases(desired: DesiredState, begins: boolean): ReturnType<typeof applyRollbacks> {
    const { store } = this.#parts;
    const { generations } = this.#memory;
    const volumes = this.#engine.reachable ? this.#engine.volumes : undefined;
    const find = (service: string, id: string): DesiredService | undefined => {
      const release = store.findRelease(service, id);
      return release === undefined ? undefined : followGeneration(release, generations);
    };
    const followed = followGenerations(desired, generations);
    const backups = this.#backups;
    const view = { find, engine: this.#engine, facts: backups, nowMs: this.#nowMs };
    // What is held back now is looked at and not begun.
    if (begins) this.#memory = rememberBackups(this.#memory, followed, view);
    const kept = { find, judge: (release: DesiredService) => this.#judge.judge(release) };
    const facts = { volumes, backups, broken: this.#broken, begun: this.#begun, emergency: followed.emergency };
    const chosen = applyRollbacks(followed, this.#memory, kept, facts);
    const { services } = chosen.desired;
    if (begins) this.#begun = new Map([...services].map(([name, { fingerprint }]) => [name, fingerprint]));
    return chosen;
  }

  /**
   * A turn counts by the monotonic clock and names its times by the wall clock as it stands at its begin: where that was set since
   * the last turn, what is remembered moves with it.
   */
  #readClocks(): void {
    const { clock, bootId } = this.#parts;
    const offsetMs = clock.nowMs() - clock.monotonicMs();
    this.#memory = followClock(this.#memory, { boot: bootId, offsetMs });
  }

  /** How far the wall clock stands before the monotonic one. */
  get #offsetMs(): number {
    return this.#memory.clock?.offsetMs ?? 0;
  }

  get #nowMs(): number {
    return Math.round(this.#parts.clock.monotonicMs() + this.#offsetMs);
  }

  #takeRequests(): void {
    const { builder, secrets } = this.#parts;
    for (const request of this.#requests.splice(0)) {
      this.#memory = applyRequest(this.#memory, request, this.#nowMs);
      if (request.kind !== "sync") continue;
      builder.invalidate();
      secrets.refresh();
      if (request.allowRemoval !== undefined) builder.allowRemovals(request.allowRemoval);
    }
  }

  /** @param wanted what Git wants of services in whose place a release stands: their volumes decide about it */
  async #observe(desired: DesiredState, wanted: readonly DesiredService[]): Promise<ObservedState> {
    const { executor, monitor, files, fronts, clock } = this.#parts;
    const resync = clock.monotonicMs() - this.#resyncedMs >= RESYNC_MS;
    if (resync) {
      this.#resyncedMs = clock.monotonicMs();
      await files.verify();
      await this.#parts.delivery.verify();
    }
    // What is in flight is read before the engine: an operation that ends in between is planned around, never doubled.
    const { operations, outcomes } = executor.readLanesAndDrainOutcomes(this.#offsetMs);
    this.#outcomes.push(...outcomes);
    const taken = takeOverLater(await this.#readEngine(desired, resync, wanted), desired, this.#memory);
    this.#engine = taken.engine;
    this.#memory = taken.memory;
    await fronts.look(selectFronts(desired, this.#engine), resync);
    return {
      engine: this.#engine,
      operations,
      outcomes: this.#outcomes,
      health: monitor.readHealth(this.#offsetMs),
      endpoints: monitor.endpoints,
      files: new Map([...files.hashes, ...this.#parts.delivery.hashes]),
      hosts: files.hosts,
      host: { ...(await readHostFacts(desired)), obstacles: await this.#readHostObstacles(desired, operations) },
      fronts: new Map(fronts.routing),
    };
  }

  #readHostObstacles(
    desired: DesiredState,
    operations: ObservedState["operations"],
  ): ReturnType<typeof readHostObstacles> {
    const busy = new Set(operations.map(({ lane }) => lane));
    return readHostObstacles(desired, this.#engine, this.#parts.obstacles, busy);
  }

  #readEngine(
    desired: DesiredState | undefined,
    resync: boolean,
    wanted: readonly DesiredService[] = [],
  ): Promise<ObservedEngine> {
    const reading = this.#parts.observer.observe(desired, resync, wanted);
    const late = new Promise<ObservedEngine>((resolve) => {
      const reason = `no answer within ${TURN_DEADLINE_MS / 1_000} s`;
      const cancel = this.#parts.clock.after(TURN_DEADLINE_MS, () => resolve({ reachable: false, reason }));
      void reading.then(cancel, cancel);
    });
    return Promise.race([reading, late]);
  }

  /** Memory is on disk before anything is done, so that a kill in between forgets nothing. */
  #remember(planned: Plan, built: BuiltState): void {
    this.#memory = planned.memory;
    // An engine that did not answer has not seen the outcomes: they wait for a turn that can use them.
    if (this.#engine.reachable) this.#outcomes = [];
    this.#unsaved.newExits.push(...planned.newExits);
    this.#unsaved.newReleases.push(...planned.newReleases);
    this.#save(built.inForce, built.desired?.contents ?? new Map());
  }

  #save(inForce: BuiltState["inForce"], contents: ReadonlyMap<string, Uint8Array>): void {
    const { store, emit, clock, coldStarts } = this.#parts;
    try {
      store.save({ memory: this.#memory, coldStarts: coldStarts.memory, inForce, contents, ...this.#unsaved });
      this.#unsaved = { newExits: [], newReleases: [] };
    } catch (error) {
      const message = readMessage(error);
      emit({ kind: "state-not-saved", atMs: clock.nowMs(), message });
    }
  }

  #report(planned: Plan, turn: Pick<TurnSummary, "startedMs" | "observed" | "desired" | "keeps" | "source">): void {
    const { emit } = this.#parts;
    const endedMs = this.#nowMs;
    for (const exit of planned.newExits) emit({ kind: "exited", atMs: endedMs, exit });
    for (const { service, revision } of planned.newReleases)
      emit({ kind: "settled", atMs: endedMs, service, revision });
    emit({
      kind: "turn",
      atMs: endedMs,
      turn: {
        ...turn,
        endedMs,
        services: planned.services,
        notes: planned.notes,
        secrets: this.#parts.secrets.trouble,
        pausedBy: this.#memory.pauses["*"]?.uid,
        generations: this.#memory.generations,
        awaited: this.#listAwaited(),
      },
    });
  }

  #listAwaited(): AwaitedBackup[] {
    if (this.#world === undefined) return [];
    const { desired, wanted } = this.#world;
    return listAwaited(this.#memory, [...desired.services.values(), ...wanted.values()]);
  }

  /** Nothing was ever read here: nothing can be wanted, and nothing is touched. */
  #reportNothing(startedMs: number, { source }: BuiltState): number {
    const { emit } = this.#parts;
    const notes = this.#engine.reachable ? [] : [noteSilentEngine(this.#engine.reason)];
    const observed: ObservedState = {
      engine: this.#engine,
      operations: [],
      outcomes: [],
      health: new Map(),
      endpoints: new Map(),
      files: new Map(),
      hosts: undefined,
      host: { dataMounted: undefined, obstacles: new Map() },
      fronts: new Map(),
    };
    const endedMs = this.#nowMs;
    const turn = { startedMs, endedMs, desired: undefined, observed, services: [], notes, source, pausedBy: undefined };
    emit({ kind: "turn", atMs: endedMs, turn });
    return TURN_DEADLINE_MS;
  }

  #nextDelayMs(planned: Plan, built: BuiltState): number {
    if (this.#parts.builder.needsAnotherTurn) return 0;
    const nowMs = this.#nowMs;
    const waits = [planned.nextMs, built.source.retryMs, built.nextMs].flatMap((at) =>
      at === undefined ? [] : [at - nowMs],
    );
    if (!this.#engine.reachable) waits.push(TURN_DEADLINE_MS);
    return Math.max(0, Math.min(RESYNC_MS, ...waits));
  }
}
