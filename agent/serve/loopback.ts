// Status on loopback: plain node:http, reading only, no login. One listener for each address; one that cannot be bound is
// said and tried again, and a port that a service of this node publishes on every address is left to that service.
//
// node:http and no framework: for these ten routes hono with @hono/node-server, bundled and minified, took 77 MB resident and
// 27 MB anonymous where node:http took 66 and 21 (Node 24; host check, headers, one stream and one JSON body), because
// reading a header or a body there brings in undici's Request, Response and streams.

import type { IncomingMessage, ServerResponse } from "node:http";

import type { Clock } from "../host/os/clock.ts";
import { BoundServer, describeBindError } from "../http/bound-server.ts";
import { type ListenAddress, parseListenAddress } from "../http/host-header.ts";
import { makeServer } from "../http/server-shell.ts";
import { answerError, answerText, readCall, sendAnswer } from "./http-answer.ts";
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
  bound: BoundServer;
  /** Who has the port instead, while a service publishes it. */
  leftTo: string | undefined;
  trouble: string | undefined;
}

const RETRY_MS = 30_000;
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
    this.#listeners = options.listen.map((text) => this.#makeListener(text));
  }

  /** What could not be bound, in words. */
  get notes(): string[] {
    return this.#listeners.flatMap(({ trouble }) => (trouble === undefined ? [] : [trouble]));
  }

  /** Where it listens now, with real port numbers. */
  get addresses(): string[] {
    return this.#listeners.flatMap(({ bound }) => bound.address ?? []);
  }

  /** Binds the first address; the others wait for `leavePorts`, since a manifest may want their port. */
  async start(): Promise<void> {
    const [first] = this.#listeners;
    await first?.bound.open();
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
    await Promise.all(this.#listeners.map(({ bound }) => bound.close()));
  }

  #makeListener(text: string): Listener {
    const address = parseListenAddress(text);
    if (typeof address === "string") throw new Error(`serve status: ${address}`);
    const { host, port } = address;
    const bound = new BoundServer({
      clock: this.#options.clock,
      retryMs: RETRY_MS,
      make: () =>
        makeServer({
          mostConnections: MOST_CONNECTIONS,
          idleMs: IDLE_MS,
          forReaders: true,
          answer: (request, response) => this.#answer(request, response),
          refuse: (response, status, message) => sendAnswer(response, answerText(status, message)),
        }),
      listen: (server, done) => void server.listen({ host, port, exclusive: true }, done),
      onTried: (error) => {
        listener.trouble =
          error && `status is not served on ${text}: ${describeListenFault(error)}; tried again every 30 s`;
      },
    });
    const listener: Listener = { text, address, bound, leftTo: undefined, trouble: undefined };
    return listener;
  }

  async #follow(listener: Listener, holder: string | undefined, first: boolean): Promise<void> {
    const before = listener.leftTo;
    listener.leftTo = holder;
    if (holder !== undefined) {
      const { text, address } = listener;
      listener.trouble = `status is not served on ${text}: ${holder} publishes port ${address.port} on every address`;
      await listener.bound.close();
    } else if (!this.#closed && (before !== undefined || (first && !listener.bound.isWanted))) {
      await listener.bound.open();
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
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

function describeListenFault(error: NodeJS.ErrnoException): string {
  return error.code === "EADDRINUSE" ? "the port is taken, perhaps by another agent" : describeBindError(error);
}
