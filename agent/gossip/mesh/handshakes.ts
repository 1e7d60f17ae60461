// Streams that others opened and that have not shown a key yet: so many at once, and each with its time. Used by the transport.

import type { Socket } from "node:net";

import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { HANDSHAKE_MS, MOST_HANDSHAKES, MOST_HANDSHAKES_OF_A_PEER } from "../settings.ts";

const STRANGERS = "strangers";

/** Those of one node. */
export class Handshakes {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, { socket: Socket; from: string; cancel: CancelTimer }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A stream counts as unknown until it has shown its key, or has ended without; the handshake has its time in any case.
   * @param isPeer a peer's address: whoever has answered our first packet is at the address that it names
   * @returns false when there are too many
   */
  add(socket: Socket, isPeer: boolean): boolean {
    const from = isPeer ? (socket.remoteAddress ?? "") : STRANGERS;
    const waiting = [...this.#waiting.values()].filter((entry) => entry.from === from).length;
    if (waiting >= (isPeer ? MOST_HANDSHAKES_OF_A_PEER : MOST_HANDSHAKES)) return false;
    const name = nameSocket(socket);
    const cancel = this.#clock.after(HANDSHAKE_MS, () => this.#forget(name));
    socket.once("close", () => this.#forget(name));
    this.#waiting.set(name, { socket, from, cancel });
    return true;
  }

  /** It has shown its key, or has failed to. */
  end(socket: Socket): void {
    this.#forget(nameSocket(socket));
  }

  /** Ends them all. */
  close(): void {
    for (const [name, { socket }] of this.#waiting) {
      socket.destroy();
      this.#forget(name);
    }
  }

  #forget(name: string): void {
    this.#waiting.get(name)?.cancel();
    this.#waiting.delete(name);
  }
}

function nameSocket({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}
