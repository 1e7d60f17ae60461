// What every HTTP server of the agent has around its routes: limits that keep a careless or hostile caller from costing anything,
// the check of the Host header, and an answer for what could not be answered.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import { limitConnections } from "./connection-limit.ts";
import { isAllowedHost } from "./host-header.ts";

/** One server. */
export interface ShellOptions {
  /** Connections at once; for one more, one is ended of whoever holds most. */
  mostConnections: number;
  /** A connection on which nothing goes for so long is ended. Left out where what is streamed may be silent for long. */
  idleMs?: number;
  /** Answers only who asked for loopback by name, and takes no body. */
  forReaders?: boolean;
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** Sends a refusal in the form that callers of this server read. */
  refuse: (response: ServerResponse, status: 421 | 500, message: string) => void;
  /** Takes over a connection; without it no connection is given away. */
  upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<void>;
}

/** Whoever is slow or silent is cut off. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
} as const;

/** Makes a server that is not bound yet. */
export function makeServer(options: ShellOptions): Server {
  const { mostConnections, idleMs, upgrade } = options;
  const server = createServer(LIMITS, (request, response) => handle(options, request, response));
  if (upgrade !== undefined)
    server.on("upgrade", (request, socket, head) => {
      upgrade(request, socket, head).catch(() => socket.destroy());
    });
  limitConnections(server, mostConnections);
  if (idleMs !== undefined) server.timeout = idleMs;
  return server;
}

function handle(options: ShellOptions, request: IncomingMessage, response: ServerResponse): void {
  const { forReaders = false, answer, refuse } = options;
  response.on("error", () => undefined);
  if (forReaders) {
    // No route takes a body: what is sent all the same ends with the connection.
    if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined)
      response.setHeader("connection", "close");
    if (!isAllowedHost(request.headers.host))
      return refuse(response, 421, "this is served as localhost and 127.0.0.1 only");
  }
  answer(request, response).catch(() => {
    if (response.headersSent || response.destroyed) response.destroy();
    else refuse(response, 500, "this could not be answered");
  });
  return undefined;
}
