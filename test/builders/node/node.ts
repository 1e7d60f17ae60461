// One whole agent on a fake engine with a fake clock: for scenario tests. The state directory and its SQLite file are real.

import { mkdtempSync, rmSync } from "node:fs";
import { describeTrouble } from "../../../shared/text/words/hold-words.ts";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Agent } from "../../../agent/loop/agent.ts";
import { type BindLook, HOST_BINDS } from "../../../agent/host/os/bind-look.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import type { PeerPort } from "../../../agent/gossip/peer-port.ts";
import { DEFAULT_PLAN_SETTINGS, type PeerHealth, type PlanSettings } from "../../../agent/plan/world.ts";
import type { Sink } from "../../../agent/report/report-options.ts";
import { listUnknownEntries } from "../../../agent/host/state-layout.ts";
import type { AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import { HostKey } from "../../../agent/secrets/keeper/host-key.ts";
import { SealedFile } from "../../../agent/secrets/keeper/seal.ts";
import type { SecretProvider } from "../../../shared/secret/secret-provider.ts";
import { LABEL, type OwnContainerId } from "../../../shared/state/identity.ts";
import { nameRun } from "../../../shared/state/observed-state.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import type { Source } from "../../../shared/state/snapshot.ts";
import type { CancelTimer, Clock } from "../../../agent/host/os/clock.ts";
import { LIVE } from "../../fakes/fake-container.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { FakeEngine } from "../../fakes/fake-engine.ts";
import { FakeFronts, FakeFrontWorld } from "../../fakes/fake-fronts.ts";
import { FakeSource } from "../../fakes/fake-source.ts";
// Loaded beforehand, so that no turn waits in real time for a module.
import "../../../shared/text/toml-places.ts";
import "../../../shared/text/template.ts";

export const NODE = "vm1";

const HOST_KEY = new HostKey(Buffer.alloc(32, 7), "the test's key");

/** What a test may choose. */
export interface NodeChoices {
  settings?: Partial<DesiredSettings>;
  planSettings?: Partial<PlanSettings>;
  /** What is known of other nodes: a fixed answer, or the gossip's view in the test's hand. */
  peers?: PeerHealth | PeerPort;
  /** Endpoints that answer. */
  endpoints?: Set<string>;
  /** Where secrets come from. */
  secrets?: SecretProvider;
  /** Whether there is a directory in memory; only with secrets unless it is said. */
  inMemory?: boolean;
  maxStaleMs?: number;
  /** A real source in place of the fake one; the fake clock stands still while it is busy. */
  openSource?: (clock: Clock) => Source & { isBusy: boolean };
  /** Something that hears every event and does real I/O: the fake clock stands still while it is busy. */
  openSink?: (clock: Clock, stateDir: string) => Sink & { isBusy: boolean };
}

/** One agent process: dead, it does nothing more and hears no answer. */
interface Life {
  alive: boolean;
  /** Timers it waits for. */
  timers: Set<CancelTimer>;
}

const NEVER = new Promise<never>(() => undefined);

/** A part of the world as one agent sees it while it lives. */
function mortal<T extends object>(part: T, life: Life): T {
  return new Proxy(part, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...parameters: unknown[]): unknown => {
        if (!life.alive) return NEVER;
        const result: unknown = Reflect.apply(value, target, parameters);
        return result instanceof Promise ? result.then((answer: unknown) => (life.alive ? answer : NEVER)) : result;
      };
    },
  });
}

