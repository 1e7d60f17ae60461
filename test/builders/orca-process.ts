// The real program as its own process, for tests that kill it.

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../agent/main.ts", import.meta.url));

/** Where to run it. */
export interface OrcaOptions {
  /** A network namespace by its file. */
  namespace?: string;
  /** Gives it a /run/orca of its own, so that several agents run on one machine. */
  ownRun?: boolean;
  environment?: Record<string, string>;
  /** The program; the checkout's own unless a bundle is meant. */
  entry?: string;
  /** Flags of the runtime. */
  flags?: readonly string[] | undefined;
}

/** One run of `orca …`. */
export class OrcaProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = "";

  constructor(parameters: readonly string[], options: OrcaOptions = {}) {
    const plain = [process.execPath, ...(options.flags ?? []), options.entry ?? MAIN, ...parameters];
    const mount = 'mkdir -p /run/orca && mount -t tmpfs tmpfs /run/orca && exec "$@"';
    const command = options.ownRun === true ? ["unshare", "--mount", "sh", "-c", mount, "sh", ...plain] : plain;
    const [program = "", ...rest] =
      options.namespace === undefined ? command : ["nsenter", `--net=${options.namespace}`, ...command];
    this.child = spawn(program, rest, { env: { ...process.env, NO_COLOR: "1", ...options.environment } });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.exited = new Promise((resolve) => this.child.once("exit", (code) => resolve(code)));
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  /** SIGTERM, as systemd sends it. */
  async stop(): Promise<number | null> {
    this.child.kill("SIGTERM");
    return this.exited;
  }
}
