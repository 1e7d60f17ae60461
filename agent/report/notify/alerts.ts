// Tells somebody outside of changes that matter, through a webhook. What is told is for alert-judge.ts to say, and how it
// gets there for alert-webhook.ts; this keeps the two going. Never logs the URL.

import { nameHelp } from "../../../shared/text/help-topic.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { Clock } from "../../host/os/clock.ts";
import {
  type Alert,
  type AlertMemory,
  EMPTY_ALERTS,
  forgetAlert,
  judgeAlerts,
  listConditions,
  moveAlerts,
  type Severity,
} from "./alert-judge.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import { listBackupConditions } from "./backup-conditions.ts";
import type { ReportLogger } from "../log/log-events.ts";
import type { ReportState } from "../status/report-state.ts";
import { toIso } from "../status/status-builder.ts";
import { Webhook } from "./alert-webhook.ts";

/** What a host says about alerts. */
export interface AlertOptions {
  url: Secret;
  min: Severity;
  /** The same service and state is told once in so long. */
  repeatMs: number;
}

/** What alerts need besides. */
export interface AlertParts {
  node: string;
  version: string;
  clock: Clock;
  logger: ReportLogger;
  /** What was told before this agent started. */
  memory?: AlertMemory | undefined;
  /** For tests: how long one attempt may take. */
  timeoutMs?: number;
}

/** The body of one message. Chat services show `text`. */
export interface AlertMessage {
  version: 1;
  node: string;
  /** Null for the node itself: its engine, source, disks. */
  service: string | null;
  subject: string;
  state: string;
  previous: string | null;
  reason: string;
  severity: Severity;
  at: string;
  revision: string | null;
  resolved: boolean;
  /** The command that prints the page about it; null where there is nothing to do. */
  help: string | null;
  text: string;
}

const MOST_WAITING = 200;
/** After a message could not be delivered, nothing is judged for so long. */
const REST_MS = 300_000;

/** Sends alerts to one webhook. */
export class Alerts {
  readonly #options: AlertOptions;
  readonly #parts: AlertParts;
  readonly #webhook: Webhook;
  #memory: AlertMemory;
  readonly #queue: Alert[] = [];
  #sending: Promise<void> | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #refused: number | undefined;
  #closed = false;
  /** What is wrong with telling, in words. */
  trouble: string | undefined;

  constructor(options: AlertOptions, parts: AlertParts) {
    this.#options = options;
    this.#parts = parts;
    this.#memory = parts.memory ?? EMPTY_ALERTS;
    const timeout = parts.timeoutMs === undefined ? {} : { timeoutMs: parts.timeoutMs };
    this.#webhook = new Webhook({
      url: options.url,
      clock: parts.clock,
      userAgent: `orca/${parts.version}`,
      ...timeout,
    });
  }

  /** What was told so far, to be kept over a restart. */
  get memory(): AlertMemory {
    return this.#memory;
  }

  /** The wall clock was set by so much. */
  move(stepMs: number): void {
    this.#memory = moveAlerts(this.#memory, stepMs);
  }

  /** Looks at what is known, and tells what is new. */
  look(state: ReportState, auditTrouble: string | undefined, standings: readonly StoreStanding[] = []): void {
    const { clock } = this.#parts;
    if (this.#closed || !state.known || clock.monotonicMs() < this.#restUntilMs) return;
    if (this.#queue.length >= MOST_WAITING) return;
    const nowMs = clock.nowMs();
    const conditions = [...listConditions(state, nowMs, auditTrouble), ...listBackupConditions(standings, nowMs)];
    const judged = judgeAlerts(this.#memory, conditions, this.#options, nowMs);
    this.#memory = judged.memory;
    this.#queue.push(...judged.alerts);
    this.#begin();
  }

  /** Ends; what waits is not sent now, and is told by the next agent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) this.#memory = forgetAlert(this.#memory, waiting);
    this.#webhook.close();
    await this.#sending;
  }

  #begin(): void {
    if (this.#sending !== undefined || this.#queue.length === 0) return;
    this.#sending = this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    for (let alert = this.#queue.shift(); alert !== undefined; alert = this.#queue.shift()) await this.#send(alert);
  }

  async #send(alert: Alert): Promise<void> {
    const { logger, clock } = this.#parts;
    const delivery = await this.#webhook.deliver(this.#buildMessage(alert));
    const fields = { subject: alert.subject, state: alert.state, severity: alert.severity };
    switch (delivery.kind) {
      case "delivered":
        this.trouble = undefined;
        this.#refused = undefined;
        return logger.info(fields, "alert sent");
      case "refused": {
        // Said once: the same answer comes to every message until a person changes the webhook.
        this.trouble = `the alert webhook refuses messages with ${delivery.status}: nobody is told`;
        if (this.#refused !== delivery.status) logger.error({ ...fields, status: delivery.status }, "alert refused");
        this.#refused = delivery.status;
        return undefined;
      }
      case "failed":
        this.trouble = `the alert webhook does not take messages (${delivery.reason}): tried again later`;
        logger.warn({ ...fields, reason: delivery.reason }, "alert not delivered");
        for (const waiting of [alert, ...this.#queue.splice(0)]) this.#memory = forgetAlert(this.#memory, waiting);
        this.#restUntilMs = clock.monotonicMs() + REST_MS;
        return undefined;
      default:
        return delivery satisfies never;
    }
  }

  #buildMessage(alert: Alert): AlertMessage {
    const { node } = this.#parts;
    const { service, subject, state, previous, reason, severity, atMs, revision, resolved, page } = alert;
    const help = page === undefined || resolved ? null : nameHelp(page);
    const who = service === undefined ? `${node} ${subject.slice(1)}` : `${node}/${service}`;
    const word = resolved ? "resolved" : severity;
    return {
      version: 1,
      node,
      service: service ?? null,
      subject,
      state,
      previous: previous ?? null,
      reason,
      severity,
      at: toIso(atMs),
      revision: revision ?? null,
      resolved,
      help,
      text: `[${word}] ${who} is ${state}${reason === "" ? "" : `: ${reason}`}${help === null ? "" : ` (${help})`}`,
    };
  }
}
