// The agent's unix socket: everything that loopback gives, what containers printed, and every act. Whoever may connect
// (root, and group orca where it exists) is root's equal; acts also need the caller's uid from the kernel.

import { lstatSync } from "node:fs";
import { chown, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Duplex } from "node:stream";

import { makeDirectory } from "../host/files/make-directory.ts";
import type { Clock } from "../host/os/clock.ts";
import { findGroupId } from "../host/os/peer-credentials.ts";
import { BoundServer } from "../http/bound-server.ts";
import { makeServer } from "../http/server-shell.ts";
import { type ActParts, answerAct } from "./acts.ts";
import { answerBackupList } from "./backup-routes.ts";
import { answerDrillList } from "./drill-routes.ts";
import { answerRestoreList } from "./restore-routes.ts";
import { type Answer, answerError, answerJson, answerText, type Call, readCall, sendAnswer } from "./http-answer.ts";
import { refuseUpgrade, serveExec } from "./exec-stream.ts";
import type { LiveEvents } from "./live-events.ts";
import { streamLogs } from "./log-stream.ts";
import { serveEvents } from "./loopback.ts";
import type { ReadView } from "../report/read-view.ts";
import { answerPrune } from "./prune-routes.ts";
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
/** Callers at once, each of them root's equal: only one whose program has run wild comes here. */
const MOST_CONNECTIONS = 256;
const ANSWERS_WITHIN_MS = 1_000;

/** Serves the unix socket. */
export class SocketServer {
  readonly #options: SocketOptions;
  readonly #upgraded = new Set<Duplex>();
  readonly #server: BoundServer;
  /** Why it is not served, in words. */
  trouble: string | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
    const { path, clock } = options;
    this.#server = new BoundServer({
      clock,
      retryMs: RETRY_MS,
      make: () => this.#make(),
      listen: (server, done) => listen(server, path, done),
      finish: () => giveToGroup(path),
      onTried: (error) => {
        this.trouble = error && `the socket ${path} is not served: ${error.message}; tried again every 30 s`;
      },
    });
  }

  /** Where it answers; undefined while it does not. */
  get servedPath(): string | undefined {
    return this.trouble === undefined ? this.#options.path : undefined;
  }

  /** Binds the socket; what is in the way is said and tried again. */
  start(): Promise<void> {
    return this.#server.open();
  }

  /** Ends every connection and removes the socket. */
  async close(): Promise<void> {
    for (const socket of this.#upgraded) socket.destroy();
    await this.#server.close();
  }

  async #make(): Promise<Server> {
    const { path } = this.#options;
    await makeDirectory(dirname(path), 0o755);
    await removeStale(path);
    return makeServer({
      mostConnections: MOST_CONNECTIONS,
      answer: (request, response) => this.#handle(request, response),
      refuse: (response, status, message) => sendAnswer(response, answerText(status, message)),
      upgrade: (request, socket, head) => this.#upgrade(request, socket, head),
    });
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
    const answer = (await this.#answerTrusted(call)) ?? (await answerRead(view, call, true));
    return sendAnswer(response, answer ?? answerError(call, 404, "there is nothing here: try /v1/status"));
  }

  /** What is told on the socket alone. */
  async #answerTrusted(call: Call): Promise<Answer | undefined> {
    const { acts } = this.#options;
    const route = call.path.join("/");
    if (route === "v1/plan") return acts.planNow(call);
    if (route === "v1/backups") return answerBackupList(acts, call);
    if (route === "v1/slo") return answerJson(200, this.#options.view.slo());
    if (route === "v1/trial") return answerJson(200, this.#options.view.trial());
    if (route === "v1/prune") return answerPrune(acts, call);
    if (route === "v1/restores") return answerRestoreList(acts, call);
    if (route === "v1/drills") return answerDrillList(acts, call);
    return route === "v1/debug/worlds" ? acts.worlds(call) : undefined;
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

function listen(server: Server, path: string, done: () => void): void {
  const before = process.umask(SOCKET_UMASK);
  try {
    server.listen(path, done);
  } finally {
    process.umask(before);
  }
}

/** Without root only the user's own groups can be given; the socket is then the user's alone. */
async function giveToGroup(path: string): Promise<void> {
  const gid = await findGroupId(GROUP);
  if (gid !== undefined && process.getuid?.() === 0) await chown(path, 0, gid);
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
