// The composition root: builds one agent from its parts and runs its loop. The only place that knows every part.

import { Executor } from "./apply/executor.ts";
import { FrontControl, type FrontPort } from "./apply/front-control.ts";
import type { Tools } from "./apply/handlers.ts";
import { ImageLookup } from "./apply/image-lookup.ts";
import { SecretDelivery, type SecretProvider } from "./apply/secret-delivery.ts";
import { DesiredBuilder } from "./desired-builder.ts";
import type { DesiredSettings } from "./desired/settings.ts";
import type { Engine } from "./docker/engine.ts";
import { Monitor, type MonitorOptions } from "./health/monitor.ts";
import type { Clock } from "./host/clock.ts";
import { readBootId } from "./host/facts.ts";
import { FileStore } from "./host/file-store.ts";
import { createAuthFinder } from "./host/registry-auth.ts";
import { Store } from "./host/store.ts";
import { Observer } from "./observed/observer.ts";
import type { PeerHealth, PlanSettings } from "./plan/world.ts";
import { Reconciler } from "./reconciler.ts";
import type { Request } from "./requests.ts";
import { TriggerQueue } from "./trigger-queue.ts";
import type { Emit } from "../shared/event.ts";
import type { PlanPreview } from "../shared/plan-preview.ts";
import type { Source } from "../shared/snapshot.ts";

/** Everything one agent is made from. */
export interface AgentOptions {
  node: string;
  engine: Pick<Engine, "reader" | "writer" | "exec">;
  source: Source;
  stateDir: string;
  /** A directory in memory for delivered secrets. */
  runDir: string;
  settings: DesiredSettings;
  planSettings: PlanSettings;
  peers: PeerHealth;
  secrets: SecretProvider | undefined;
  /** Files with registry credentials in Docker's form; the first that knows a registry is used. */
  authFiles: readonly string[];
  clock: Clock;
  emit: Emit;
  /** Only for tests that hold the probes in their hand. */
  probes?: Pick<MonitorOptions, "probe" | "probeUrl">;
  bootId?: string;
  /** Only for tests that play the fronts. */
  fronts?: FrontPort;
}

/** While operations are in flight, turns take at most this share of the time: the engine needs the rest. */
const BUSY_SHARE = 0.2;
const LONGEST_GATHER_MS = 40;

/** How long the loop rests after a turn that failed in a way nothing else catches. */
const FAILED_TURN_MS = 1_000;

/** One agent: begins with `start`, ends with `stop`, and leaves every container as it is. */
export class Agent {
  readonly store: Store;
  readonly files: FileStore;
  readonly #options: AgentOptions;
  readonly #queue: TriggerQueue;
  readonly #observer: Observer;
  readonly #executor: Executor;
  readonly #monitor: Monitor;
  readonly #builder: DesiredBuilder;
  readonly #reconciler: Reconciler;
  #stopping = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: AgentOptions) {
    const { node, engine, clock, emit, source } = options;
    this.#options = options;
    this.#queue = new TriggerQueue(clock);
    this.store = Store.open(options.stateDir, clock.nowMs());
    this.files = new FileStore(options.stateDir);
    const fronts = options.fronts ?? new FrontControl(options.stateDir, clock);
    const tools = buildTools(options, this.files, fronts);
    this.#executor = new Executor(tools, {
      clock,
      emit,
      onChange: () => this.#queue.fire("operation"),
      onStarted: async (service, id) => {
        const container = await this.#observer.look(service, id);
        if (container !== undefined) this.#reconciler.greet(container);
      },
    });
    this.#observer = new Observer({
      node,
      clock,
      reader: engine.reader,
      bootId: options.bootId ?? readBootId(),
      isBusy: (service, container) => this.#executor.isBusy(service, container),
      onChange: (urgent) => this.#queue.fire("engine", urgent),
    });
    this.#monitor = new Monitor({
      clock,
      exec: engine.exec,
      onChange: () => this.#queue.fire("health", true),
      ...options.probes,
    });
    const { settings } = options;
    this.#builder = new DesiredBuilder({
      source,
      settings,
      clock,
      inForce: this.store.loadInForce(),
      contents: this.store.loadContents(),
    });
    this.#reconciler = new Reconciler({
      builder: this.#builder,
      observer: this.#observer,
      executor: this.#executor,
      monitor: this.#monitor,
      files: this.files,
      fronts,
      store: this.store,
      clock,
      emit,
      peers: options.peers,
      settings: options.planSettings,
    });
  }

  /** Begins to watch and to turn. */
  async start(): Promise<void> {
    const { clock, emit } = this.#options;
    const { trouble } = this.store;
    if (trouble !== undefined) emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: trouble });
    await this.files.load();
    await this.#options.source.watch(() => this.#queue.fire("source"));
    this.#observer.start();
    this.#queue.fire("start");
    this.#loop = this.#run();
  }

  /** Takes what a person asked for. */
  request(request: Request): void {
    this.#reconciler.request(request);
    this.#queue.fire("request", true);
  }

  /** What the loop would do now. */
  async preview(): Promise<PlanPreview> {
    const preview = this.#reconciler.preview();
    if (preview === undefined) throw new Error("nothing was read yet");
    return preview;
  }

  /** Asks the source at once, as after a push; many calls in a row make few readings. */
  lookAtSource(): void {
    this.#builder.invalidate();
    this.#queue.fire("source");
  }

  /** Reads the source again, with new settings where the host's files have changed. */
  reload(settings: DesiredSettings): void {
    this.#builder.configure(settings);
    this.#builder.invalidate();
    this.#queue.fire("reload");
  }

  /** Ends the loop. What is in flight at the engine goes on there; containers stay as they are. */
  async stop(reason: string): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    const { clock, emit, source } = this.#options;
    emit({ kind: "agent-stopping", atMs: clock.nowMs(), reason });
    this.#queue.fire("request", true);
    await this.#loop;
    this.#monitor.close();
    await Promise.all([this.#executor.close(), this.#observer.close(), source.close()]);
    this.store.close();
  }

  async #run(): Promise<void> {
    const { clock, emit } = this.#options;
    let [delayMs, gatherMs] = [0, 0];
    for (;;) {
      await this.#queue.next({ delayMs, gatherMs });
      if (this.#stopping) return;
      const startedMs = clock.monotonicMs();
      try {
        delayMs = await this.#reconciler.turn();
      } catch (error) {
        // No turn may end the agent: the next one begins from what is really there.
        delayMs = FAILED_TURN_MS;
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        emit({ kind: "turn-failed", atMs: clock.nowMs(), message, nextMs: clock.nowMs() + delayMs });
      }
      const tookMs = clock.monotonicMs() - startedMs;
      gatherMs = this.#executor.isIdle ? 0 : Math.min(LONGEST_GATHER_MS, tookMs / BUSY_SHARE);
    }
  }
}

/** What the executor's handlers work with. */
function buildTools(options: AgentOptions, files: FileStore, fronts: FrontPort): Tools {
  const { node, engine, clock } = options;
  return {
    node,
    ...engine,
    files,
    images: new ImageLookup(engine.reader, clock),
    fronts,
    secrets: new SecretDelivery(options.secrets, options.runDir),
    findAuth: createAuthFinder(options.authFiles),
  };
}
