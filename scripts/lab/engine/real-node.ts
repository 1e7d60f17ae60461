// One whole agent in this process on the real engine, with a repository in a temporary directory: for the docker lane.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import { listUnknownEntries } from "../../../agent/host/state-layout.ts";
import { Agent } from "../../../agent/loop/agent.ts";
import { tearDown } from "../../../agent/apply/teardown.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { type Engine, openEngine } from "../../../agent/docker/engine.ts";
import type { ContainerRow } from "../../../agent/docker/reader.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { DEFAULT_PLAN_SETTINGS } from "../../../agent/plan/world.ts";
import { openSecrets, type SecretsConfig } from "../../../agent/secrets/open-secrets.ts";
import type { SecretFilePlace } from "../../../agent/secrets/providers/secret-store-file.ts";
import { DirectorySource } from "../../../agent/sources/directory/directory-source.ts";
import type { AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import { LABEL } from "../../../shared/state/identity.ts";
import { buildStrictPolicy } from "../../../shared/policy/policy.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { MARKED_FILES } from "../canary/canary.ts";
import { openLane } from "../canary/canary-lane.ts";
import { expectNoSecretLeft, type NodePlaces } from "../canary/canary-sweep.ts";
import { nameForRun } from "./run-name.ts";
import { PROGRAM } from "./started-program.ts";

export const SOCKET = "/var/run/docker.sock";
export const IMAGE = "orca-test/busybox:1";

/**
 * A manifest for the real engine: busybox's httpd in 16 MiB, unless said otherwise. It is given the marked secrets as files,
 * so that every search at a node's end has something that it could find.
 */
export function buildHttpd(
  parts: {
    top?: string;
    memory?: string;
    command?: string;
    health?: string;
    tables?: string;
    image?: string;
    secrets?: string;
  } = {},
): string {
  const { top = "", memory = "16MiB", tables = "", image = IMAGE } = parts;
  // One that names secrets of its own has those.
  const { secrets = /^\[secrets\.files\]/m.test(tables) ? "" : MARKED_FILES } = parts;
  const command = parts.command ?? '["/bin/httpd", "-f", "-p", "8080", "-h", "/etc"]';
  const health = parts.health ?? 'http = { port = 8080, path = "/passwd" }';
  return [
    `image = "${image}"`,
    `command = ${command}`,
    'stop_timeout = "1s"',
    top,
    "[resources]",
    `memory = "${memory}"`,
    "[health]",
    health,
    "[update]",
    'settle = "1s"',
    tables,
    secrets,
    "",
  ].join("\n");
}

/** What a test may choose. */
type RealNodeChoices = Partial<DesiredSettings> & { authFiles?: string[]; secretFile?: SecretFilePlace };

/** An agent on the real engine. */
export class RealNode {
  readonly node: string;
  readonly root: string;
  readonly repository: string;
  readonly engine: Engine = openEngine(SOCKET);
  readonly events: AgentEvent[] = [];
  /** Writing calls the agent made, by name. */
  readonly writes: string[] = [];
  /** The same with everything that the engine was told. */
  readonly #told: string[] = [];
  readonly #settings: Partial<DesiredSettings>;
  readonly #authFiles: string[];
  readonly #secrets: SecretsConfig;
  /** In memory, as /run is on a host. */
  readonly runDir = mkdtempSync("/dev/shm/orca-docker-");
  #agent: Agent | undefined;
  #turn: TurnSummary | undefined;

  /** @param choices parts of the settings, files with registry credentials, and another file of secrets */
  constructor(node: string, choices: RealNodeChoices = {}) {
    const { authFiles = [], secretFile = openLane().secrets, ...settings } = choices;
    const secrets = { kind: "file", place: secretFile } as const;
    this.#secrets = { provider: secrets, keyFile: undefined, maxStaleMs: 7 * 86_400_000 };
    this.node = nameForRun(node);
    this.#settings = settings;
    this.#authFiles = authFiles;
    this.root = mkdtempSync(join(tmpdir(), "orca-docker-"));
    this.repository = join(this.root, "repository");
    mkdirSync(join(this.repository, "orca", "manifests", this.node), { recursive: true });
  }

  /** Writes manifests; undefined removes one. */
  set(manifests: Record<string, string | undefined>): void {
    for (const [name, text] of Object.entries(manifests)) {
      const path = join(this.repository, "orca", "manifests", this.node, `${name}.toml`);
      if (text === undefined) rmSync(path, { force: true });
      else writeFileSync(path, text);
    }
  }

  /** Writes a file beside the manifests. */
  setFile(path: string, content: string): void {
    const target = join(this.repository, "orca", "manifests", this.node, path);
    mkdirSync(join(target, ".."), { recursive: true });
    writeFileSync(target, content);
  }

  async start(): Promise<Agent> {
    this.#turn = undefined;
    openLane().note({ kind: "born", stateDir: this.stateDir });
    this.#agent = new Agent({
      node: this.node,
      engine: { ...this.engine, writer: this.#watchWriter() },
      source: new DirectorySource({ directory: this.repository, node: this.node, clock: systemClock }),
      stateDir: this.stateDir,
      runDir: this.runDir,
      settings: {
        node: this.node,
        policy: buildStrictPolicy(),
        standIns: undefined,
        address: "127.0.0.1",
        ports: "as-written",
        budget: "warn",
        hostNotes: [],
        assumeDataMounted: false,
        frontImage: undefined,
        agentPorts: [],
        templates: undefined,
        ...this.#settings,
      },
      planSettings: DEFAULT_PLAN_SETTINGS,
      peers: { kind: "assume" },
      secrets: await openSecrets(this.#secrets, { node: this.node, stateDir: this.stateDir, program: PROGRAM }),
      authFiles: this.#authFiles,
      clock: systemClock,
      emit: (event) => {
        this.events.push(event);
        if (event.kind === "turn") this.#turn = event.turn;
      },
    });
    await this.#agent.start();
    return this.#agent;
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error("the agent is not started");
    return this.#agent;
  }

  async stop(): Promise<void> {
    await this.#agent?.stop("test");
    this.#agent = undefined;
  }

  get stateDir(): string {
    return join(this.root, "state");
  }

  /**
   * Ends the agent, searches for marked secrets that were left, and removes everything it made, volumes of this node too.
   * @param more places that only the caller knows
   */
  async dispose(more: Partial<NodePlaces> = {}): Promise<void> {
    const plan = await this.#agent?.preview().catch(() => undefined);
    await this.stop();
    try {
      const texts = {
        "the plan": JSON.stringify(plan ?? {}),
        "the events": JSON.stringify(this.events) + inspect(this.events, { depth: 12, maxArrayLength: null }),
        "what the engine was told": this.#told.join("\n"),
      };
      const { node, stateDir } = this;
      await expectNoSecretLeft({
        node,
        stateDir,
        directories: [this.root],
        ...more,
        texts: { ...texts, ...more.texts },
      });
      const unknown = listUnknownEntries(stateDir, this.runDir);
      if (unknown.length > 0) throw new Error(`state-layout.ts does not know ${unknown.join(", ")}`);
    } finally {
      await tearDown(this.engine, this.node);
      this.engine.close();
      rmSync(this.root, { recursive: true, force: true });
      rmSync(this.runDir, { recursive: true, force: true });
    }
  }

  /** What status shows of a service now, if anything. */
  view(service: string): ServiceView | undefined {
    return this.#turn?.services.find((entry) => entry.name === service);
  }

  get turn(): TurnSummary {
    if (this.#turn === undefined) throw new Error("no turn was made yet");
    return this.#turn;
  }

  /** The containers of a service at the engine, newest list. */
  async of(service: string): Promise<ContainerRow[]> {
    const rows = await this.engine.reader.listContainers();
    return rows.filter((row) => row.labels[LABEL.node] === this.node && row.labels[LABEL.service] === service);
  }

  /** The id of the one running container of a service. */
  async idOf(service: string): Promise<string> {
    const row = (await this.of(service)).find((entry) => entry.status === "running");
    if (row === undefined) throw new Error(`${service} does not run`);
    return row.id;
  }

  async until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 120_000): Promise<void> {
    const endMs = Date.now() + withinMs;
    while (!(await condition())) {
      if (Date.now() > endMs) {
        const shown = this.#turn?.services.map((view) => `${view.name}: ${view.state} (${view.reason})`).join("; ");
        throw new Error(`${what} did not come about within ${withinMs} ms; status shows ${shown}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  }

  async untilSettled(services: readonly string[], withinMs = 240_000): Promise<void> {
    await this.until(
      `${services.join(", ")} settled`,
      () => services.every((name) => this.view(name)?.settled === true),
      withinMs,
    );
  }

  /** Counts what the agent writes, so that a test can say that it wrote nothing. */
  #watchWriter(): Engine["writer"] {
    const { writes } = this;
    const told = this.#told;
    return new Proxy(this.engine.writer, {
      get: (writer, key: keyof Engine["writer"]) => {
        const real = writer[key] as (...parameters: unknown[]) => unknown;
        return (...parameters: unknown[]) => {
          writes.push(key);
          told.push(`${key} ${JSON.stringify(parameters)}`);
          return real.apply(writer, parameters);
        };
      },
    });
  }
}
