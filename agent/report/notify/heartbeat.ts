// Calls an address outside at intervals while the loop turns: whoever watches that address tells when the calls stop, also when everything
// here is lost. The address is a secret: it is in no log line and no note. Used by fleet-alerts.ts.

import { ask } from "../../http/exchange.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { describeUnanswered } from "./alert-webhook.ts";

/** What it needs. */
export interface HeartbeatOptions {
  readUrl: () => Secret | { reason: string };
  everyMs: number;
  clock: Clock;
  userAgent: string;
  /** Does the loop turn? */
  isAlive: () => boolean;
  timeoutMs?: number | undefined;
}

const TIMEOUT_MS = 10_000;
/** One that did not get there is followed by the next so soon: after a start the address may not be known yet. */
const RETRY_MS = 10_000;

/** Calls until it is closed. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #cancel: CancelTimer = () => undefined;
  #closed = false;
  /** Why the last call was not taken, in words. */
  trouble: string | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#plan(0);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #plan(delayMs: number): void {
    this.#cancel = this.#options.clock.after(delayMs, () => void this.#beat());
  }

  async #beat(): Promise<void> {
    const isTaken = await this.#call();
    const { everyMs } = this.#options;
    if (!this.#closed) this.#plan(isTaken ? everyMs : Math.min(everyMs, RETRY_MS));
  }

  /** True where it was taken. Never rejects. */
  async #call(): Promise<boolean> {
    if (!this.#options.isAlive()) return false;
    const reason = await this.#ask();
    this.trouble = reason === undefined ? undefined : `the heartbeat of fleet.toml's [alerts] is not taken (${reason})`;
    return reason === undefined;
  }

  async #ask(): Promise<string | undefined> {
    const { readUrl, timeoutMs = TIMEOUT_MS, userAgent } = this.#options;
    const url = readUrl();
    if ("reason" in url) return url.reason;
    try {
      const { status } = await ask({
        url: new URL(url.expose()),
        headers: { "user-agent": userAgent },
        deadlineMs: timeoutMs,
        keepRedirect: true,
        judge: () => ({ limitBytes: 0, cut: true }),
      });
      return status >= 200 && status < 300 ? undefined : `it answered ${status}`;
    } catch (error) {
      return describeUnanswered(error);
    }
  }
}
