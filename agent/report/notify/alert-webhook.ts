// Delivers alerts to one webhook, one after the other. The URL is a secret: it is in no message, error or log line.

import { ask } from "../../http/exchange.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { parseRetryAfter } from "../../http/retry-after.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { Clock } from "../../host/os/clock.ts";
import { type AlertChannel, type Attempt, type Delivery, Patience } from "./alert-channel.ts";

/** What a webhook needs. */
export interface WebhookOptions {
  /** Its URL, or why it is not known now; asked before each attempt. */
  readUrl: () => Secret | { reason: string };
  clock: Clock;
  userAgent: string;
  /** How long one attempt may take. */
  timeoutMs?: number | undefined;
  /** The waits between attempts; left out, there are five within about three minutes. */
  waitsMs?: () => readonly number[];
}

const WAITS_MS = [1_000, 5_000, 25_000, 125_000];
const TIMEOUT_MS = 10_000;

/** Answers that mean "later", besides those from 500 on. */
const LATER = new Set([408, 425, 429]);

/** Posts to one webhook. */
export class Webhook implements AlertChannel {
  readonly #options: WebhookOptions;
  readonly #patience: Patience;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#patience = new Patience(options.clock);
  }

  /** Delivers one message; network failures and answers from 500 on are tried again, up to a bound. */
  deliver(body: object): Promise<Delivery> {
    const waitsMs = this.#options.waitsMs?.() ?? WAITS_MS;
    return this.#patience.keepTrying(() => this.#post(body), waitsMs);
  }

  close(): void {
    this.#patience.close();
  }

  async #post(body: object): Promise<Attempt> {
    const url = this.#options.readUrl();
    if ("reason" in url) return { kind: "failed", reason: url.reason, retryAfterMs: 0 };
    try {
      const { status, retryAfterMs } = await this.#send(url, body);
      if (status >= 200 && status < 300) return { kind: "delivered" };
      if (status >= 500 || LATER.has(status)) return { kind: "failed", reason: `it answered ${status}`, retryAfterMs };
      return { kind: "refused", status };
    } catch (error) {
      return { kind: "failed", reason: describeUnanswered(error), retryAfterMs: 0 };
    }
  }

  async #send(url: Secret, body: object): Promise<{ status: number; retryAfterMs: number }> {
    const { timeoutMs = TIMEOUT_MS, userAgent, clock } = this.#options;
    const { status, headers } = await ask({
      url: new URL(url.expose()),
      body: Buffer.from(JSON.stringify(body)),
      headers: { "content-type": "application/json", accept: "application/json", "user-agent": userAgent },
      deadlineMs: timeoutMs,
      keepRedirect: true,
      // Only the status matters.
      judge: () => ({ limitBytes: 0, cut: true }),
    });
    return { status, retryAfterMs: parseRetryAfter(headers["retry-after"], clock.nowMs()) ?? 0 };
  }
}

/** Why no answer came: the text of an error may hold the URL; its code never does. */
export function describeUnanswered(error: unknown): string {
  if (!(error instanceof ExchangeFailure)) return (error as { code?: string }).code ?? "no answer";
  const { fault } = error;
  if (fault.kind === "network") return fault.code;
  return fault.kind === "late" ? `no answer within ${fault.deadlineMs / 1_000} s` : fault.kind;
}
