// The agent's unix socket: everything that loopback gives, what containers printed, and every act. Whoever may connect
// (root, and group orca where it exists) is root's equal; acts also need the caller's uid from the kernel.

import { lstatSync } from "node:fs";
import { chown, mkdir, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Duplex } from "node:stream";

import type { CancelTimer, Clock } from "../host/os/clock.ts";
import { findGroupId } from "../host/os/peer-credentials.ts";
import { type ActParts, answerAct } from "./acts.ts";
import { answerError, answerText, readCall, sendAnswer } from "./http-answer.ts";
import { refuseUpgrade, serveExec } from "./exec-stream.ts";
import type { LiveEvents } from "./live-events.ts";
import { streamLogs } from "./log-stream.ts";
import { SERVER_LIMITS, serveEvents } from "./loopback.ts";
import type { ReadView } from "../report/read-view.ts";
import { answerRead } from "./read-routes.ts";

/** What the socket needs. */
export interface SocketOptions {
  path: string;
  clock: Clock;
  view: ReadView;
  live: LiveEvents;
  acts: ActParts;
}

const GROUP = "orca";
/** Makes the socket 0660 from its first moment, whatever the umask was. */
const SOCKET_UMASK = 0o117;
const RETRY_MS = 30_000;
const ANSWERS_WITHIN_MS = 1_000;

/** Serves the unix socket. */
export class SocketServer {
  readonly #options: SocketOptions;
  readonly #upgraded = new Set<Duplex>();
  #server: Server | undefined;
  #cancelRetry: CancelTimer | undefined;
  #closed = false;
  /** Why it is not served, in words. */
  trouble: string | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  /** Where it answers; undefined while it does not. */
  get servedPath(): string | undefined {
    return this.trouble === undefined ? this.#options.path : undefined;
  }

  /** Binds the socket; what is in the way is said and tried again. */
  async start(): Promise<void> {
    const { path, clock } = this.#options;
    try {
      this.#server = await this.#bind();
      this.trouble = undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.trouble = `the socket ${path} is not served: ${reason}; tried again every 30 s`;
      if (!this.#closed) this.#cancelRetry = clock.after(RETRY_MS, () => void this.start());
    }
  }

  /** Ends every connection and removes the socket. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry?.();
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#upgraded) socket.destroy();
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  async #bind(): Promise<Server> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    const server = createServer(SERVER_LIMITS, (request, response) => {
      this.#handle(request, response).catch(() => sendAnswer(response, answerText(500, "this could not be answered")));
    });
    server.on("upgrade", (request, socket, head) => void this.#upgrade(request, socket, head));
    await listen(server, path);
    if (this.#closed) {
      server.close();
      return server;
    }
    server.on("error", () => undefined);
    const gid = await findGroupId(GROUP);
    // Without root only the user's own groups can be given; the socket is then the user's alone.
    if (gid !== undefined && process.getuid?.() === 0) await chown(path, 0, gid);
    return server;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = readCall(request);
    if (call === undefined) return sendAnswer(response, answerText(400, "this is no request"));
    const { view, live, acts } = this.#options;
    if (call.method === "POST") return sendAnswer(response, await answerAct(acts, call, request));
    if (call.method !== "GET" && call.method !== "HEAD") {
      const refusal = answerError(call, 405, `there is nothing to ${call.method}`);
      return sendAnswer(response, { ...refusal, headers: { allow: "GET, HEAD, POST" } });
    }
    const [version, kind, service, what] = call.path;
    if (call.path.length === 1 && version === "events") return serveEvents({ live, view, call, response });
    if (version === "v1" && kind === "services" && what === "logs" && call.path.length === 4)
      return streamLogs(acts, { call, service: service ?? "", request, response });
    const answer =
      version === "v1" && kind === "plan" && call.path.length === 2
        ? await acts.planNow(call)
        : await answerRead(view, call, true);
    return sendAnswer(response, answer ?? answerError(call, 404, "there is nothing here: try /v1/status"));
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
    socket.on("error", () => socket.destroy());
    try {
      await serveExec(this.#options.acts, { request, socket: socket as Socket, head });
    } catch {
      refuseUpgrade(socket, 500, "this could not be answered");
    }
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const before = process.umask(SOCKET_UMASK);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}

/** A socket that a killed agent left is removed; one that somebody answers on, or that is no socket, is left alone. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error("there is a file of that name that is no socket");
  if (await isAnswering(path)) throw new Error("another agent answers on it");
  await rm(path, { force: true });
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answering: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answering);
    };
    // Somebody listens, although slowly.
    const timer = setTimeout(() => settle(true), ANSWERS_WITHIN_MS);
    socket.once("connect", () => settle(true));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      settle(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}
