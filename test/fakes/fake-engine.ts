// An engine in memory that stands beside the real one and passes the same contract suite (test/contract). It plays a few
// programs (sleep, sh -c "exit N", echo), and images whose behaviour a test sets. Time is the test's clock.

import type { DockerExec, DockerReader, EngineEvent, NetworkRow, WatchOptions } from "../../agent/docker/reader.ts";
import { mapGenerations } from "../../agent/docker/mapping.ts";
import { EngineError } from "../../agent/docker/reader.ts";
import type { CreateRequest, DockerWriter, PullOptions } from "../../agent/docker/writer.ts";
import type { Clock } from "../../agent/host/os/clock.ts";
import { LABEL, type OwnContainerId, sha256 } from "../../shared/state/identity.ts";
import {
  buildContainer,
  buildNetwork,
  giveVolumes,
  buildRequested,
  buildRow,
  inspect,
  findClash,
  type FakeContainer,
  type ForeignParts,
  type ImageBehaviour,
  LIVE,
  parsePorts,
  readMounts,
  readProgram,
  refuseName,
} from "./fake-container.ts";
import { FakeHost } from "./fake-host.ts";

/** One call that changed something, in order. */
export interface MutatingCall {
  call: keyof DockerWriter;
  subject: string;
}

const NEVER = new Promise<never>(() => undefined);

/** A Docker engine in memory. */
export class FakeEngine {
  readonly clock: Clock;
  readonly containers = new Map<string, FakeContainer>();
  readonly networks = new Map<string, NetworkRow>();
  readonly volumes = new Map<string, Record<string, string>>();
  /** Volumes that lead elsewhere, as `docker volume create -o device=…` makes them. */
  readonly leading = new Map<string, string>();
  /** Images on this host → behaviour. */
  readonly images = new Map<string, ImageBehaviour>();
  /** Images a pull can bring → behaviour, or the message the pull fails with. */
  readonly registry = new Map<string, ImageBehaviour | string>();
  readonly calls: MutatingCall[] = [];
  /** How many times the engine was asked, by call. */
  readonly reads = new Map<string, number>();
  /** Milliseconds each writing call takes, where a test sets any. */
  readonly latencyMs: Partial<Record<keyof DockerWriter, number>> = {};
  readonly host = new FakeHost();
  /** Milliseconds between what a writing call has done and its answer, where a test sets any. */
  readonly answersAfterMs: Partial<Record<keyof DockerWriter, number>> = {};
  /** So late events come: on another connection than answers, they may be behind them. */
  eventsAfterMs = 0;
  /** Says of which requests no container is ever healthy, and with what its process has read it never is. */
  rejects: (request: CreateRequest) => boolean = () => false;
  refuses: (seen: FakeContainer["seen"]) => boolean = () => false;
  reachable = true;
  goingDown = false;
  /** So long after its end a container is still listed as running, and no inspection of it is answered. */
  tearDownMs = 0;
  readonly #ending = new Map<string, Promise<void>>();
  /** Freezes the engine before its n-th writing call from now: nothing that comes after it ever answers. */
  dieBeforeCall: number | undefined;
  dead = false;
  #watchers = new Set<WatchOptions & { end: () => void }>();
  #ids = 0;
  #addresses = 1;

  constructor(clock: Clock) {
    this.clock = clock;
    this.#restartBridge();
  }

