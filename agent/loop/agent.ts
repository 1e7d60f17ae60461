// Builds one agent from the parts of its loop, and runs the loop. What stands around it (configuration, report, gossip, signals) is
// put together in daemon/daemon.ts, the composition root.

import { type BindLook, HOST_BINDS } from "../host/os/bind-look.ts";
import { Executor } from "../apply/executor.ts";
import { FrontControl, type FrontPort } from "../apply/front-control.ts";
import type { Tools } from "../apply/handlers.ts";
import { ImageLookup } from "../apply/image-lookup.ts";
import { SecretDelivery } from "../apply/secret-delivery.ts";
import { ColdStarts } from "./cold-starts.ts";
import { DesiredBuilder } from "./desired-builder.ts";
import { judgeAddress } from "../desired/policy/policy-endpoints.ts";
import type { DesiredSettings } from "../desired/build/desired-settings.ts";
import type { Engine } from "../docker/engine.ts";
import type { DockerReader } from "../docker/reader.ts";
import { Monitor, type MonitorOptions } from "../health/monitor.ts";
import type { Clock } from "../host/os/clock.ts";
import { readBootId } from "../host/files/host-facts.ts";
import { openObstacleProbe, type ObstacleProbe } from "../host/os/host-obstacles.ts";
import { FileStore } from "../host/files/file-store.ts";
import { createAuthFinder } from "../docker/registry-auth.ts";
import { Store } from "../host/store/store.ts";
import { Observer } from "../observed/observer.ts";
import { fixPeers, type PeerPort } from "../gossip/peer-port.ts";
import type { PeerHealth, PlanSettings } from "../plan/world.ts";
import { Reconciler } from "./reconciler.ts";
import type { Request } from "../../shared/state/request.ts";
import { SecretKeeper } from "../secrets/keeper/keeper.ts";
import type { AgentSecrets } from "../secrets/open-secrets.ts";
import { redactExec, redactReader } from "../secrets/redacted-engine.ts";
import { TriggerQueue } from "./trigger-queue.ts";
import type { BackupFacts } from "../../shared/state/backup.ts";
import type { Emit } from "../../shared/state/event.ts";
import type { OwnContainerId } from "../../shared/state/identity.ts";
import type { PlanPreview } from "../../shared/document/plan-preview.ts";
import { Redactor } from "../../shared/secret/redactor.ts";
import type { Source } from "../../shared/state/snapshot.ts";
import type { BrokenPromises } from "../../shared/state/promise.ts";
import type { Policy } from "../../shared/policy/policy.ts";

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
  /** What is known of other nodes: a fixed answer, or the gossip. */
  peers: PeerHealth | PeerPort;
  /** Where secrets come from, and what seals them; undefined without a provider. */
  secrets: AgentSecrets;
  /** Files with registry credentials in Docker's form; the first that knows a registry is used. */
  authFiles: readonly string[];
  clock: Clock;
  emit: Emit;
  /** Only for tests that hold the probes in their hand. */
  probes?: Pick<MonitorOptions, "probe" | "probeUrl">;
  bootId?: string;
  /** What says where bind mounts lead; the host's own word unless a test lends another. */
  binds?: BindLook;
  /** Only for tests that play the host's ports and paths. */
  obstacles?: ObstacleProbe;
  /** Only for tests that play the fronts. */
  fronts?: FrontPort;
}

/** While operations are in flight, turns take at most this share of the time: the engine needs the rest. */
const BUSY_SHARE = 0.2;
const LONGEST_GATHER_MS = 40;
/** Where what is ready waits for a start slot, only what frees one leads to more, and that is urgent: the rest comes together. */
const CROWDED_GATHER_MS = 200;

/** How long the loop rests after a turn that failed in a way nothing else catches. */
const FAILED_TURN_MS = 1_000;

/** Everything that holds secrets or takes them out of text. */
function buildSecrets({ secrets, clock, engine, runDir }: AgentOptions, onChange: () => void) {
  const redactor = new Redactor();
  const keeper = new SecretKeeper({ ...secrets, clock, redactor, onChange });
  return {
    redactor,
    keeper,
    delivery: new SecretDelivery({ runDir, find: (path, version) => keeper.find(path, version) }),
    // What containers print is shown to people who may not see their secrets.
    reader: redactReader(engine.reader, redactor, clock),
    exec: redactExec(engine.exec, redactor),
  };
}

