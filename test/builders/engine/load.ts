// Some hundred requests a second from a process of its own, half of them over connections that are kept: at each moment some are under way,
// and the machine has time for the tests beside it. Every request counts: a refused or broken connection, another status, an answer that is
// cut short.
// As a program: node test/builders/engine/load.ts HOST:PORT; prints `ready` when the first request has ended, and at SIGTERM its counts as
// one line of JSON.

import { type ChildProcess, spawn } from "node:child_process";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";

/** What a load has seen. */
export interface LoadCounts {
  ok: number;
  /** What went wrong, and how often. */
  failed: Record<string, number>;
  /** Who answered: the body's text, and how often. */
  answers: Record<string, number>;
  elapsedMs: number;
}

/** A running load. */
export class Load {
  static readonly #running = new Set<ChildProcess>();
  readonly #process: ChildProcess;
  #printed = "";
  /** Its first request has ended; rejects where it never came so far. */
  readonly ready: Promise<void>;

  /** @param target host and port */
  constructor(target: string) {
    this.#process = spawn(process.execPath, [fileURLToPath(import.meta.url), target], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    Load.#running.add(this.#process);
    this.#process.stdout?.setEncoding("utf8").on("data", (chunk: string) => (this.#printed += chunk));
    this.ready = new Promise((resolve, reject) => {
      this.#process.stdout?.on("data", () => {
        if (this.#printed.startsWith(READY)) resolve();
      });
      this.#process.once("close", () => reject(new Error(`the load for ${target} ended before its first request`)));
    });
    // Whoever waits for it is told; nobody has to.
    this.ready.catch(() => undefined);
  }

  /** Ends what a failed test has left. */
  static killAll(): void {
    for (const child of Load.#running) child.kill("SIGKILL");
    Load.#running.clear();
  }

  /** Ends it; answers what it has seen. A process that has not come up yet would die of the signal, and say nothing. */
  async end(): Promise<LoadCounts> {
    await this.ready;
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.kill("SIGTERM");
    await closed;
    Load.#running.delete(this.#process);
    return JSON.parse(this.#printed.slice(READY.length)) as LoadCounts;
  }
}

const READY = "ready\n";
const CLIENTS = 8;
const REQUEST_MS = 5_000;
/** What a client waits between two requests. */
const PAUSE_MS = 8;

function run(target: string): void {
  const counts: LoadCounts = { ok: 0, failed: {}, answers: {}, elapsedMs: 0 };
  const startedMs = performance.now();
  const ending = new AbortController();
  // Before anything else: from here on the signal is heard.
  process.once("SIGTERM", () => void print());
  let isReady = false;
  const sayReady = (): void => {
    if (!isReady) process.stdout.write(READY);
    isReady = true;
  };
  const add = (map: Record<string, number>, key: string): void => void (map[key] = (map[key] ?? 0) + 1);
  const kept = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const client = async (agent: Agent | false): Promise<void> => {
    while (!ending.signal.aborted) {
      const outcome = await ask(target, agent);
      sayReady();
      if (outcome.failure === undefined) {
        counts.ok += 1;
        add(counts.answers, outcome.body);
      } else {
        add(counts.failed, outcome.failure);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_none, index) => client(index % 2 === 0 ? kept : false));
  const print = async (): Promise<void> => {
    ending.abort();
    await Promise.all(clients);
    kept.destroy();
    console.log(JSON.stringify({ ...counts, elapsedMs: performance.now() - startedMs }));
  };
}

function ask(target: string, agent: Agent | false): Promise<{ body: string; failure: string | undefined }> {
  return new Promise((resolve) => {
    const fail = (failure: string): void => resolve({ body: "", failure });
    const sent = request(`http://${target}/`, { agent, timeout: REQUEST_MS }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => (body += chunk));
      answer.on("error", (error) => fail(`answer: ${error.message}`));
      answer.on("end", () => {
        if (!answer.complete) fail("answer: cut short");
        else resolve({ body, failure: answer.statusCode === 200 ? undefined : `status ${answer.statusCode}` });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer")));
    sent.on("error", (error) => fail(error.message));
    sent.end();
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) run(process.argv[2] ?? "");
