// Server-sent events: one for each change of a service's state, to whoever listens at /events. A reader that does not keep
// up is let go; it connects again and reads the status anew.

import type { ServerResponse } from "node:http";

import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { beginStream } from "./http-answer.ts";
import { printJson } from "../report/text/public-text.ts";
import type { StatusChange } from "../report/status/report-state.ts";
import { toIso } from "../report/status/status-builder.ts";

const MOST_READERS = 32;
const HEARTBEAT_MS = 15_000;
const MOST_WAITING_BYTES = 256 * 1024;

/** Everybody who listens. */
export class LiveEvents {
  readonly #clock: Clock;
  readonly #readers = new Set<ServerResponse>();
  #cancel: CancelTimer | undefined;
  #sent = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds a reader; false when there are too many. */
  add(response: ServerResponse, hello: object): boolean {
    if (this.#readers.size >= MOST_READERS) return false;
    beginStream(response, "text/event-stream; charset=utf-8");
    this.#readers.add(response);
    response.once("close", () => this.#readers.delete(response));
    response.write(`retry: 3000\n\n${describeEvent("hello", hello)}`);
    this.#cancel ??= this.#clock.after(HEARTBEAT_MS, () => this.#beat());
    return true;
  }

  /** Tells everybody of a change. */
  publish(change: StatusChange): void {
    const { service, state, previous, reason, revision, atMs } = change;
    this.#sent += 1;
    this.#send(
      `id: ${this.#sent}\n` +
        describeEvent("state", {
          service,
          state: state ?? null,
          previous: previous ?? null,
          reason,
          revision: revision ?? null,
          at: toIso(atMs),
        }),
    );
  }

  /** Ends every stream. */
  close(): void {
    this.#cancel?.();
    for (const response of this.#readers) response.end();
    this.#readers.clear();
  }

  /** A comment now and then: without it nobody notices that the other end is gone. */
  #beat(): void {
    this.#cancel = undefined;
    this.#send(": still here\n\n");
    if (this.#readers.size > 0) this.#cancel = this.#clock.after(HEARTBEAT_MS, () => this.#beat());
  }

  #send(text: string): void {
    for (const response of this.#readers) {
      if (response.writableLength > MOST_WAITING_BYTES) response.destroy();
      else response.write(text);
    }
  }
}

/** JSON holds no line break, so one line of data is always enough. */
function describeEvent(name: string, data: object): string {
  return `event: ${name}\ndata: ${printJson(data)}\n\n`;
}
