// A way on which an alert leaves the node, and how patiently it is tried. Implemented by alert-webhook.ts, gitea-issues.ts and
// alert-chain.ts, used by alerts.ts.

import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import type { AlertMessage } from "./alert-message.ts";

/** How a delivery ended: `refused` will not be taken however often it is tried, `failed` may be later. */
export type Delivery = { kind: "delivered" } | { kind: "refused"; status: number } | { kind: "failed"; reason: string };

/** What one attempt came to. */
export type Attempt = Exclude<Delivery, { kind: "failed" }> | { kind: "failed"; reason: string; retryAfterMs: number };

/** Takes messages, one after the other. */
export interface AlertChannel {
  /** Delivers one message, or says why not. Never throws. */
  deliver(message: AlertMessage): Promise<Delivery>;
  /** What people should know although messages are delivered; undefined where that is nothing. */
  readonly trouble?: string | undefined;
  /** Waits no longer; what is under way ends by itself. */
  close(): void;
}

const LONGEST_WAIT_MS = 300_000;

/** Tries again after waits, until it is closed. */
export class Patience {
  readonly #clock: Clock;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Makes an attempt, and further ones after each of the waits while they fail. */
  async keepTrying(attempt: () => Promise<Attempt>, waitsMs: readonly number[]): Promise<Delivery> {
    for (const waitMs of [...waitsMs, undefined]) {
      const end = await attempt();
      if (end.kind !== "failed" || waitMs === undefined || this.#closed) return end;
      await this.#sleep(Math.min(LONGEST_WAIT_MS, Math.max(waitMs, end.retryAfterMs)));
    }
    return { kind: "failed", reason: "it was closed" };
  }

  /** Waits no longer. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => undefined;
      this.#wake = () => {
        cancel();
        resolve();
      };
      cancel = this.#clock.after(delayMs, resolve);
    });
  }
}
