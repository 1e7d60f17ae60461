// How many connections a server holds, so that nobody who keeps some open keeps others out: a new one is always taken, and for it
// one is ended of whoever holds most, first of those that ask nothing. Used by the shell of every HTTP server.

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

interface Held {
  from: string;
  /** Requests on it that have no whole answer yet. */
  open: number;
}

/** Limits a server's connections. Must be called before it listens, and after it was said who takes connections over. */
export function limitConnections(server: Server, most: number): void {
  // In the order in which they came.
  const held = new Map<Socket, Held>();
  server.on("connection", (socket) => {
    held.set(socket, { from: socket.remoteAddress ?? "", open: 0 });
    socket.once("close", () => held.delete(socket));
    if (held.size <= most) return;
    const given = chooseGiven(held, socket);
    if (given === undefined) return;
    held.delete(given);
    given.destroy();
  });
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    const entry = held.get(socket);
    if (entry === undefined) return;
    entry.open += 1;
    response.once("close", () => (entry.open -= 1));
  });
  // Where nobody takes one over, a listener would keep such a request from being answered.
  if (server.listenerCount("upgrade") === 0) return;
  server.on("upgrade", ({ socket }: IncomingMessage) => {
    const entry = held.get(socket);
    if (entry !== undefined) entry.open += 1;
  });
}

/** The oldest that asks nothing, else the oldest, of the address with the most of them; never the newest of all. */
function chooseGiven(held: ReadonlyMap<Socket, Held>, newest: Socket): Socket | undefined {
  const others = [...held].filter(([socket]) => socket !== newest);
  const byAddress = [...Map.groupBy(others, ([, { from }]) => from).values()];
  const [largest = []] = byAddress.toSorted((left, right) => right.length - left.length);
  const [chosen] = largest.find(([, { open }]) => open === 0) ?? largest[0] ?? [];
  return chosen;
}
