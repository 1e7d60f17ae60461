// Commits rows one after the other, again and again with a pause, by a `psql` in the service's container that is begun anew where the server
// has ended; remembers each that was acknowledged, and when.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import type { PostgresNode } from "./postgres-node.ts";

/** A row that the server said it has. */
interface Acknowledged {
  id: number;
  /** By this process: the commit was before. */
  atMs: number;
}

/** Commits until it is stopped. */
export class Committer {
  readonly #acknowledged: Acknowledged[] = [];
  readonly #node: PostgresNode;
  readonly #statement: string;
  #isStopped = false;
  #child: ChildProcessWithoutNullStreams | undefined;

  /** @param statement inserts a row and returns its number */
  constructor(node: PostgresNode, statement: string, pauseMs: number) {
    this.#node = node;
    this.#statement = statement;
    void this.#run(pauseMs);
  }

  /** Resolves once another row was acknowledged. */
  async settle(): Promise<void> {
    const before = this.#acknowledged.length;
    while (this.#acknowledged.length === before) await sleep(20);
  }

  /** Answers what was acknowledged. */
  stop(): Acknowledged[] {
    this.#isStopped = true;
    this.#child?.kill("SIGKILL");
    return [...this.#acknowledged];
  }

  async #run(pauseMs: number): Promise<void> {
    while (!this.#isStopped) {
      await this.#session(pauseMs).catch(() => undefined);
      await sleep(200);
    }
  }

  async #session(pauseMs: number): Promise<void> {
    const container = this.#node.findContainer();
    if (container === "") return;
    const words = ["exec", "-i", container, "psql", "-h", "127.0.0.1", "-U", "app", "-Atq", "app"];
    const child = spawn("docker", words);
    this.#child = child;
    child.stdin.on("error", () => undefined);
    child.stderr.resume();
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (/^\d+$/.test(line)) this.#acknowledged.push({ id: Number(line), atMs: Date.now() });
    });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const isEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
    while (!this.#isStopped && !isEnded()) {
      child.stdin.write(`${this.#statement};\n`);
      await sleep(pauseMs);
    }
    await ended;
  }
}
