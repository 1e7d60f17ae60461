// A whole agent on a fake engine that tells real HTTP servers on loopback of trouble, by fleet.toml: a chat's webhook, the forge's issues, an
// address outside. The test plays peers, stores and the host.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createLogger } from "../../../agent/report/log/logger.ts";
import type { AlertMessage } from "../../../agent/report/notify/alert-message.ts";
import { Report } from "../../../agent/report/report.ts";
import type { ReportParts } from "../../../agent/report/report-options.ts";
import type { HostSample } from "../../../agent/report/status/report-state.ts";
import type { PeerView } from "../../../agent/gossip/core/gossip.ts";
import type { Clock } from "../../../agent/host/os/clock.ts";
import { LoopbackServer } from "../../../scripts/lab/git/loopback-server.ts";
import { beginCounts, beginRefusals } from "../../../shared/fleet/gossip-stats.ts";
import { FakeGitea } from "../../fakes/fake-gitea.ts";
import { FakeSecrets } from "../../fakes/fake-secrets.ts";
import { NODE, TestNode } from "./node.ts";

/** What the chat answers. */
export type ChatAnswer = number | "hang";

const GIB = 2 ** 30;

/** One message as the chat was given it, with when. */
export type TakenAlert = AlertMessage & { takenMs: number };

/** A node that tells. */
export class AlertNode {
  readonly secrets = new FakeSecrets();
  readonly forge = new FakeGitea();
  readonly forgeDir = mkdtempSync(join(tmpdir(), "orca-alerts-"));
  readonly taken: TakenAlert[] = [];
  /** Requests of the address outside. */
  beats = 0;
  answer: ChatAnswer = 200;
  /** How often the chat was asked, whatever it answered. */
  asked = 0;
  peers: PeerView[] = [];
  parts: Partial<ReportParts> = {};
  host: HostSample = {
    memoryTotalBytes: 8 * GIB,
    memoryAvailableBytes: 6 * GIB,
    cpus: 2,
    cpuLoadPercent: 5,
    uptimeSeconds: 1_000,
    disks: [{ path: "/", totalBytes: 100 * GIB, freeBytes: 60 * GIB, inodes: 1_000, inodesFree: 900 }],
  };
  log = "";
  readonly node: TestNode;
  report: Report | undefined;
  readonly #chat = new LoopbackServer();

  constructor() {
    this.node = new TestNode({ secrets: this.secrets, openSink: (clock, stateDir) => this.#openSink(clock, stateDir) });
  }

  /** The servers listen; the agent is not started yet. */
  async open(): Promise<this> {
    await this.#chat.start((request, response) => void this.#take(request, response), undefined);
    await this.forge.start();
    this.useToken("keeper");
    const origin = `http://127.0.0.1:${this.#chat.port}`;
    this.secrets.values.set("/prod/alerts/chat", `${origin}/chat/CANARY-URL`);
    this.secrets.values.set("/prod/alerts/outside", `${origin}/outside/CANARY-URL`);
    return this;
  }

  /** The forge's token is this one from now on. */
  useToken(token: string): void {
    writeFileSync(join(this.forgeDir, "token"), `${token}\n`, { mode: 0o600 });
  }

  /** fleet.toml with this table. */
  tell(alerts: string): void {
    const nodes = `[nodes.${NODE}]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "8GiB"\n`;
    this.node.source.setFleet(`${nodes}[alerts]\n${alerts}\n`);
  }

  /** What was told of a subject and state; with `resolved` that it is over. */
  of(subject: string, state: string | undefined, resolved = false): TakenAlert[] {
    return this.taken.filter(
      (message) =>
        message.subject === subject &&
        message.resolved === resolved &&
        (state === undefined || message.state === state),
    );
  }

  /** Moves time until something holds, while real answers come in. */
  async until(condition: () => boolean, what: string, stepMs = 1_000, rounds = 1_500): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      if (condition()) return;
      await this.node.clock.advance(stepMs);
      await sleep(2);
    }
    throw new Error(
      `${what} did not come about; told: ${JSON.stringify(this.taken.map(({ text }) => text))}\n${this.log}`,
    );
  }

  /** Time passes, and answers come in. */
  async pass(forMs: number, stepMs = 60_000): Promise<void> {
    for (let leftMs = forMs; leftMs > 0; leftMs -= stepMs) {
      await this.node.clock.advance(Math.min(stepMs, leftMs));
      await sleep(2);
    }
    await sleep(60);
  }

  async dispose(): Promise<void> {
    await this.node.dispose();
    await this.#chat.stop();
    await this.forge.stop();
    rmSync(this.forgeDir, { recursive: true, force: true });
  }

  #openSink(clock: Clock, stateDir: string) {
    const report = new Report({
      node: NODE,
      version: "1.2.3",
      stateDir,
      clock,
      startedMs: clock.nowMs(),
      bootId: this.node.bootId,
      logger: createLogger("info", { write: (line) => void (this.log += line) }),
      forge: { url: this.forge.url, apiUrl: undefined, caFile: undefined, tokenFile: join(this.forgeDir, "token") },
      alertTimeoutMs: 300,
      readHost: async () => this.host,
    });
    this.report = report;
    void report.start();
    let attached = false;
    return {
      hear: (event: Parameters<Report["emit"]>[0]): void => {
        if (!attached) this.#attach(report);
        attached = true;
        report.emit(event);
      },
      note: undefined,
      close: () => report.close(),
      isBusy: false,
    };
  }

  #attach(report: Report): void {
    const { agent } = this.node;
    report.attach({
      store: agent.store,
      reader: agent.reader,
      exec: this.node.engine.exec,
      request: (request) => agent.request(request),
      readSecret: (path) => agent.readSecret(path),
      fleet: {
        notes: [],
        realm: "prod",
        refusals: {},
        stats: {
          ...beginCounts(),
          links: 0,
          framesSent: 0,
          framesReceived: 0,
          bytesSent: 0,
          bytesReceived: 0,
          refused: beginRefusals(),
          strain: 1,
        },
        words: {},
        view: () => this.peers,
      },
      ...this.parts,
    });
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    if (request.url?.startsWith("/outside/") === true) {
      this.beats += 1;
      response.writeHead(200).end();
      return;
    }
    this.asked += 1;
    if (this.answer === "hang") return;
    if (this.answer === 200)
      this.taken.push({ ...(JSON.parse(body) as AlertMessage), takenMs: this.node.clock.nowMs() });
    response.writeHead(this.answer).end("no");
  }
}