/** An agent with everything around it in the test's hand. */
export class TestNode {
  readonly clock = new FakeClock();
  readonly engine = new FakeEngine(this.clock);
  readonly source = new FakeSource(NODE);
  readonly stateDir = mkdtempSync(join(tmpdir(), "orca-scenario-"));
  /** In memory, as /run is on a host, where secrets are delivered. */
  runDir: string;
  readonly events: AgentEvent[] = [];
  /** What the fronts of this node do, whichever agent told them. */
  readonly fronts = new FakeFrontWorld((front) => this.#findRun(front));
  readonly endpoints: Set<string>;
  /** Containers that fail their probes although they run. */
  readonly sick = new Set<string>();
  /** Containers of which no probe comes to an answer. */
  readonly unanswered = new Set<string>();
  /** Changes with a reboot of the host. */
  bootId = "boot-1";
  readonly choices: NodeChoices;
  #agent: Agent | undefined;
  #life: Life = { alive: false, timers: new Set() };
  sink: (Sink & { isBusy: boolean }) | undefined;
  #turn: TurnSummary | undefined;
  #writing = 0;
  #realSource: { isBusy: boolean } | undefined;

  constructor(choices: NodeChoices = {}) {
    this.choices = choices;
    const inMemory = choices.inMemory ?? choices.secrets !== undefined;
    this.runDir = inMemory ? mkdtempSync("/dev/shm/orca-scenario-") : join(this.stateDir, "run");
    this.endpoints = choices.endpoints ?? new Set();
    this.clock.isBusy = () =>
      this.#writing > 0 ||
      this.#realSource?.isBusy === true ||
      this.sink?.isBusy === true ||
      this.#agent?.secrets.isBusy === true ||
      (this.source.reading && this.#life.alive && !this.engine.dead);
    this.engine.images.set("app:1", {});
    this.engine.images.set("app:2", {});
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error("the agent is not started");
    return this.#agent;
  }

  /** Starts an agent, or a new one after a kill. */
  async start(): Promise<void> {
    this.#turn = undefined;
    const life: Life = { alive: true, timers: new Set() };
    this.#life = life;
    this.sink = this.choices.openSink?.(this.#lendClock(life), this.stateDir);
    const agent: Agent = new Agent({
      node: NODE,
      engine: {
        reader: mortal(this.engine.reader, life),
        writer: mortal(this.engine.writer, life),
        exec: mortal(this.engine.exec, life),
      },
      source: mortal(this.#openSource(life), life),
      stateDir: this.stateDir,
      runDir: this.runDir,
      settings: {
        node: NODE,
        policy: buildStrictPolicy(),
        standIns: undefined,
        address: "127.0.0.1",
        ports: "as-written",
        budget: "enforce",
        hostNotes: [],
        assumeDataMounted: false,
        frontImage: undefined,
        agentPorts: [],
        templates: undefined,
        ...this.choices.settings,
      },
      planSettings: { ...DEFAULT_PLAN_SETTINGS, ...this.choices.planSettings },
      peers: this.choices.peers ?? { kind: "assume" },
      secrets: {
        provider: this.choices.secrets,
        sealed: this.choices.secrets === undefined ? undefined : this.#openSealed(),
        key: HOST_KEY,
        maxStaleMs: this.choices.maxStaleMs ?? 7 * 86_400_000,
      },
      authFiles: [],
      clock: this.#lendClock(life),
      obstacles: this.engine.host.obstacles,
      fronts: mortal(new FakeFronts(this.fronts, this.#lendClock(life)), life),
      bootId: this.bootId,
      binds: this.#countBinds(),
      emit: (event) => {
        if (life.alive) this.#hear(event);
      },
      probes: {
        probe: async ({ container }) => {
          if (this.unanswered.has(container)) return { kind: "not-made", message: "no answer yet" };
          const ok = this.engine.isHealthy(container) && !this.sick.has(container);
          return { kind: ok ? "ok" : "failed", message: ok ? "fine" : "connection refused" };
        },
        probeUrl: async (url) => ({ kind: this.endpoints.has(url) ? "ok" : "failed", message: url }),
      },
    });
    this.#agent = agent;
    this.#watchFiles(agent);
    await agent.start();
    await this.clock.settle();
  }

  /** kill -9: the agent is never heard of again; the engine and the disk stay as they are. */
  kill(): void {
    this.#life.alive = false;
    this.#agent = undefined;
    this.source.reading = false;
    this.engine.dead = false;
    this.engine.dieBeforeCall = undefined;
    this.engine.breakEvents();
  }

  /** Ends the agent as systemd does. */
  async stop(): Promise<void> {
    const stopped = this.agent.stop("test");
    await this.clock.advance(3_000);
    await stopped;
    await this.sink?.close();
    // A timer that is left keeps the process alive.
    if (this.#life.timers.size > 0) throw new Error(`${this.#life.timers.size} timers outlived the agent`);
    this.#agent = undefined;
  }

  /** Takes everything from the directory in memory, as a reboot does. */
  clearMemory(): void {
    rmSync(join(this.runDir, "secrets"), { recursive: true, force: true });
  }

  /** Puts the directory that should be in memory on a disk. */
  useDisk(): void {
    rmSync(this.runDir, { recursive: true, force: true });
    // Where the state is, the lane may keep its files in memory.
    this.runDir = mkdtempSync("/var/tmp/orca-scenario-");
  }

  /** Ends everything and removes the state. */
  async dispose(): Promise<void> {
    if (this.#agent !== undefined && !this.engine.dead) await this.stop();
    const unknown = listUnknownEntries(this.stateDir, this.runDir);
    rmSync(this.stateDir, { recursive: true, force: true });
    rmSync(this.runDir, { recursive: true, force: true });
    if (unknown.length > 0)
      throw new Error(`state-layout.ts does not know what the agent has left: ${unknown.join(", ")}`);
  }

  #findRun(service: string): string | undefined {
    const container = this.engine.running(service);
    if (container === undefined) return undefined;
    return nameRun({ id: container.id as OwnContainerId, startedMs: container.detail.startedMs });
  }

  /**
   * Looks at each start whether two containers of one service live, of which one is no copy behind a front: both would write to
   * the same data.
   * @returns the services of which that was seen, as it comes
   */
  watchDoubles(): string[] {
    const { writer, containers } = this.engine;
    const doubles: string[] = [];
    const start = writer.startContainer.bind(writer);
    writer.startContainer = async (id) => {
      await start(id);
      const service = this.engine.find(id)?.labels[LABEL.service] ?? "";
      const alive = [...containers.values()].filter(
        (entry) => LIVE.has(entry.status) && entry.labels[LABEL.service] === service,
      );
      const copies = alive.filter((entry) => entry.labels[LABEL.front] !== undefined);
      if (alive.length > 1 && copies.length < alive.length) doubles.push(service);
    };
    return doubles;
  }

  /** The newest turn. */
  get turn(): TurnSummary {
    if (this.#turn === undefined) throw new Error("no turn was made yet");
    return this.#turn;
  }

  /** What the newest turn says of the node as a whole. */
  get notes(): string[] {
    return this.turn.notes.map(({ text }) => text);
  }

  /** What status shows of a service now. */
  view(service: string): ServiceView {
    const view = this.#turn?.services.find((entry) => entry.name === service);
    if (view === undefined) throw new Error(`status shows no ${service}`);
    return view;
  }

  /** Waits until services are in a state. */
  async until(state: ServiceView["state"], services: readonly string[], withinMs = 120_000): Promise<number> {
    const shows = (): boolean =>
      services.every((name) => this.#turn?.services.find((entry) => entry.name === name)?.state === state);
    return this.clock.advanceUntil(shows, withinMs, `${services.join(", ")} ${state}`);
  }

  /** Waits until services are settled. */
  async untilSettled(services: readonly string[], withinMs = 300_000): Promise<number> {
    const settled = (): boolean =>
      services.every((name) => this.#turn?.services.find((entry) => entry.name === name)?.settled === true);
    return this.clock.advanceUntil(settled, withinMs, `${services.join(", ")} settled`);
  }

  #openSealed(): SealedFile {
    const place = { node: NODE, provider: "file:test" };
    return new SealedFile(join(this.stateDir, "secrets.sealed"), HOST_KEY, place);
  }

  #lendClock(life: Life): Clock {
    return {
      nowMs: () => this.clock.nowMs(),
      monotonicMs: () => this.clock.monotonicMs(),
      after: (delayMs, callback) => this.#wait(life, delayMs, callback),
    };
  }

  /** The fake source, or a real one whose reads say like the fake one's that a turn is under way. */
  #openSource(life: Life): Source {
    const real = this.choices.openSource?.(this.#lendClock(life));
    this.#realSource = real;
    if (real === undefined) return this.source;
    const read = real.read.bind(real);
    return Object.assign(real, {
      read: () => {
        this.source.reading = true;
        return read();
      },
    });
  }

  #wait(life: Life, delayMs: number, callback: () => void): CancelTimer {
    const cancel = this.clock.after(delayMs, () => {
      life.timers.delete(cancel);
      if (life.alive) callback();
    });
    life.timers.add(cancel);
    return () => {
      life.timers.delete(cancel);
      cancel();
    };
  }

  /** File writes are real and take real time: the fake clock stands still meanwhile. */
  #watchFiles({ files, delivery }: Agent): void {
    this.#watchWrites(files, ["write", "writeHosts", "remove"]);
    this.#watchWrites(delivery, ["prepare", "write", "remove"]);
  }

  /** Looks at the host are real, too. */
  #countBinds(): BindLook {
    const count = async <T>(look: () => Promise<T>): Promise<T> => {
      this.#writing += 1;
      try {
        return await look();
      } finally {
        this.#writing -= 1;
      }
    };
    return {
      readRealPath: (path) => count(() => HOST_BINDS.readRealPath(path)),
      findOtherNames: (path) => count(() => HOST_BINDS.findOtherNames(path)),
      findWrongBind: (pid, binds) => count(() => HOST_BINDS.findWrongBind(pid, binds)),
      // The fake engine has no processes.
      watch: () => ({ end: () => undefined }),
      kill: () => undefined,
    };
  }

  #watchWrites<T extends object>(part: T, methods: readonly (keyof T)[]): void {
    for (const method of methods) {
      const real = (part[method] as (...parameters: unknown[]) => Promise<void>).bind(part);
      Object.assign(part, {
        [method]: async (...parameters: unknown[]) => {
          this.#writing += 1;
          try {
            await real(...parameters);
          } finally {
            this.#writing -= 1;
          }
        },
      });
    }
  }

  #hear(event: AgentEvent): void {
    this.events.push(event);
    this.sink?.hear(event);
    if (event.kind === "turn" || event.kind === "turn-failed") this.source.reading = false;
    if (event.kind === "turn") this.#turn = event.turn;
    if (event.kind === "turn-failed") throw new Error(`a turn failed: ${event.message}`);
  }
}

/** Why the newest inputs are not in force, as people read it; empty where they are. */
export function troubleOf(node: TestNode): string {
  const { trouble } = node.turn.source;
  return trouble === undefined ? "" : describeTrouble(trouble);
}
