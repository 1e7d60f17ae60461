// What the benchmarks stand on: an engine of their own, the production bundle as its unit runs it, and clocks.

import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { EngineEvent } from "../../agent/docker/reader.ts";
import { PrivateEngine } from "../lab/engine/private-engine.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const IMAGE = "orca-test/busybox:1";
export const HTTPD = ["/bin/httpd", "-f", "-p", "8080", "-h", "/etc"];

/** The flags and environment that the production unit runs the agent with. */
export function readUnitFlags(): { flags: string[]; environment: Record<string, string> } {
  const unit = readFileSync(join(ROOT, "systemd", "orca-agent.service"), "utf8");
  const flags = /^ExecStart=\S+ (.*?)\S+orca\.mjs/m.exec(unit)?.[1]?.trim().split(" ") ?? [];
  const pairs = /^Environment=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  return {
    flags: flags.filter((flag) => flag !== ""),
    environment: Object.fromEntries(pairs.map((pair) => pair.split("=") as [string, string])),
  };
}

/** The middle of some numbers. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** A running engine whose events are kept with the time they came. */
export class Lab {
  readonly engine: PrivateEngine;
  readonly root = mkdtempSync(join(tmpdir(), "orca-bench-"));
  readonly events: (EngineEvent & { heardMs: number })[] = [];
  readonly #abort = new AbortController();
  readonly #children = new Set<ChildProcess>();

  constructor(options: readonly string[] = []) {
    this.engine = new PrivateEngine(options);
  }

  async open(): Promise<void> {
    await this.engine.create([IMAGE]);
    await new Promise<void>((resolve) => {
      void this.engine.client.reader.watchEvents({
        sinceMs: undefined,
        signal: this.#abort.signal,
        onOpen: resolve,
        onEvent: (event) => void this.events.push({ ...event, heardMs: performance.now() }),
      });
    });
  }

  /** Starts a process that ends with the lab at the latest. */
  spawn(program: string, words: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn(program, words, options);
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Ends what a suite has left running, which it does where it has failed. */
  async endChildren(): Promise<void> {
    await Promise.all([...this.#children].map(endChild));
  }

  async close(): Promise<void> {
    await this.endChildren();
    this.#abort.abort();
    await this.engine.destroy();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Removes every container of the engine. */
  async clear(): Promise<void> {
    const { reader, writer } = this.engine.client;
    const rows = await reader.listContainers();
    await Promise.all(rows.map((row) => writer.removeContainer(row.id as never)));
    this.events.length = 0;
  }

  /** Waits for events; answers when the last of so many came, on the clock of `performance.now()`. */
  async untilEvents(
    action: string,
    count: number,
    matches: (event: EngineEvent) => boolean = () => true,
  ): Promise<number> {
    return until(
      () => this.events.filter((event) => event.action === action && matches(event)).at(count - 1)?.heardMs,
      `${count} events ${action}`,
    );
  }

  /** Writes a repository of equal services for one node. */
  writeRepository(node: string, names: readonly string[], extra = ""): string {
    const directory = join(this.root, node);
    const manifests = join(directory, "orca", "manifests", node);
    mkdirSync(manifests, { recursive: true });
    for (const name of names) {
      writeFileSync(
        join(manifests, `${name}.toml`),
        `image = "${IMAGE}"\ncommand = ${JSON.stringify(HTTPD)}\nstop_timeout = "1s"\n[resources]\nmemory = "16MiB"\n` +
          `[health]\nhttp = { port = 8080, path = "/passwd" }\ninterval = "10s"\n[update]\nsettle = "1s"\n${extra}`,
      );
    }
    return directory;
  }

  /** Runs the bundle on a repository. */
  startAgent(directory: string, options: { socket?: string; parameters?: readonly string[] } = {}): RunningAgent {
    const { socket = this.engine.socketPath, parameters = [] } = options;
    const stateDir = join(this.root, `state-${readdirSync(this.root).length}`);
    return this.startCommand(["up", directory, "--docker", socket, "--state", stateDir, ...parameters], stateDir);
  }

  /** Runs a command of the bundle. */
  startCommand(words: readonly string[], stateDir: string): RunningAgent {
    return new RunningAgent(this, words, stateDir);
  }
}

/** Ends a process at once, and waits until it has ended. */
async function endChild(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await exited;
}

/** Waits until something is there. */
export async function until<T>(
  look: () => T | undefined | Promise<T | undefined>,
  what: string,
  withinMs = 120_000,
): Promise<T> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`${what} did not come about within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** One run of the production bundle, with its output and the time of each line. */
export class RunningAgent {
  readonly startedMs = performance.now();
  readonly lines: { text: string; atMs: number }[] = [];
  readonly stateDir: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(lab: Lab, words: readonly string[], stateDir: string) {
    this.stateDir = stateDir;
    const { flags, environment } = readUnitFlags();
    const command = [process.execPath, ...flags, join(ROOT, "dist", "orca.mjs"), ...words];
    // nsenter replaces itself with the agent: its process id is the agent's.
    this.#child = lab.spawn("nsenter", [`--net=${lab.engine.namespace}`, ...command], {
      env: { ...process.env, ...environment, NO_COLOR: "1" },
    });
    this.#exited = new Promise((resolve) => this.#child.once("exit", resolve));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      let rest = "";
      stream?.on("data", (chunk: Buffer) => {
        const parts = (rest + chunk.toString()).split("\n");
        rest = parts.pop() ?? "";
        for (const text of parts) this.lines.push({ text, atMs: performance.now() });
      });
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** When the n-th line that matches came. */
  untilLine(pattern: RegExp, count = 1): Promise<number> {
    return until(
      () => this.lines.filter((line) => pattern.test(line.text)).at(count - 1)?.atMs,
      `${count} lines ${String(pattern)}`,
    );
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#exited;
  }

  /** Asks over its unix socket. */
  ask(method: "GET" | "POST", path: string, body = ""): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = {
        accept: "application/json",
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      };
      const call = request({ socketPath: join(this.stateDir, "agent.sock"), method, path, headers }, (answer) => {
        let text = "";
        answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
        answer.on("end", () => {
          if ((answer.statusCode ?? 500) < 300) resolve(text);
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        });
      });
      call.on("error", reject);
      call.end(body);
    });
  }

  /** CPU time of all its threads so far, in milliseconds (proc(5), schedstat). */
  get cpuMs(): number {
    return readCpuMs(this.pid);
  }
}

/** CPU time of all threads of a process so far, in milliseconds. */
export function readCpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce(
    (sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6,
    0,
  );
}

/** Resident and anonymous memory of a process, in MB (10⁶ bytes would flatter: MiB). */
export function readMemoryMiB(pid: number): { resident: number; anonymous: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const read = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0) / 1024;
  return { resident: read("Rss"), anonymous: read("Anonymous") };
}
