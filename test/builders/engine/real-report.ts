// A whole agent on the real engine with its report: status on a free loopback port, the socket, the audit log. Docker lane.

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "../../../agent/host/os/clock.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import { Report } from "../../../agent/report/report.ts";
import { Serving } from "../../../agent/serve/serving.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { openLaneStream } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { RealNode } from "../../../scripts/lab/engine/real-node.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

/** How a process ended, and what it said. */
export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** An agent and its report. */
export class RealReport {
  readonly node: RealNode;
  readonly socketPath: string;
  readonly stateDir: string;
  readonly report: Report;
  readonly serving: Serving;
  log = "";
  readonly #journal = openLaneStream("orca");

  constructor(name: string) {
    this.node = new RealNode(name);
    // Another user must get as far as the socket.
    chmodSync(this.node.root, 0o711);
    this.stateDir = this.node.stateDir;
    this.socketPath = join(this.node.root, "run", "agent.sock");
    this.report = new Report({
      node: this.node.node,
      version: "1.2.3",
      stateDir: this.stateDir,
      clock: systemClock,
      logger: createLogger("info", { write: (line) => this.#log(line) }),
      startedMs: systemClock.nowMs(),
    });
    this.serving = new Serving(this.report, {
      listen: ["127.0.0.1:0"],
      socketPath: this.socketPath,
      clock: systemClock,
      onTrouble: (message) => this.#log(message),
    });
    // Whatever the agent tells, the report hears first.
    const { events } = this.node;
    events.push = (...list: AgentEvent[]) => {
      for (const event of list) this.report.emit(event);
      return Array.prototype.push.apply(events, list);
    };
  }

  async start(): Promise<void> {
    await this.report.start();
    await this.serving.start();
    const agent = await this.node.start();
    const { engine } = this.node;
    this.report.attach({
      store: agent.store,
      reader: agent.reader,
      redact: (text) => agent.redact(text),
      exec: engine.exec,
      request: (request) => agent.request(request),
    });
  }

  async dispose(): Promise<void> {
    const { node, stateDir, socketPath } = this;
    const [listen] = this.serving.addresses;
    const places = { node: node.node, stateDir, socketPath, listen, texts: { "the log": this.log } };
    await expectNoSecretLeft(places, async () => {
      await node.stop();
      await this.serving.close();
      await this.report.close();
      this.#journal?.end();
      await node.dispose({ texts: { "the log": this.log } });
    });
  }

  #log(line: string): void {
    this.log += line;
    this.#journal?.write(line);
  }

  /** Runs `orca …` against this agent; `as` puts a program before it, such as setpriv with its options. */
  orca(
    parameters: readonly string[],
    choices: { input?: Buffer | string; as?: readonly string[] } = {},
  ): Promise<Ended> {
    return end(this.begin(parameters, choices.as), choices.input);
  }

  /** Begins `orca …` and leaves it running. */
  begin(parameters: readonly string[], as: readonly string[] = []): ChildProcess {
    const [program = "", ...rest] = [...as, process.execPath, PROGRAM, ...parameters];
    return spawn(program, rest, { env: { ...process.env, ORCA_SOCKET: this.socketPath, NO_COLOR: "1" } });
  }
}

/** Waits for the end of a process. */
export function end(child: ChildProcess, input: Buffer | string = ""): Promise<Ended> {
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (ended.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (ended.stderr += chunk.toString()));
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return new Promise((resolve) => child.once("close", (code) => resolve({ ...ended, code })));
}
