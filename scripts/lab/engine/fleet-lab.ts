// A fleet on this machine: for each node an engine in a network namespace of its own, an agent in front of it, and a wire to a
// switch. The wires can be cut, the agents killed, the hosts rebooted. Needs root, iproute2 and dockerd.

import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { makeIdentity } from "../../../agent/gossip/node-identity.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { describeMarkedSecrets, findLane } from "../canary/canary-lane.ts";
import { expectNoSecretLeft } from "../canary/canary-sweep.ts";
import { EngineProxy } from "./engine-proxy.ts";
import { OrcaProcess } from "./orca-process.ts";
import { PrivateEngine } from "./private-engine.ts";

/** One host of the lab. */
export interface LabHost {
  readonly node: string;
  readonly address: string;
  readonly realm: string;
  readonly engine: PrivateEngine;
  /** What the agent speaks to: it counts what is asked of the engine. */
  readonly proxy: EngineProxy;
  readonly wire: string;
  agent: OrcaProcess | undefined;
}

/** What a lab is made with: node → its realm. */
export interface LabOptions {
  nodes: Readonly<Record<string, string>>;
  images: readonly string[];
  /** Node → manifests by service. */
  manifests: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Why its services take no marked secrets. */
  unread?: string;
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const run = promisify(execFile);
let count = 0;

/** A fleet in the test's hand. */
export class FleetLab {
  readonly root = mkdtempSync(join(tmpdir(), "orca-fleet-"));
  readonly #memory = mkdtempSync("/dev/shm/orca-fleet-");
  readonly hosts = new Map<string, LabHost>();
  readonly #options: LabOptions;
  readonly #switch: string;
  readonly #bundle = join(this.root, "bundle");

  constructor(options: LabOptions) {
    count += 1;
    this.#options = options;
    this.#switch = `orca-sw${process.pid}-${count}`;
  }

