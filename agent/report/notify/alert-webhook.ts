// Delivers alerts to one webhook, one after the other. The URL is a secret: it is in no message, error or log line.

import { ask } from "../../http/exchange.ts";
import { ExchangeFailure } from "../../http/exchange-failure.ts";
import { parseRetryAfter } from "../../http/retry-after.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";

/** How a delivery ended. */
export type Delivery = { kind: "delivered" } | { kind: "refused"; status: number } | { kind: "failed"; reason: string };

/** What a webhook needs. */
export interface WebhookOptions {
  url: Secret;
  clock: Clock;
  userAgent: string;
  /** How long one attempt may take. */
  timeoutMs?: number;
}

/** Waits between attempts: five in all, within about three minutes. */
const WAITS_MS = [1_000, 5_000, 25_000, 125_000];
const LONGEST_WAIT_MS = 300_000;
const TIMEOUT_MS = 10_000;

/** Answers that mean "later", besides those from 500 on. */
const LATER = new Set([408, 425, 429]);

/** Posts to one webhook. */
export class Webhook {
  readonly #options: WebhookOptions;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  /** Delivers one message; network failures and answers from 500 on are tried again, up to a bound. */
  async deliver(body: object): Promise<Delivery> {
    for (const waitMs of [...WAITS_MS, undefined]) {
      const answer = await this.#post(body);
      if (answer.kind !== "failed" || waitMs === undefined || this.#closed) return answer;
      await this.#sleep(Math.min(LONGEST_WAIT_MS, Math.max(waitMs, answer.retryAfterMs)));
    }
    return { kind: "failed", reason: "it was closed" };
  }

  /** Waits no longer; what is under way ends by itself. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async #post(body: object): Promise<Exclude<Delivery, { kind: "failed" }> | (Delivery & Failed)> {
    try {
      const { status, retryAfterMs } = await this.#send(body);
      if (status >= 200 && status < 300) return { kind: "delivered" };
      if (status >= 500 || LATER.has(status)) return { kind: "failed", reason: `it answered ${status}`, retryAfterMs };
      return { kind: "refused", status };
    } catch (error) {
      return { kind: "failed", reason: describeReason(error), retryAfterMs: 0 };
    }
  }

  async #send(body: object): Promise<{ status: number; retryAfterMs: number }> {
    const { url, timeoutMs = TIMEOUT_MS, userAgent, clock } = this.#options;
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

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => undefined;
      this.#wake = () => {
        cancel();
        resolve();
      };
      cancel = this.#options.clock.after(delayMs, resolve);
    });
  }
}

interface Failed {
  kind: "failed";
  reason: string;
  retryAfterMs: number;
}

/** The text of an error may hold the URL; its code never does. */
function describeReason(error: unknown): string {
  if (!(error instanceof ExchangeFailure)) return (error as { code?: string }).code ?? "no answer";
  const { fault } = error;
  if (fault.kind === "network") return fault.code;
  return fault.kind === "late" ? `no answer within ${fault.deadlineMs / 1_000} s` : fault.kind;
}
