// Tells systemd that the agent is ready, alive or ending. Node has no unix datagram socket: `systemd-notify` speaks for it
// (the unit says NotifyAccess=all). Where systemd is not listening this does nothing.

import { execFile } from "node:child_process";

import type { Clock } from "./clock.ts";

/** The watchdog is fed at most this often; the loop turns every 30 s at the latest. */
const FEED_EVERY_MS = 10_000;

/** systemd, as one service of it. */
export class Systemd {
  readonly #clock: Clock;
  readonly #listens = process.env["NOTIFY_SOCKET"] !== undefined;
  #fedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The first turn is done: what depends on the agent may start. */
  ready(status: string): void {
    this.#notify("READY=1", `STATUS=${status}`);
  }

  /** A turn is done: fed by the loop's own progress, never by a timer, or it would prove nothing. */
  turned(status: string): void {
    if (this.#clock.monotonicMs() - this.#fedMs < FEED_EVERY_MS) return;
    this.#fedMs = this.#clock.monotonicMs();
    this.#notify("WATCHDOG=1", `STATUS=${status}`);
  }

  /** The agent ends. */
  stopping(): void {
    this.#notify("STOPPING=1");
  }

  #notify(...states: string[]): void {
    if (!this.#listens) return;
    // A failure to tell is systemd's to act on: it restarts an agent that it does not hear of.
    execFile("systemd-notify", states, () => undefined);
  }
}
