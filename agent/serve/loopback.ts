// Status on loopback: plain node:http, reading only, no login. One listener for each address; one that cannot be bound is
// said and tried again, and a port that a service of this node publishes on every address is left to that service.
//
// node:http and no framework: for these ten routes hono with @hono/node-server, bundled and minified, took 77 MB resident and
// 27 MB anonymous where node:http took 66 and 21 (Node 24; host check, headers, one stream and one JSON body), because
// reading a header or a body there brings in undici's Request, Response and streams.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { limitConnections } from "../host/os/connection-limit.ts";
import { answerError, answerText, readCall, sendAnswer } from "./http-answer.ts";
import { isAllowedHost, type ListenAddress, parseListenAddress } from "./host-header.ts";
import type { LiveEvents } from "./live-events.ts";
import type { ReadView } from "../report/read-view.ts";
import { answerRead } from "./read-routes.ts";

/** What loopback needs. */
export interface LoopbackOptions {
  listen: readonly string[];
  clock: Clock;
  view: ReadView;
  live: LiveEvents;
}

interface Listener {
  text: string;
  address: ListenAddress;
  server: Server | undefined;
  /** Who has the port instead, while a service publishes it. */
  leftTo: string | undefined;
  trouble: string | undefined;
  cancelRetry: CancelTimer | undefined;
}

const RETRY_MS = 30_000;

/** Limits that keep a careless or hostile reader from costing anything. */
export const SERVER_LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
} as const;
const MOST_CONNECTIONS = 128;
const IDLE_MS = 60_000;

/** Serves status on loopback addresses. */
export class Loopback {
  readonly #options: LoopbackOptions;
  readonly #listeners: Listener[];
  #begun = false;
  #closed = false;

  /** Throws when an address is not on loopback. */
  constructor(options: LoopbackOptions) {
    this.#options = options;
    this.#listeners = options.listen.map((text) => {
      const address = parseListenAddress(text);
      if (typeof address === "string") throw new Error(`serve status: ${address}`);
      return { text, address, server: undefined, leftTo: undefined, trouble: undefined, cancelRetry: undefined };
    });
  }

  /** What could not be bound, in words. */
  get notes(): string[] {
    return this.#listeners.flatMap(({ trouble }) => (trouble === undefined ? [] : [trouble]));
  }

  /** Where it listens now, with real port numbers. */
  get addresses(): string[] {
    return this.#listeners.flatMap(({ server }) => {
      const bound = server?.address();
      if (bound === null || typeof bound !== "object") return [];
      return [bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`];
    });
  }

  /** Binds the first address; the others wait for `leavePorts`, since a manifest may want their port. */
  async start(): Promise<void> {
    const [first] = this.#listeners;
    if (first !== undefined) await this.#bind(first);
  }

  /**
   * Leaves ports to the services that publish them on every address, and takes the others.
   * @param taken TCP port → the service that publishes it
   */
  async leavePorts(taken: ReadonlyMap<number, string>): Promise<void> {
    const first = !this.#begun;
    this.#begun = true;
    await Promise.all(
      this.#listeners.map((listener) => this.#follow(listener, taken.get(listener.address.port), first)),
    );
  }

  /** Ends every listener and connection. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#listeners.map((listener) => this.#release(listener)));
  }

  async #follow(listener: Listener, holder: string | undefined, first: boolean): Promise<void> {
    const before = listener.leftTo;
    listener.leftTo = holder;
    if (holder !== undefined) {
      const { text, address } = listener;
      listener.trouble = `status is not served on ${text}: ${holder} publishes port ${address.port} on every address`;
      await this.#release(listener);
    } else if (before !== undefined || (first && listener.server === undefined && listener.cancelRetry === undefined)) {
      await this.#bind(listener);
    }
  }

  async #release(listener: Listener): Promise<void> {
    listener.cancelRetry?.();
    listener.cancelRetry = undefined;
    const { server } = listener;
    listener.server = undefined;
    if (server === undefined) return;
    // The port is free as soon as this is called; only the end of the connections is waited for.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  async #bind(listener: Listener): Promise<void> {
    listener.cancelRetry = undefined;
    if (this.#closed || listener.leftTo !== undefined || listener.server !== undefined) return;
    const server = this.#createServer();
    listener.server = server;
    const { host, port } = listener.address;
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once("error", resolve);
      server.listen({ host, port, exclusive: true }, () => resolve(undefined));
    });
    if (error === undefined) {
      // It was released while a name was still being looked up.
      if (listener.server !== server) server.close();
      else listener.trouble = undefined;
      return;
    }
    // It may have been released meanwhile.
    if (listener.server === server) listener.server = undefined;
    if (this.#closed || listener.leftTo !== undefined) return;
    listener.trouble = `status is not served on ${listener.text}: ${describeBindError(error)}; tried again every 30 s`;
    listener.cancelRetry = this.#options.clock.after(RETRY_MS, () => void this.#bind(listener));
  }

  #createServer(): Server {
    const server = createServer(SERVER_LIMITS, (request, response) => {
      this.#handle(request, response).catch(() => sendAnswer(response, answerText(500, "this could not be answered")));
    });
    limitConnections(server, MOST_CONNECTIONS);
    server.timeout = IDLE_MS;
    server.on("error", () => undefined);
    return server;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // No route takes a body: what is sent all the same ends with the connection.
    if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined)
      response.setHeader("connection", "close");
    if (!isAllowedHost(request.headers.host))
      return sendAnswer(response, answerText(421, "this is served as localhost and 127.0.0.1 only"));
    const call = readCall(request);
    if (call === undefined) return sendAnswer(response, answerText(400, "this is no request"));
    if (call.method !== "GET" && call.method !== "HEAD") {
      const refusal = answerError(call, 405, "loopback is for reading: acts go through the agent's unix socket");
      return sendAnswer(response, { ...refusal, headers: { allow: "GET, HEAD" } });
    }
    const { view, live } = this.#options;
    if (call.path.length === 1 && call.path[0] === "events") return serveEvents({ live, view, call, response });
    const answer = await answerRead(view, call, false);
    return sendAnswer(
      response,
      answer ?? answerError(call, 404, "there is nothing here: try /, /why/<service>, /metrics"),
    );
  }
}

/** Streams changes to one reader. */
export function serveEvents(to: {
  live: LiveEvents;
  view: ReadView;
  call: { method: string; accept: string; path: readonly string[] };
  response: ServerResponse;
}): void {
  if (to.call.method === "HEAD") return sendAnswer(to.response, { status: 200, type: "text/event-stream", body: "" });
  const { node, revision, at } = to.view.status();
  if (to.live.add(to.response, { node, revision, at })) return undefined;
  return sendAnswer(to.response, answerError(to.call, 503, "too many readers listen to changes"));
}

function describeBindError(error: NodeJS.ErrnoException): string {
  if (error.code === "EADDRINUSE") return "the port is taken, perhaps by another agent";
  if (error.code === "EACCES") return "this user may not bind it";
  return error.code ?? error.message;
}
