// An engine of the test's own, in a network namespace of its own: it can be killed and started again without harm to the
// machine's other containers. Needs root, iproute2 and dockerd.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { type Engine, openEngine } from "../../../agent/docker/engine.ts";

let count = 0;

/** An engine that a test may break. */
export class PrivateEngine {
  readonly root: string;
  readonly socketPath: string;
  readonly namespace: string;
  readonly #name: string;
  readonly #options: readonly string[];
  #daemon: ChildProcess | undefined;
  #client: Engine | undefined;

  /** @param options more options of dockerd, such as `--live-restore` */
  constructor(options: readonly string[] = []) {
    count += 1;
    this.#name = `orca-t${process.pid}-${count}`;
    this.#options = options;
    // The path of a unix socket may have at most 107 characters.
    this.root = mkdtempSync(join(tmpdir(), "oe-"));
    this.socketPath = join(this.root, "d.sock");
    this.namespace = `/var/run/netns/${this.#name}`;
  }

  /** Makes the namespace, starts the engine and loads images into it, where there are any. */
  async create(images: readonly string[]): Promise<void> {
    execFileSync("ip", ["netns", "add", this.#name]);
    execFileSync("nsenter", [`--net=${this.namespace}`, "ip", "link", "set", "lo", "up"]);
    mkdirSync(join(this.root, "data"));
    await this.start();
    if (images.length === 0) return;
    const archive = join(this.root, "images.tar");
    execFileSync("docker", ["save", "-o", archive, ...images]);
    execFileSync("docker", ["-H", `unix://${this.socketPath}`, "load", "-q", "-i", archive]);
  }

  /** Reads the engine. */
  get client(): Engine {
    this.#client ??= openEngine(this.socketPath);
    return this.#client;
  }

  async start(): Promise<void> {
    const log = openSync(join(this.root, "dockerd.log"), "a");
    const options = [
      "-H",
      `unix://${this.socketPath}`,
      "--data-root",
      join(this.root, "data"),
      "--exec-root",
      join(this.root, "exec"),
      "-p",
      join(this.root, "pid"),
      "--bip",
      "172.31.255.1/24",
      ...this.#options,
    ];
    this.#daemon = spawn("nsenter", [`--net=${this.namespace}`, "dockerd", ...options], {
      stdio: ["ignore", log, log],
    });
    for (let attempt = 0; attempt < 300; attempt += 1) {
      if (existsSync(this.socketPath) && (await this.client.reader.info().catch(() => undefined)) !== undefined) return;
      if (this.#daemon.exitCode !== null) break;
      await sleep(100);
    }
    throw new Error(`the engine did not start: ${readFileSync(join(this.root, "dockerd.log"), "utf8").slice(-2_000)}`);
  }

  /** Ends the engine: with SIGTERM as a package upgrade does, or with SIGKILL. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined || daemon.exitCode !== null) return;
    const ended = new Promise((resolve) => daemon.once("exit", resolve));
    const processes = signal === "SIGKILL" ? await this.#listProcesses() : [];
    process.kill(Number(readFileSync(join(this.root, "pid"), "utf8")), signal);
    await ended;
    // A host that lost power has no process left, and nothing of /run.
    if (signal !== "SIGKILL") return;
    this.#killLeftovers();
    for (const pid of processes) process.kill(pid, "SIGKILL");
    this.#unmount(this.root);
    rmSync(join(this.root, "exec"), { recursive: true, force: true });
    rmSync(join(this.root, "pid"), { force: true });
  }

  /** Removes everything. */
  async destroy(): Promise<void> {
    this.#client?.close();
    await this.end("SIGTERM");
    this.#killLeftovers();
    execFileSync("ip", ["netns", "delete", this.#name]);
    this.#unmount(this.root);
    rmSync(this.root, { recursive: true, force: true });
  }

  async #listProcesses(): Promise<number[]> {
    const rows = await this.client.reader.listContainers();
    const details = await Promise.all(rows.map((row) => this.client.reader.inspectContainer(row.id)));
    return details.map((detail) => detail?.pid ?? 0).filter((pid) => pid > 0);
  }

  #unmount(below: string): void {
    for (const line of readFileSync("/proc/mounts", "utf8").split("\n").toReversed()) {
      const mount = line.split(" ")[1] ?? "";
      if (mount.startsWith(below)) execFileSync("umount", ["-l", mount]);
    }
  }

  #killLeftovers(): void {
    try {
      execFileSync("pkill", ["-9", "-f", join(this.root, "exec")]);
    } catch {
      // Nothing was left.
    }
  }
}