/** One agent: begins with `start`, ends with `stop`, and leaves every container as it is. */
export class Agent {
  readonly store: Store;
  readonly files: FileStore;
  readonly secrets: SecretKeeper;
  readonly delivery: SecretDelivery;
  /** The engine's reader without secrets in what containers print: for everybody who shows it. */
  readonly reader: DockerReader;
  readonly #options: AgentOptions;
  readonly #queue: TriggerQueue;
  readonly #observer: Observer;
  readonly #executor: Executor;
  readonly #monitor: Monitor;
  readonly #builder: DesiredBuilder;
  readonly #reconciler: Reconciler;
  readonly #peers: PeerPort;
  readonly #redactor: Redactor;
  readonly coldStarts: ColdStarts;
  #policy: Policy | undefined;
  readonly #judgeAddress = (url: string, address: string): string | undefined =>
    judgeAddress(url, address, this.#policy ?? this.#options.settings.policy);
  #stopping = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: AgentOptions) {
    const { node, clock, emit, source, bootId = readBootId() } = options;
    this.#options = options;
    this.#queue = new TriggerQueue(clock);
    this.store = Store.open(options.stateDir, clock.nowMs());
    this.files = new FileStore(options.stateDir);
    const fronts = options.fronts ?? new FrontControl(options.stateDir, clock);
    const secrets = buildSecrets(options, () => this.#queue.fire("secrets"));
    this.secrets = secrets.keeper;
    this.delivery = secrets.delivery;
    const { reader, exec } = secrets;
    this.reader = reader;
    this.#redactor = secrets.redactor;
    const onChange = (urgent: boolean): void => this.#queue.fire("operation", urgent);
    const onStarted = async (service: string, id: OwnContainerId): Promise<void> => {
      const container = await this.#observer.look(service, id);
      if (container !== undefined) this.#reconciler.startProbing(container);
    };
    const tools = buildTools(options, this.files, fronts, secrets);
    this.#executor = new Executor(tools, { clock, emit, onChange, onStarted });
    this.#observer = new Observer({
      node,
      clock,
      reader,
      bootId,
      isBusy: (service, container) => this.#executor.isBusy(service, container),
      onChange: (urgent) => this.#queue.fire("engine", urgent),
    });
    this.#monitor = this.#openMonitor(exec);
    this.#peers = "kind" in options.peers ? fixPeers(options.peers) : options.peers;
    const memory = this.store.loadColdStarts();
    this.coldStarts = new ColdStarts({ node, clock, bootId, emit, memory, peers: this.#peers });
    this.#builder = new DesiredBuilder({
      source,
      settings: options.settings,
      clock,
      inForce: this.store.loadInForce(),
      contents: this.store.loadContents(),
      secrets: this.secrets,
    });
    this.#reconciler = new Reconciler({
      builder: this.#builder,
      observer: this.#observer,
      executor: this.#executor,
      monitor: this.#monitor,
      files: this.files,
      obstacles: options.obstacles ?? openObstacleProbe(),
      fronts,
      store: this.store,
      clock,
      bootId,
      emit,
      peers: this.#peers,
      coldStarts: this.coldStarts,
      settings: options.planSettings,
      secrets: this.secrets,
      delivery: this.delivery,
    });
  }

  #openMonitor(exec: MonitorOptions["exec"]): Monitor {
    const { clock, probes } = this.#options;
    return new Monitor({
      clock,
      exec,
      onChange: () => this.#queue.fire("health", true),
      judgeAddress: this.#judgeAddress,
      ...probes,
    });
  }

  /** Begins to watch and to turn. */
  async start(): Promise<void> {
    const { clock, emit } = this.#options;
    const { troubles } = this.store;
    if (troubles.length > 0) emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: troubles.join("; ") });
    await this.files.load();
    await this.delivery.load();
    await this.secrets.start();
    await this.#options.source.watch(() => this.#queue.fire("source"));
    this.#peers.watch(
      () => this.#queue.fire("peers", true),
      () => this.lookAtSource(),
      (changed) => this.coldStarts.hear(changed),
    );
    this.#observer.start();
    this.#queue.fire("start");
    this.#loop = this.#run();
  }

  /** A secret that the agent itself works with, by its path: its value, or why there is none. */
  readSecret(path: string): { value: string } | { reason: string } {
    const fact = this.secrets.facts.look(path);
    if (fact === undefined) return { reason: "the provider was not asked for it yet" };
    if (fact.kind !== "value" && fact.kind !== "cached")
      return { reason: fact.kind === "pending" ? "the provider is being asked for it" : fact.reason };
    const secret = this.secrets.find(path, fact.version);
    return secret === undefined ? { reason: "its value is not at hand" } : { value: secret.expose() };
  }

  /** A text without values of secrets, for what is recorded. */
  redact(text: string): string {
    return this.#redactor.redact(text);
  }

  /** True while it pulls, starts or ends anything. */
  get isBusy(): boolean {
    return !this.#executor.isIdle;
  }

  /** Takes what a person asked for. */
  request(request: Request): void {
    this.#reconciler.request(request);
    this.#queue.fire("request", true);
  }

  /** True while the host's policy allows ephemeral volumes. */
  get allowsEphemeral(): boolean {
    return (this.#policy ?? this.#options.settings.policy).volumes.allow_ephemeral;
  }

  /** Why the host's policy refuses a kept release now; undefined where it may run. */
  judgeRelease(service: string, fingerprint: string): Promise<string | undefined> {
    return this.#reconciler.judgeRelease(service, fingerprint);
  }

  /** Takes what is known of backups that changes wait for. */
  learnBackups(facts: BackupFacts): void {
    this.#reconciler.learnBackups(facts);
    this.#queue.fire("backups", true);
  }

  /** Takes which promises are broken. */
  learnPromises(broken: BrokenPromises): void {
    this.#reconciler.learnPromises(broken);
    this.#queue.fire("promises");
  }

  /** What the loop would do now. */
  async preview(): Promise<PlanPreview> {
    const preview = this.#reconciler.preview();
    if (preview === undefined) throw new Error("nothing was read yet");
    return preview;
  }

  /** The last turns that planned something, as JSON without values of secrets: what plan() was given and what it answered. */
  printWorlds(): string {
    return this.redact(this.#reconciler.printWorlds());
  }

  /** Asks the source at once, as after a push or a peer's hint: it wakes the loop once it was read. Many calls in a row make few readings. */
  lookAtSource(): void {
    this.#builder.invalidate();
  }

  /** Reads the source again, with new settings where the host's files have changed. */
  reload(settings: DesiredSettings): void {
    this.#policy = settings.policy;
    this.#builder.configure(settings);
    this.#builder.invalidate();
    this.secrets.refresh();
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
    this.#reconciler.keepRequests();
    this.#monitor.close();
    await Promise.all([this.#executor.close(), this.#observer.close(), source.close(), this.secrets.close()]);
    await this.#peers.close();
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
      const isCrowded = this.#reconciler.isCrowded && !this.#executor.isIdle;
      const shareMs = this.#executor.isIdle ? 0 : Math.min(LONGEST_GATHER_MS, tookMs / BUSY_SHARE);
      gatherMs = isCrowded ? CROWDED_GATHER_MS : shareMs;
      // What is due then comes together, too.
      if (isCrowded && delayMs > 0) delayMs = Math.max(delayMs, CROWDED_GATHER_MS);
    }
  }
}

/** What the executor's handlers work with. */
function buildTools(
  options: AgentOptions,
  files: FileStore,
  fronts: FrontPort,
  secrets: ReturnType<typeof buildSecrets>,
): Tools {
  const { node, engine, clock } = options;
  return {
    node,
    ...engine,
    exec: secrets.exec,
    files,
    images: new ImageLookup(engine.reader, clock),
    fronts,
    secrets: secrets.delivery,
    binds: options.binds ?? HOST_BINDS,
    redact: (text) => secrets.redactor.redact(text),
    findAuth: createAuthFinder(options.authFiles),
  };
}
