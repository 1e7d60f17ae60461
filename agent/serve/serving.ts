// Everything that answers people and acts for them, for one agent: loopback, the socket, live events. Made by daemon.ts above the
// report, which knows the node and nobody who asks.

import type { Clock } from "../host/os/clock.ts";
import type { Report } from "../report/report.ts";
import type { Served } from "../report/report-options.ts";
import type { ActParts } from "./acts.ts";
import type { BackupDesk } from "./backup-routes.ts";
import type { DrillDesk } from "./drill-routes.ts";
import type { PruneDesk } from "./prune-routes.ts";
import type { RestoreDesk } from "./restore-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { LiveEvents } from "./live-events.ts";
import { Loopback } from "./loopback.ts";
import { SocketServer } from "./socket-server.ts";
import { selectTakenPorts } from "./taken-ports.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Where an agent is reached. */
export interface ServingOptions {
  /** `host:port` on loopback; the first is bound at once, the others after the first turn. */
  listen: readonly string[];
  /** The unix socket; undefined for none. */
  socketPath: string | undefined;
  clock: Clock;
  /** Something of it could not be done. */
  onTrouble(message: string): void;
  /** Only for tests: the kernel's word on who is on the other end of the socket. */
  credentials?: NonNullable<ActParts["credentials"]>;
}

/** What serves one agent. */
export class Serving {
  readonly #live: LiveEvents;
  readonly #loopback: Loopback;
  readonly #socket: SocketServer | undefined;
  #backups: BackupDesk | undefined;
  #prunes: PruneDesk | undefined;
  #restores: RestoreDesk | undefined;
  #drills: DrillDesk | undefined;

  /** Throws when an address to listen on is not on loopback. */
  constructor(report: Report, options: ServingOptions) {
    const { listen, socketPath: path, clock } = options;
    const { view } = report;
    const live = new LiveEvents(clock);
    const acts = {
      ...buildActs(report, options),
      backups: () => this.#backups,
      prunes: () => this.#prunes,
      restores: () => this.#restores,
      drills: () => this.#drills,
    };
    this.#live = live;
    this.#loopback = new Loopback({ listen, clock, view, live });
    this.#socket = path === undefined ? undefined : new SocketServer({ path, clock, view, live, acts });
    report.showServed(() => this.served);
    report.onChange((change) => live.publish(change));
    report.onTurn(({ desired }) => {
      const taken = desired === undefined ? new Map<number, string>() : selectTakenPorts(desired, listen);
      this.#loopback.leavePorts(taken).catch((error: unknown) => options.onTrouble(String(error)));
    });
  }

  /** What answers for backups; until then nobody does. */
  offerBackups(backups: BackupDesk, restores: RestoreDesk): void {
    this.#backups = backups;
    this.#restores = restores;
  }

  /** What answers for drills; until then nobody does. */
  offerDrills(drills: DrillDesk): void {
    this.#drills = drills;
  }

  /** What answers for prunes; until then nobody does. */
  offerPrunes(prunes: PruneDesk): void {
    this.#prunes = prunes;
  }

  /** Begins to serve. What cannot be bound is a note in the status and no failure. */
  async start(): Promise<void> {
    await Promise.all([this.#loopback.start(), this.#socket?.start()]);
  }

  /** Ends serving. */
  async close(): Promise<void> {
    this.#live.close();
    await Promise.all([this.#loopback.close(), this.#socket?.close()]);
  }

  /** Where status is served now. */
  get addresses(): string[] {
    return this.#loopback.addresses;
  }

  /** Where people and programs reach it, and what could not be bound. */
  get served(): Served {
    const troubles = [...this.#loopback.notes, this.#socket?.trouble].filter((trouble) => trouble !== undefined);
    return { addresses: this.addresses, socket: this.#socket?.servedPath, troubles };
  }
}

function buildActs(
  report: Report,
  { clock, credentials }: ServingOptions,
): Omit<ActParts, "backups" | "prunes" | "restores" | "drills"> {
  return {
    clock,
    view: report.view,
    emit: report.emit,
    record: (entry) => report.record(entry),
    request: () => report.parts?.request.bind(report.parts),
    reader: () => report.parts?.reader,
    exec: () => report.parts?.exec,
    redact: (text) => report.parts?.redact?.(text) ?? text,
    planNow: (call) => planNow(report, call),
    worlds: (call) => answerWorlds(report, call),
    findRelease: (service, to) => report.findRelease(service, to),
    judgeRelease: async (service, fingerprint) => report.parts?.judgeRelease?.(service, fingerprint),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

async function planNow(report: Report, call: Call): Promise<Answer> {
  const plan = report.parts?.planNow?.bind(report.parts);
  if (plan === undefined) return answerError(call, 503, "the agent cannot plan just now: try again in a moment");
  try {
    return answerJson(200, await plan());
  } catch (error) {
    return answerError(call, 503, readMessage(error));
  }
}

function answerWorlds({ parts }: Report, call: Call): Answer {
  if (parts?.printWorlds === undefined) return answerError(call, 503, "no agent has planned here yet");
  return { status: 200, type: "application/json; charset=utf-8", body: parts.printWorlds() };
}
