// A server on loopback that a test can take away and bring back on the same port: the real one, and fakes, stand on it.

import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

/** Key and certificate of `localhost`. */
export interface ServerCertificate {
  key: Buffer;
  cert: Buffer;
}

/** Listens for whoever answers. */
export class LoopbackServer {
  /** The port it has, also while it is stopped; 0 before its first start. */
  port = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  /** Begins to listen, on the same port again after `stop`. */
  async start(handle: RequestListener, tls: ServerCertificate | undefined): Promise<void> {
    const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
    this.port = (server.address() as AddressInfo).port;
  }

  /** The server is gone: nothing listens any more, and what was open is broken. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}
