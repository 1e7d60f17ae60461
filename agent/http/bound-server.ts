// One server at its address: bound, tried again where it cannot be, ended with its connections, and bound anew when it is wanted again.
// Used by every part that listens: status on loopback, the agent's socket, the webhook, the mesh.

import type { Server } from "node:net";

import type { CancelTimer, Clock } from "../host/os/clock.ts";

/** What is bound, and how. */
export interface BindOptions {
  clock: Clock;
  /** After so long an address that could not be bound is tried again. */
  retryMs: number;
  /** Makes the server; called for each try. */
  make: () => Server | Promise<Server>;
  /** Makes it listen; calls back once it does. */
  listen: (server: Server, done: () => void) => void;
  /** What is left to do before it counts as bound. */
  finish?: () => Promise<void>;
  /** Told after each try: what was in the way, or nothing. */
  onTried?: (error: NodeJS.ErrnoException | undefined) => void;
}

/** A server, bound or not. */
export class BoundServer {
  readonly #options: BindOptions;
  #server: Server | undefined;
  #cancelRetry: CancelTimer | undefined;
  /** Another after each end: a try that comes to its end later is undone. */
  #turn = 0;
  #isBinding = false;

  constructor(options: BindOptions) {
    this.#options = options;
  }

  /** True while it listens, is about to, or waits for its next try. */
  get isWanted(): boolean {
    return this.#server !== undefined || this.#isBinding || this.#cancelRetry !== undefined;
  }

  /** Where it listens now, with the real port; undefined for a path, and where it does not. */
  get address(): string | undefined {
    const bound = this.#server?.address();
    if (bound === null || typeof bound !== "object") return undefined;
    return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
  }

  /** Binds it, unless it is. Throws nothing: what is in the way is told, and tried again. */
  async open(): Promise<void> {
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    if (this.#server !== undefined || this.#isBinding) return;
    const { clock, retryMs, onTried } = this.#options;
    const turn = this.#turn;
    this.#isBinding = true;
    try {
      await this.#bind(turn);
      if (turn !== this.#turn) return;
      this.#isBinding = false;
      onTried?.(undefined);
    } catch (error) {
      if (turn !== this.#turn) return;
      void this.#release();
      this.#cancelRetry = clock.after(retryMs, () => void this.open());
      onTried?.(error as NodeJS.ErrnoException);
    }
  }

  /** Leaves the address and ends every connection. The address is free as soon as this is called. */
  async close(): Promise<void> {
    this.#turn += 1;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    await this.#release();
  }

  async #bind(turn: number): Promise<void> {
    const { make, listen, finish } = this.#options;
    const server = await make();
    // It was ended while it was being made.
    if (turn !== this.#turn) return;
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      listen(server, resolve);
    });
    server.on("error", () => undefined);
    // It was ended while a name was still being looked up.
    if (turn !== this.#turn) server.close();
    else await finish?.();
  }

  async #release(): Promise<void> {
    const server = this.#server;
    [this.#server, this.#isBinding] = [undefined, false];
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    if ("closeAllConnections" in server) (server as Server & { closeAllConnections(): void }).closeAllConnections();
    await closed;
  }
}

/** Says why an address could not be bound. */
export function describeBindError(error: NodeJS.ErrnoException): string {
  if (error.code === "EADDRINUSE") return "the port is taken";
  if (error.code === "EACCES") return "this user may not bind it";
  if (error.code === "EADDRNOTAVAIL") return "this host does not have that address";
  return error.code ?? error.message;
}
