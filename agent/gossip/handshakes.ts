// Streams that others have opened and that have not shown a key yet: so many from strangers together, and so many from the
// address of each peer, so that a flood takes nobody's place. Used by the transport alone.

import type { Socket } from "node:net";

import type { CancelTimer, Clock } from "../host/clock.ts";

/** How long a handshake may take; it ceases to count after that in any case. */
export const HANDSHAKE_MS = 5_000;
const MOST_OF_STRANGERS = 64;
const MOST_OF_A_PEER = 8;
const STRANGERS = "strangers";

/** What counting needs. */
interface HandshakeOptions {
  clock: Clock;
  /** Is this the address of a node of the realm? */
  isPeerAddress(address: string): boolean;
}

/** Counts them. */
export class Handshakes {
  readonly #options: HandshakeOptions;
  readonly #open = new Map<string, { socket: Socket; from: string; cancel: CancelTimer }>();

  constructor(options: HandshakeOptions) {
    this.#options = options;
  }

  /** A stream counts until it has shown its key or has ended; false where it is one too many. */
  begin(socket: Socket): boolean {
    // Whoever has sent a first packet and answered ours is at the address that it names.
    const address = socket.remoteAddress ?? "";
    const isPeer = this.#options.isPeerAddress(address);
    const from = isPeer ? address : STRANGERS;
    const waiting = [...this.#open.values()].filter((entry) => entry.from === from).length;
    if (waiting >= (isPeer ? MOST_OF_A_PEER : MOST_OF_STRANGERS)) return false;
    const name = nameSocket(socket);
    const cancel = this.#options.clock.after(HANDSHAKE_MS, () => this.#forget(name));
    socket.once("close", () => this.#forget(name));
    this.#open.set(name, { socket, from, cancel });
    return true;
  }

  /** It has shown a key, or will not. */
  end(socket: Socket): void {
    this.#forget(nameSocket(socket));
  }

  /** Ends every stream that still counts. */
  close(): void {
    for (const [name, { socket }] of this.#open) {
      socket.destroy();
      this.#forget(name);
    }
  }

  #forget(name: string): void {
    this.#open.get(name)?.cancel();
    this.#open.delete(name);
  }
}

function nameSocket({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}