  /** Makes namespaces, wires, engines, keys and the repository; starts no agent. */
  async create(): Promise<void> {
    // As a VM runs it: reading TypeScript as it is takes each agent seconds of CPU when all start at once.
    execFileSync(process.execPath, [join(ROOT, "scripts", "bundle.ts"), "--out", this.#bundle], { stdio: "ignore" });
    execFileSync("ip", ["netns", "add", this.#switch]);
    this.#inSwitch("ip", "link", "add", "br0", "type", "bridge");
    this.#inSwitch("ip", "link", "set", "br0", "up");
    let index = 0;
    for (const [node, realm] of Object.entries(this.#options.nodes)) {
      index += 1;
      const engine = new PrivateEngine();
      await engine.create(this.#options.images);
      const proxy = new EngineProxy(join(engine.root, "proxy.sock"), engine.socketPath);
      await proxy.listen();
      const host = { node, realm, address: `10.99.0.${index}`, engine, proxy, wire: `w${index}`, agent: undefined };
      this.#connect(host);
      this.hosts.set(node, host);
    }
    await this.#writeRepository();
  }

  /** Starts the agents of some nodes, or of all. */
  start(nodes: readonly string[] = [...this.hosts.keys()]): void {
    for (const node of nodes) {
      const host = this.of(node);
      host.agent = new OrcaProcess(["agent", "--config", join(this.#home(node), "agent.toml")], {
        namespace: host.engine.namespace,
        runDir: this.runDir(node),
        entry: join(this.#bundle, "orca.mjs"),
        flags: ["--lite-mode"],
      });
    }
  }

  of(node: string): LabHost {
    const host = this.hosts.get(node);
    if (host === undefined) throw new Error(`the lab has no ${node}`);
    return host;
  }

  /** A node's private key. */
  keyFile(node: string): string {
    return join(this.#home(node), "key");
  }

  /** Cuts a node's wire, or mends it. */
  cut(node: string, isCut = true): void {
    this.#inSwitch("ip", "link", "set", this.of(node).wire, isCut ? "down" : "up");
  }

  /** A host loses power and comes back; its agent is to be started again. */
  async reboot(node: string): Promise<void> {
    const { engine, agent } = this.of(node);
    await agent?.kill();
    await engine.end("SIGKILL");
    // What was in memory is gone.
    rmSync(this.runDir(node), { recursive: true, force: true });
    await engine.start();
  }

  /** What an agent answers on its loopback; undefined while it does not. */
  async read<T = StatusDocument>(node: string, path = "/v1/status"): Promise<T | undefined> {
    try {
      const url = `http://127.0.0.1:7070${path}`;
      const command = [`--net=${this.of(node).engine.namespace}`, "curl", "-sf", "-m", "5", url];
      // Not at once: the engines' proxies run in this process and are needed for the answer.
      return JSON.parse((await run("nsenter", command)).stdout) as T;
    } catch {
      return undefined;
    }
  }

  /** A service's state by its own node's status. */
  async state(node: string, service: string): Promise<string | undefined> {
    return (await this.read(node))?.services.find(({ name }) => name === service)?.state;
  }

  /** Waits until something holds; answers how long that took, in milliseconds. */
  async until(holds: () => Promise<boolean>, withinMs: number, what: string): Promise<number> {
    const from = performance.now();
    while (!(await holds())) {
      if (performance.now() - from > withinMs) throw new Error(`${what} did not come about: ${await this.describe()}`);
      await sleep(100);
    }
    return performance.now() - from;
  }

  /** What each agent shows now. */
  async describe(): Promise<string> {
    const lines = [...this.hosts.values()].map(async ({ node, agent }) => {
      const services = (await this.read(node))?.services.map(
        ({ name, state, reason }) => `${name} ${state} (${reason})`,
      );
      return `${node}: ${services?.join(", ") ?? `does not answer: ${agent?.output.slice(-1_000)}`}`;
    });
    return (await Promise.all(lines)).join("\n");
  }

  async destroy(): Promise<void> {
    try {
      for (const host of this.hosts.values()) await this.#search(host);
    } finally {
      await this.#clear();
    }
  }

  /** Looks for marked secrets that a node has left. */
  async #search({ node, engine, agent, proxy }: LabHost): Promise<void> {
    if (agent === undefined) return;
    const { root, socketPath } = engine;
    const { unread } = this.#options;
    await expectNoSecretLeft({
      node,
      stateDir: join(this.#home(node), "state"),
      directories: [this.#home(node)],
      engine: { socketPath, dataRoot: join(root, "data"), execRoot: join(root, "exec") },
      socketPath: join(this.runDir(node), "agent.sock"),
      texts: { "its output": agent.output, "the engine's calls": JSON.stringify(proxy.calls) },
      ...(unread === undefined ? {} : { unread }),
    });
  }

  async #clear(): Promise<void> {
    for (const { agent, proxy, engine } of this.hosts.values()) {
      await agent?.kill();
      await proxy.close();
      await engine.destroy();
    }
    execFileSync("ip", ["netns", "delete", this.#switch]);
    rmSync(this.#memory, { recursive: true, force: true });
    rmSync(this.root, { recursive: true, force: true });
  }

  #connect({ engine, address, wire }: LabHost): void {
    const name = engine.namespace.split("/").at(-1) ?? "";
    execFileSync("ip", [
      "link",
      "add",
      wire,
      "netns",
      this.#switch,
      "type",
      "veth",
      "peer",
      "name",
      "lan0",
      "netns",
      name,
    ]);
    this.#inSwitch("ip", "link", "set", wire, "master", "br0", "up");
    for (const words of [
      ["addr", "add", `${address}/24`, "dev", "lan0"],
      ["link", "set", "lan0", "up"],
    ])
      execFileSync("nsenter", [`--net=${engine.namespace}`, "ip", ...words]);
  }

  #inSwitch(...command: string[]): void {
    execFileSync("ip", ["netns", "exec", this.#switch, ...command]);
  }

  /** What is /run/orca on a host of its own. */
  runDir(node: string): string {
    return join(this.#memory, node);
  }

  #home(node: string): string {
    return join(this.root, node);
  }

  async #writeRepository(): Promise<void> {
    const repository = join(this.root, "repository", "orca");
    const fleet: string[] = [];
    for (const { node, realm, address, proxy } of this.hosts.values()) {
      const home = this.#home(node);
      const { publicKey } = await makeIdentity(this.keyFile(node));
      const entry = { address, env: realm, memory: "8GiB", public_key: publicKey };
      fleet.push(`[nodes.${node}]`, ...Object.entries(entry).map(([key, value]) => `${key} = "${value}"`));
      writeFileSync(
        join(home, "agent.toml"),
        [
          `node = "${node}"`,
          `source = { dir = "${join(this.root, "repository")}" }`,
          `gossip = { listen = "${address}:7946", identity_file = "${this.keyFile(node)}" }`,
          'status = { listen = ["127.0.0.1:7070"] }',
          `docker = { socket = "${proxy.socketPath}" }`,
          `state = { dir = "${join(home, "state")}" }`,
          `policy = { file = "${join(home, "policy.toml")}" }`,
          ...(findLane() === undefined ? [] : [describeMarkedSecrets()]),
        ].join("\n"),
      );
      const directory = join(repository, "manifests", node);
      mkdirSync(directory, { recursive: true });
      for (const [service, text] of Object.entries(this.#options.manifests[node] ?? {}))
        writeFileSync(join(directory, `${service}.toml`), text);
    }
    writeFileSync(join(repository, "fleet.toml"), `${fleet.join("\n")}\n`);
  }
}
