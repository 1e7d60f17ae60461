// Tells somebody outside of changes that matter, through a channel. What is told is for alert-judge.ts to say, and how it gets there for
// the channel; this keeps the two going.

import type { Secret } from "../../../shared/secret/secret.ts";
import type { Clock } from "../../host/os/clock.ts";
import {
  type Alert,
  type AlertLimits,
  type AlertMemory,
  type Condition,
  EMPTY_ALERTS,
  forgetAlert,
  judgeAlerts,
  moveAlerts,
  type Severity,
} from "./alert-judge.ts";
import type { ReportLogger } from "../log/log-events.ts";
import type { ReportState } from "../status/report-state.ts";
import type { AlertChannel } from "./alert-channel.ts";
import { buildMessage } from "./alert-message.ts";
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
  timeoutMs?: number | undefined;
}

/** The way that its messages take. */
export interface ChannelParts {
  channel: AlertChannel;
  /** Says of whom people are told when it does not take messages. */
  who: "the alert webhook does not take messages" | "no alert channel of fleet.toml takes messages";
}

/** Alerts to the one webhook that agent.toml names. */
export function openWebhookAlerts({ url, ...limits }: AlertOptions, parts: AlertParts): Alerts {
  const { clock, version, timeoutMs } = parts;
  const channel = new Webhook({ readUrl: () => url, clock, userAgent: `orca/${version}`, timeoutMs });
  return new Alerts(limits, { ...parts, channel, who: "the alert webhook does not take messages" });
}

const MOST_WAITING = 200;
/** After a message could not be delivered, nothing is judged for so long. */
const REST_MS = 300_000;

/** Sends alerts through one channel. */
export class Alerts {
  readonly #limits: AlertLimits;
  readonly #parts: AlertParts & ChannelParts;
  #memory: AlertMemory;
  readonly #queue: Alert[] = [];
  #sending: Promise<void> | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #refused: number | undefined;
  #closed = false;
  /** What is wrong with telling, in words. */
  trouble: string | undefined;

  constructor(limits: AlertLimits, parts: AlertParts & ChannelParts) {
    this.#limits = limits;
    this.#parts = parts;
    this.#memory = parts.memory ?? EMPTY_ALERTS;
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
  look(state: ReportState, conditions: readonly Condition[]): void {
    const { clock } = this.#parts;
    if (this.#closed || !state.known || clock.monotonicMs() < this.#restUntilMs) return;
    if (this.#queue.length >= MOST_WAITING) return;
    const nowMs = clock.nowMs();
    const judged = judgeAlerts(this.#memory, conditions, this.#limits, nowMs);
    this.#memory = judged.memory;
    this.#queue.push(...judged.alerts);
    this.#begin();
  }

  /** Ends; what waits is not sent now, and is told by the next agent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) this.#memory = forgetAlert(this.#memory, waiting);
    this.#parts.channel.close();
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
    const delivery = await this.#parts.channel.deliver(buildMessage(alert, this.#parts.node));
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
        this.trouble = `${this.#parts.who} (${delivery.reason}): tried again later`;
        logger.warn({ ...fields, reason: delivery.reason }, "alert not delivered");
        for (const waiting of [alert, ...this.#queue.splice(0)]) this.#memory = forgetAlert(this.#memory, waiting);
        this.#restUntilMs = clock.monotonicMs() + REST_MS;
        return undefined;
      default:
        return delivery satisfies never;
    }
  }
}
