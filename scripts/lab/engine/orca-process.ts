// The real program as its own process, for tests that kill it. An agent among them is given the lane's marked secrets, and what
// it prints goes into the lane's journal too.

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";

import { type CanaryLane, findLane, openLaneStream } from "../canary/canary-lane.ts";
import { PROGRAM } from "./started-program.ts";

/** Where to run it. */
export interface OrcaOptions {
  /** A network namespace by its file. */
  namespace?: string;
  /** In place of /run/orca, so that several agents run on one machine: in memory, and the same for each start of a node. */
  runDir?: string;
  environment?: Record<string, string>;
  /** The program; the checkout's own unless a bundle is meant. */
  entry?: string;
  /** Flags of the runtime. */
  flags?: readonly string[] | undefined;
  /** Where it is started. */
  directory?: string;
}

/** One run of `orca …`. */
export class OrcaProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = "";

  constructor(parameters: readonly string[], options: OrcaOptions = {}) {
    const words = prepareAgent(parameters);
    const plain = [process.execPath, ...(options.flags ?? []), options.entry ?? PROGRAM, ...words];
    const [program = "", ...rest] =
      options.namespace === undefined ? plain : ["nsenter", `--net=${options.namespace}`, ...plain];
    const { directory: cwd, environment, runDir } = options;
    const own = runDir === undefined ? {} : { RUNTIME_DIRECTORY: runDir };
    this.child = spawn(program, rest, { cwd, env: { ...process.env, NO_COLOR: "1", ...own, ...environment } });
    const journal = openLaneStream("orca");
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
        journal?.write(chunk);
      });
    }
    this.child.once("close", () => journal?.end());
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

/** Of a command that runs an agent: notes that it lives, and gives it the marked secrets where it has none. */
function prepareAgent(parameters: readonly string[]): readonly string[] {
  const lane = findLane();
  const [command] = parameters;
  if (lane === undefined || parameters.includes("--help")) return parameters;
  if (command === "agent") noteAgent(lane, readStateDir(readOption(parameters, "--config")));
  if (command !== "up" || parameters.includes("--down")) return parameters;
  noteAgent(lane, readOption(parameters, "--state"));
  return parameters.includes("--secrets") ? parameters : [...parameters, "--secrets", lane.secrets.file];
}

function noteAgent(lane: CanaryLane, stateDir: string | undefined): void {
  if (stateDir !== undefined) lane.note({ kind: "born", stateDir });
}

function readOption(parameters: readonly string[], name: string): string | undefined {
  const at = parameters.indexOf(name);
  return at === -1 ? undefined : parameters[at + 1];
}

function readStateDir(config: string | undefined): string | undefined {
  return config === undefined ? undefined : /^state = \{ dir = "([^"]+)" \}/m.exec(readFileSync(config, "utf8"))?.[1];
}