  readonly reader: DockerReader = {
    info: () =>
      this.#read("info", () => ({
        id: "FAKE",
        version: "20.10.24",
        cgroupVersion: "1" as const,
        rootDir: "/var/lib/docker",
      })),
    accepts: async () => this.reachable && !this.goingDown,
    listContainers: () =>
      this.#read("listContainers", () =>
        [...this.containers.values()].map((entry) =>
          this.#ending.has(entry.id) ? { ...buildRow(entry), status: "running" } : buildRow(entry),
        ),
      ),
    inspectContainer: (id) =>
      this.#read("inspectContainer", async () => {
        await this.#ending.get(id);
        return inspect(this.find(id));
      }),
    listNetworks: () => this.#read("listNetworks", () => [...this.networks.values()]),
    inspectVolume: (name) =>
      this.#read("inspectVolume", () => {
        const labels = this.volumes.get(name);
        return labels && { labels, leadsTo: this.leading.get(name) };
      }),
    findImage: (reference) =>
      this.#read("findImage", () => (this.images.has(reference) ? sha256(reference) : undefined)),
    listGenerations: (node) =>
      this.#read("listGenerations", () =>
        mapGenerations(
          [...this.volumes].flatMap(([Name, Labels]) => (Labels["orca.node"] === node ? [{ Name, Labels }] : [])),
        ),
      ),
    listImageVolumes: (reference) => this.#read("listImageVolumes", () => this.images.get(reference)?.volumes),
    readFile: (id, path) =>
      this.#read("readFile", () => {
        const content = this.images.get(this.find(id)?.image ?? "")?.files?.[path];
        return content === undefined ? undefined : Buffer.from(content);
      }),
    tailLogs: (id, lines) => this.#read("tailLogs", () => this.#require(id).logs.slice(-lines)),
    followLogs: (id, options) =>
      this.#read("followLogs", async () => {
        for (const line of this.#require(id).logs.slice(-options.tail))
          await options.onChunk(Buffer.from(`${line}\n`), "stdout");
      }),
    watchEvents: (options) => this.#watch(options),
  };

  readonly writer: DockerWriter = {
    pullImage: (reference, options) =>
      Promise.race([
        this.#write("pullImage", reference, () => this.#pull(reference, options)),
        new Promise<never>((_resolve, reject) =>
          options.signal.addEventListener("abort", () => reject(new EngineError("pull image: cancelled", 499)), {
            once: true,
          }),
        ),
      ]),
    createContainer: (request) => this.#write("createContainer", request.name, () => this.#create(request)),
    startContainer: (id) => this.#write("startContainer", id, () => this.#start(this.#require(id))),
    unpauseContainer: (id) => this.#write("unpauseContainer", id, () => void (this.#require(id).status = "running")),
    renameContainer: (id, name) =>
      this.#write("renameContainer", id, () => {
        refuseName(this.find(name), id);
        this.#require(id).name = name;
      }),
    stopContainer: (id, timeoutMs) => this.#write("stopContainer", id, () => this.#stop(id, timeoutMs)),
    signalContainer: (id, signal) => this.#write("signalContainer", `${id} ${signal}`, () => this.#signal(id, signal)),
    removeContainer: (id) =>
      this.#write("removeContainer", id, () => {
        this.host.checkLeftOver(id, "remove");
        this.remove(id);
      }),
    updateCaps: (id, caps) =>
      this.#write("updateCaps", id, () => {
        this.#require(id).detail.caps = { ...caps };
        this.#require(id).detail.restartPolicy = "no";
        this.#emit("update", this.#require(id));
      }),
    createNetwork: (request) =>
      this.#write("createNetwork", request.name, () => {
        const row = buildNetwork(this.#nextId("net"), request);
        if (!this.networks.has(row.name)) this.networks.set(row.name, row);
      }),
    connectNetwork: (network, id) =>
      this.#write("connectNetwork", `${network} ${id}`, () => this.#connect(this.#require(id), network)),
    removeNetwork: (name) => this.#write("removeNetwork", name, () => void this.networks.delete(name)),
    createVolume: (request) =>
      this.#write("createVolume", request.name, () => {
        const kind = request.ephemeral === undefined ? {} : { [LABEL.ephemeral]: request.ephemeral };
        const labels = { [LABEL.node]: request.node, [LABEL.service]: request.service, ...kind };
        if (!this.volumes.has(request.name)) this.volumes.set(request.name, labels);
      }),
  };

  readonly exec: DockerExec = {
    run: (container, command) =>
      this.#read("exec", () => {
        if (this.find(container)?.status !== "running")
          throw new EngineError("run in container: it is not running", 409);
        const exit = /^exit (\d+)$/.exec(command.at(-1) ?? "");
        const output = command[0]?.endsWith("echo") === true ? `${command.slice(1).join(" ")}\n` : "";
        return { exitCode: exit === null ? 0 : Number(exit[1]), output };
      }),
    open: () => Promise.reject(new EngineError("open in container: the fake has no terminal", 501)),
  };

  /** A container by id or name. */
  find(idOrName: string): FakeContainer | undefined {
    return this.containers.get(idOrName) ?? [...this.containers.values()].find((entry) => entry.name === idOrName);
  }

  /** The containers of one service. */
  of(service: string): FakeContainer[] {
    return [...this.containers.values()].filter((entry) => entry.labels[LABEL.service] === service);
  }

  /** The one running container of a service. */
  running(service: string): FakeContainer | undefined {
    return this.of(service).find((entry) => entry.status === "running");
  }

  /** True when the container would answer a health probe now. */
  isHealthy(id: string): boolean {
    const container = this.containers.get(id);
    if (container?.status !== "running") return false;
    if (container.request !== undefined && this.rejects(container.request)) return false;
    if (this.refuses(container.seen)) return false;
    const behaviour = this.images.get(container.image) ?? {};
    return this.clock.monotonicMs() - container.beganMs >= (behaviour.healthyAfterMs ?? 0);
  }

  /** A process ends by itself, or is killed by someone. */
  end(container: FakeContainer, exitCode: number, how: { oom?: boolean; byHand?: "9" | "15" } = {}): void {
    if (!LIVE.has(container.status)) return;
    if (how.byHand !== undefined) this.#emit("kill", container, { signal: how.byHand });
    if (how.oom === true) this.#emit("oom", container);
    container.status = "exited";
    const ended = { exitCode, finishedMs: this.clock.nowMs(), oomKilled: how.oom === true, pid: 0 };
    Object.assign(container.detail, ended);
    for (const network of container.networks.keys()) container.networks.set(network, "");
    this.#emit("die", container, { exitCode: String(exitCode) });
    if (this.tearDownMs > 0) this.#tearDown(container.id);
  }

  #tearDown(id: string): void {
    const over = new Promise<void>((resolve) => this.clock.after(this.tearDownMs, resolve));
    this.#ending.set(
      id,
      over.then(() => void this.#ending.delete(id)),
    );
  }

  /** Removes a container as `docker rm -f` does. */
  remove(id: string): void {
    const container = this.find(id);
    if (container === undefined) return;
    this.end(container, 137);
    this.containers.delete(container.id);
    this.#emit("destroy", container);
  }

  /** A container that someone else made. */
  addForeign(name: string, options: ForeignParts = {}): FakeContainer {
    const { image = "other:1", labels = {}, ports } = options;
    const container = buildContainer(this.#nextId("container"), { name, image, labels });
    Object.assign(container, { status: "running", ports: parsePorts(ports) });
    this.containers.set(container.id, container);
    return container;
  }

  /** Someone changes a container by hand, and the engine says so. */
  touch(container: FakeContainer, action: string, change: (container: FakeContainer) => void): void {
    change(container);
    this.#emit(action, container);
  }

  /** The engine goes down with everything in it, and stays down until `comeBack`. */
  goDown(): void {
    this.reachable = false;
    for (const container of this.containers.values()) {
      if (!LIVE.has(container.status)) continue;
      container.status = "exited";
      container.detail.exitCode = 137;
      container.detail.finishedMs = this.clock.nowMs();
    }
    for (const watcher of this.#watchers) watcher.end();
  }

  /** The engine is back; its default bridge is a new one. */
  comeBack(): void {
    this.reachable = true;
    this.goingDown = false;
    this.#restartBridge();
  }

  /** Ends every event stream, as a broken connection does. */
  breakEvents(): void {
    for (const watcher of this.#watchers) watcher.end();
  }

  #restartBridge(): void {
    const bridge = { name: "bridge", labels: {}, internal: false, subnets: ["172.17.0.0/16"] };
    this.networks.set("bridge", { id: this.#nextId("bridge"), createdMs: this.clock.nowMs(), ...bridge });
  }

  #nextId(kind: string): string {
    this.#ids += 1;
    return sha256(`${kind}${this.#ids}`);
  }

  async #read<T>(call: string, work: () => T | Promise<T>): Promise<T> {
    this.reads.set(call, (this.reads.get(call) ?? 0) + 1);
    if (this.dead) return NEVER;
    if (!this.reachable) throw new EngineError(`${call}: connect ENOENT`, undefined);
    return work();
  }

  async #write<T>(call: keyof DockerWriter, subject: string, work: () => T | Promise<T>): Promise<T> {
    if (this.dieBeforeCall !== undefined && (this.dieBeforeCall -= 1) <= 0) this.dead = true;
    if (this.dead) return NEVER;
    const latencyMs = this.latencyMs[call] ?? 0;
    if (latencyMs > 0) await new Promise<void>((resolve) => this.clock.after(latencyMs, resolve));
    if (this.dead) return NEVER;
    if (!this.reachable) throw new EngineError(`${call}: connect ENOENT`, undefined);
    this.calls.push({ call, subject });
    const result = await work();
    const lateMs = this.answersAfterMs[call] ?? 0;
    if (lateMs > 0) await new Promise<void>((resolve) => this.clock.after(lateMs, resolve));
    if (this.dead) return NEVER;
    return result;
  }

  #require(id: string): FakeContainer {
    const container = this.find(id);
    if (container === undefined) throw new EngineError(`No such container: ${id}`, 404);
    return container;
  }

  #pull(reference: string, options: PullOptions): void {
    if (options.signal.aborted) throw new EngineError("pull image: cancelled", 499);
    const found = this.registry.get(reference);
    if (found === undefined)
      throw new EngineError(`pull image: manifest for ${reference} not found: manifest unknown`, 404);
    if (typeof found === "string") throw new EngineError(`pull image: ${found}`, 500);
    options.onProgress({ doneBytes: 1, totalBytes: 1, layers: 1 });
    this.images.set(reference, found);
  }

  #create(request: CreateRequest): OwnContainerId {
    refuseName(this.find(request.name));
    this.host.checkSources(request.spec);
    if (!this.images.has(request.spec.image)) throw new EngineError(`No such image: ${request.spec.image}`, 404);
    const container = buildRequested(this.#nextId("container"), request);
    container.detail.user = request.spec.user ?? this.images.get(request.spec.image)?.user ?? "";
    for (const name of giveVolumes(container, request, this.images, this.#nextId("volume")))
      if (!this.volumes.has(name)) this.volumes.set(name, {});
    this.containers.set(container.id, container);
    this.#emit("create", container);
    return container.id as OwnContainerId;
  }

  #start(container: FakeContainer): void {
    if (container.status === "running") return;
    const behaviour = this.images.get(container.image) ?? {};
    if (behaviour.startFails !== undefined)
      throw new EngineError(`start container: ${behaviour.startFails}`, behaviour.startStatus ?? 400);
    this.host.checkLeftOver(container.id, "start");
    this.host.checkSources(container.request?.spec);
    this.host.checkPorts(container.ports);
    const clash = findClash(container, this.containers.values());
    if (clash !== undefined)
      throw new EngineError(`start container: Bind for ${clash} failed: port is already allocated`, 500);
    container.status = "running";
    container.run += 1;
    container.beganMs = this.clock.monotonicMs();
    this.#readMounts(container);
    Object.assign(container.detail, {
      startedMs: this.clock.nowMs(),
      exitCode: undefined,
      oomKilled: false,
      pid: 4_000_000 + this.#ids,
    });
    for (const network of container.networks.keys()) this.#connect(container, network);
    container.logs.push(...(behaviour.logs ?? []));
    this.#emit("start", container);
    this.#playProgram(container, behaviour);
  }

  /** Plays what the container runs. */
  #playProgram(container: FakeContainer, behaviour: ImageBehaviour): void {
    const { prints, endsAfterMs, exitCode } = readProgram(container, behaviour);
    container.logs.push(...prints);
    if (endsAfterMs === undefined) return;
    const { run } = container;
    this.clock.after(endsAfterMs, () => {
      if (container.run === run) this.end(container, exitCode);
    });
  }

  async #stop(id: string, askedMs: number | undefined): Promise<void> {
    const container = this.find(id);
    // A paused container is resumed by the signal, as the engine does it.
    if (container === undefined || !LIVE.has(container.status)) return;
    this.#emit("kill", container, { signal: "15" });
    const ignores = this.images.get(container.image)?.ignoresStop === true;
    const timeoutMs = askedMs ?? container.request?.stopTimeoutMs ?? 10_000;
    if (ignores && timeoutMs > 0) await new Promise<void>((resolve) => this.clock.after(timeoutMs, resolve));
    this.end(container, ignores ? 137 : 0);
    this.#emit("stop", container);
  }

  #signal(id: string, signal: string): void {
    const container = this.#require(id);
    if (container.status !== "running") throw new EngineError(`Container ${id} is not running`, 409);
    this.#emit("kill", container, { signal });
    if (signal === "SIGKILL") this.end(container, 137);
    if (signal === "SIGHUP") this.#readMounts(container);
  }

  #readMounts(container: FakeContainer): void {
    container.seen = readMounts(container);
    container.seenMs = this.clock.monotonicMs();
  }

  #connect(container: FakeContainer, network: string): void {
    if (!this.networks.has(network)) throw new EngineError(`network ${network} not found`, 404);
    this.#addresses += 1;
    container.networks.set(network, container.status === "running" ? `172.30.0.${this.#addresses}` : "");
    this.#emit("connect", container);
  }

  #emit(action: string, container: FakeContainer, attributes: Record<string, string> = {}): void {
    if (!this.reachable || this.dead) return;
    const type = action === "connect" || action === "disconnect" ? "network" : "container";
    const labels = { ...container.labels, ...attributes };
    const event: EngineEvent = { type, action, id: container.id, labels, atMs: this.clock.nowMs() };
    for (const watcher of this.#watchers) {
      if (this.eventsAfterMs === 0) watcher.onEvent(event);
      else this.clock.after(this.eventsAfterMs, () => watcher.onEvent(event));
    }
  }

  async #watch(options: WatchOptions): Promise<void> {
    if (this.dead) return NEVER;
    if (!this.reachable) throw new EngineError("watchEvents: connect ENOENT", undefined);
    await new Promise<void>((resolve) => {
      const watcher = { ...options, end: () => (this.#watchers.delete(watcher), resolve()) };
      this.#watchers.add(watcher);
      options.signal.addEventListener("abort", watcher.end, { once: true });
      options.onOpen();
    });
  }
}
