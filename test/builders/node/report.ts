// A report that really serves, on a loopback port of its own and a socket in a temporary directory, with the agent's parts in
// the test's hand.

import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { DockerExec, DockerReader, ExecOptions } from "../../../agent/docker/reader.ts";
import type { Clock } from "../../../agent/host/os/clock.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import { Report } from "../../../agent/report/report.ts";
import type { ReportOptions, ReportParts } from "../../../agent/report/report-options.ts";
import { Serving, type ServingOptions } from "../../../agent/serve/serving.ts";
import type { Request } from "../../../shared/state/request.ts";
import type { TurnSummary } from "../../../shared/state/event.ts";
import type { ExitRecord, ReleaseRecord } from "../../../shared/state/memory.ts";
import { FakeEngine } from "../../fakes/fake-engine.ts";
import { buildTurn, type TurnParts } from "./turns.ts";

/** What a test may choose. */
export interface ReportChoices {
  clock?: Clock;
  options?: Partial<ReportOptions>;
  serving?: Partial<ServingOptions>;
  parts?: Partial<ReportParts>;
  exits?: readonly ExitRecord[];
  /** Good releases of every service, newest first. */
  releases?: readonly ReleaseRecord[];
  /** Leaves the report without its agent, as it is while that starts. */
  detached?: boolean;
}

/** An answer, whole. */
export interface HttpAnswer {
  status: number;
  headers: IncomingMessage["headers"];
  body: string;
}

/** What to ask. */
export interface HttpQuestion {
  path: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** Ends reading after so long: for streams. */
  withinMs?: number;
}

/** The uid that acts come from, unless a test says otherwise. */
export const UID = 1_234;

/** A report that serves. */
export class TestReport {
  readonly directory = mkdtempSync(join(tmpdir(), "orca-report-"));
  readonly socketPath = join(this.directory, "run", "agent.sock");
  readonly stateDir = join(this.directory, "state");
  readonly requests: Request[] = [];
  readonly opened: { container: string; options: ExecOptions }[] = [];
  readonly report: Report;
  readonly serving: Serving;
  log = "";

  constructor(choices: ReportChoices = {}) {
    const { clock = systemClock, exits = [], releases = [] } = choices;
    try {
      this.report = this.#buildReport(choices, clock);
      this.serving = this.#buildServing(choices, clock);
    } catch (error) {
      rmSync(this.directory, { recursive: true });
      throw error;
    }
    if (choices.detached === true) return;
    const engine = new FakeEngine(clock);
    this.report.attach({
      store: {
        listExits: (service) => exits.filter((exit) => exit.service === service),
        listReleases: () => [...releases],
      },
      reader: engine.reader satisfies DockerReader,
      exec: this.#buildExec(engine.exec),
      request: (request) => this.requests.push(request),
      ...choices.parts,
    });
  }

  async start(): Promise<this> {
    await this.report.start();
    await this.serving.start();
    return this;
  }

  /** One turn of the loop. */
  turn(parts: TurnParts): TurnSummary {
    const turn = buildTurn(parts);
    this.report.emit({ kind: "turn", atMs: turn.endedMs, turn });
    return turn;
  }

  async dispose(): Promise<void> {
    await this.serving.close();
    await this.report.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Asks on loopback. */
  get(question: HttpQuestion | string, at = 0): Promise<HttpAnswer> {
    const [host = "", port = ""] = (this.serving.addresses[at] ?? "").split(":");
    return ask({ host, port }, typeof question === "string" ? { path: question } : question);
  }

  /** Asks on the socket. */
  onSocket(question: HttpQuestion | string): Promise<HttpAnswer> {
    return ask({ socketPath: this.socketPath }, typeof question === "string" ? { path: question } : question);
  }

  #buildReport(choices: ReportChoices, clock: Clock): Report {
    return new Report({
      node: "vm1",
      version: "1.2.3",
      stateDir: this.stateDir,
      clock,
      startedMs: clock.nowMs(),
      logger: createLogger("debug", { write: (line) => void (this.log += line) }),
      ...choices.options,
    });
  }

  #buildServing(choices: ReportChoices, clock: Clock): Serving {
    return new Serving(this.report, {
      listen: ["127.0.0.1:0"],
      socketPath: this.socketPath,
      clock,
      onTrouble: (message) => (this.log += message),
      credentials: () => Promise.resolve({ pid: 1, uid: UID, gid: UID }),
      ...choices.serving,
    });
  }

  /** An exec that says what it was given, echoes its input and ends with 7 when that ends. */
  #buildExec(fake: DockerExec): DockerExec {
    return {
      run: (container, command, timeoutMs) => fake.run(container, command, timeoutMs),
      open: (container, options) => {
        this.opened.push({ container, options });
        let end: (code: number) => void = () => undefined;
        const ended = new Promise<number>((resolve) => (end = resolve));
        options.onChunk(Buffer.from("to stderr"), "stderr");
        return Promise.resolve({
          write: (chunk: Buffer) => options.onChunk(chunk, "stdout"),
          endInput: () => end(7),
          resize: (columns: number, rows: number) => {
            options.onChunk(Buffer.from(`${columns}x${rows}`), "stdout");
            return Promise.resolve();
          },
          ended,
          close: () => end(-1),
        });
      },
    };
  }
}

/** One request, whole. */
export function ask(where: object, question: HttpQuestion): Promise<HttpAnswer> {
  const { path, method = "GET", headers = {}, body, withinMs } = question;
  return new Promise((resolve, reject) => {
    const request = requestHttp({ ...where, path, method, headers, agent: false }, (response) => {
      let text = "";
      const settle = (): void => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      response.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
      response.on("end", settle);
      response.on("error", settle);
      if (withinMs !== undefined) {
        setTimeout(() => {
          settle();
          request.destroy();
        }, withinMs);
      }
    });
    request.on("error", reject);
    request.end(body);
  });
}
