// Stands between an agent and the real engine: records the calls that change something, and can stop the world at one of
// them, before it reaches the engine or after the engine has done it and before the agent hears of it.

import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** One call that changes something. */
export interface RecordedCall {
  method: string;
  path: string;
  /** Milliseconds of `performance.now()` when it came. */
  atMs: number;
}

/** What to do at the n-th changing call (counting from 1). */
export interface Trap {
  at: number;
  when: "before" | "after";
  /** Called once; the call is never answered. */
  spring(): void;
}

/** A proxy in front of an engine's socket. */
export class EngineProxy {
  readonly calls: RecordedCall[] = [];
  readonly socketPath: string;
  readonly #target: string;
  readonly #server: Server;
  readonly #countsExec: boolean;
  #trap: Trap | undefined;

  /** @param countsExec commands in containers are calls too: only where no probe runs one */
  constructor(socketPath: string, target: string, { countsExec = false } = {}) {
    this.#countsExec = countsExec;
    this.socketPath = socketPath;
    this.#target = target;
    this.#server = createServer((incoming, outgoing) => this.#forward(incoming, outgoing));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  /** Counts anew, and sets a trap or none. */
  reset(trap?: Trap): void {
    this.calls.length = 0;
    this.#trap = trap;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #forward(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method = "GET", url = "/", headers } = incoming;
    const changes = method !== "GET" && method !== "HEAD" && (this.#countsExec || !url.includes("/exec"));
    if (changes) this.calls.push({ method, path: url, atMs: performance.now() });
    const trap = changes && this.#trap?.at === this.calls.length ? this.#trap : undefined;
    if (trap !== undefined) this.#trap = undefined;
    if (trap?.when === "before") return trap.spring();
    const forwarded = request({ socketPath: this.#target, method, path: url, headers }, (answer) => {
      if (trap !== undefined) {
        answer.resume();
        answer.once("end", () => trap.spring());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      // Event streams must show that they are open before their first event.
      outgoing.flushHeaders();
      answer.pipe(outgoing);
      answer.once("close", () => void (answer.complete || outgoing.destroy()));
    });
    forwarded.on("error", () => outgoing.destroy());
    outgoing.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  }
}
