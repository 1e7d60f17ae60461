// How late this machine wakes a process that waits for a timer, measured by one beside a test: on a busy or throttled machine real
// times say how busy it is, and nothing of what was to be measured. As a program it counts until its standard input ends.

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const EVERY_MS = 20;

/** A measurement that is under way. */
export class WakeLateness {
  readonly #process: ChildProcess;
  #printed = "";

  constructor() {
    this.#process = spawn(process.execPath, [fileURLToPath(import.meta.url), "count"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#process.stdout?.setEncoding("utf8").on("data", (chunk: string) => (this.#printed += chunk));
  }

  /** Ends it; answers by how many milliseconds nine of ten waits were late at most. */
  async end(): Promise<number> {
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.stdin?.end();
    await closed;
    return Number(this.#printed);
  }
}

function count(): void {
  const late: number[] = [];
  let dueMs = performance.now() + EVERY_MS;
  const wait = (): void => {
    setTimeout(() => {
      late.push(Math.max(0, performance.now() - dueMs));
      dueMs = performance.now() + EVERY_MS;
      wait();
    }, EVERY_MS);
  };
  wait();
  process.stdin.resume().once("end", () => {
    const sorted = late.toSorted((left, right) => left - right);
    process.stdout.write(String(sorted[Math.floor(sorted.length * 0.9)] ?? 0), () => process.exit(0));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === "count") count();
