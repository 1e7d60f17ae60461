// `orca exec`: a command inside a service's container, its input and output as frames over an upgraded connection. The caller
// is known by uid and the command is in the audit log before it starts.

import type { IncomingMessage } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import type { ExecSession } from "../docker/reader.ts";
import type { Actor } from "../../shared/state/event.ts";
import {
  encodeFrame,
  EXEC_PROTOCOL,
  type ExecStart,
  FRAME,
  type Frame,
  FrameReader,
} from "../../shared/text/frames.ts";
import { type ActParts, describeActor, identify, NO_UID, requireService } from "./acts.ts";
import { readCall } from "./http-answer.ts";
import { findNewestContainer } from "./newest-container.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** An upgrade as node:http hands it over. */
export interface Upgrade {
  request: IncomingMessage;
  socket: Socket;
  head: Buffer;
}

const MOST_BEHIND_BYTES = 32 * 2 ** 20;
const MOST_ARGUMENTS = 1_000;
const LONGEST_ARGUMENT = 128 * 1024;
/** Of the command, so much is kept in the audit log. */
const RECORDED_CHARACTERS = 2_000;

/** Answers an upgrade to the exec protocol. */
export async function serveExec(parts: ActParts, { request, socket, head }: Upgrade): Promise<void> {
  const call = readCall(request);
  const [version, first, service, act] = call?.path ?? [];
  if (call === undefined || version !== "v1" || first !== "services" || act !== "exec" || call.path.length !== 4)
    return refuseUpgrade(socket, 404, "there is nothing here to talk to");
  if (request.headers.upgrade !== EXEC_PROTOCOL) return refuseUpgrade(socket, 400, `the protocol is ${EXEC_PROTOCOL}`);
  const actor = await identify(parts, socket);
  if (actor === undefined) return refuseUpgrade(socket, 403, NO_UID);
  const missing = requireService(parts, { ...call, accept: "text/plain", path: [] }, service ?? "");
  if (missing !== undefined) return refuseUpgrade(socket, missing.status, missing.body.trim());
  const container = findNewestContainer(parts.view.status(), service ?? "");
  if ("refusal" in container) return refuseUpgrade(socket, 409, container.refusal);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${EXEC_PROTOCOL}\r\n\r\n`);
  socket.setTimeout(0);
  const connection = new ExecConnection(parts, socket, { actor, service: service ?? "", container: container.id });
  if (head.length > 0) connection.hear(head);
  return undefined;
}

/** Refuses an upgrade in plain HTTP. */
export function refuseUpgrade(socket: Duplex, status: number, message: string): void {
  if (socket.destroyed) return;
  const body = `${message}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

interface Target {
  actor: Actor;
  service: string;
  container: string;
}

/** One exec, from its first frame to its exit code. */
class ExecConnection {
  readonly #parts: ActParts;
  readonly #socket: Socket;
  readonly #target: Target;
  readonly #frames = new FrameReader();
  #session: ExecSession | undefined;
  /** Input that came with the first frame, before the command was running. */
  readonly #early: Frame[] = [];
  #started = false;

  constructor(parts: ActParts, socket: Socket, target: Target) {
    this.#parts = parts;
    this.#socket = socket;
    this.#target = target;
    socket.on("data", (chunk: Buffer) => this.hear(chunk));
    // The server leaves connections half open, and a caller that was killed says no more than this.
    socket.once("end", () => socket.destroy());
    socket.once("close", () => this.#session?.close());
  }

  /** Takes a piece of what the caller sends. */
  hear(chunk: Buffer): void {
    try {
      for (const frame of this.#frames.push(chunk)) this.#take(frame);
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(frame: Frame): void {
    if (!this.#started) {
      this.#started = true;
      const start = parseStart(frame);
      // Input waits with the caller until there is a command to take it.
      this.#socket.pause();
      this.#run(start).catch((error: unknown) => this.#fail(error));
    } else if (this.#session === undefined) {
      this.#early.push(frame);
    } else {
      this.#forward(frame, this.#session);
    }
  }

  #forward({ type, payload }: Frame, session: ExecSession): void {
    if (type === FRAME.stdin) session.write(payload);
    else if (type === FRAME.end) session.endInput();
    else if (type === FRAME.resize) this.#resize(JSON.parse(payload.toString("utf8")), session);
    else throw new Error("read frames: this frame is not for the agent");
  }

  #resize(size: unknown, session: ExecSession): void {
    const { columns, rows } = (size ?? {}) as { columns?: unknown; rows?: unknown };
    if (!isCells(columns) || !isCells(rows)) return;
    // A command that has just ended has no terminal any more.
    session.resize(columns, rows).catch(() => undefined);
  }

  async #run(start: ExecStart): Promise<void> {
    const { actor, service, container } = this.#target;
    const exec = this.#parts.exec();
    if (exec === undefined) throw new Error("the agent is still starting: try again in a moment");
    // Whoever types a value has it; the log is read by others.
    const command = cutCommand(start.command.map((word) => this.#parts.redact(word)));
    await this.#parts.record({
      actor: describeActor(actor),
      action: "exec",
      what: { service, container, command, tty: start.tty },
      cause: "asked on the socket",
      result: "ok",
    });
    const detail = JSON.stringify({ command });
    this.#parts.emit({ kind: "acted", atMs: this.#parts.clock.nowMs(), actor, action: "exec", service, detail });
    const session = await exec.open(container, {
      command: start.command,
      tty: start.tty,
      onChunk: (chunk, stream) => this.#send(encodeFrame(FRAME[stream], chunk)),
    });
    if (this.#socket.destroyed) return session.close();
    this.#session = session;
    if (start.size !== undefined) this.#resize(start.size, session);
    if (!start.stdin) session.endInput();
    for (const frame of this.#early.splice(0)) this.#forward(frame, session);
    this.#socket.resume();
    const code = await session.ended;
    if (!this.#socket.destroyed) this.#socket.end(encodeFrame(FRAME.exit, { code }));
    return undefined;
  }

  #send(frame: Buffer): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(frame);
    if (this.#socket.writableLength > MOST_BEHIND_BYTES)
      this.#fail(new Error("the reader is too slow: its output was cut"));
  }

  #fail(error: unknown): void {
    const message = readMessage(error);
    if (!this.#socket.destroyed) this.#socket.end(encodeFrame(FRAME.error, { message }));
    this.#session?.close();
  }
}

function parseStart({ type, payload }: Frame): ExecStart {
  if (type !== FRAME.start) throw new Error("read frames: the first frame says what to run");
  const { command, tty, stdin, size } = JSON.parse(payload.toString("utf8")) as Partial<ExecStart>;
  const valid =
    Array.isArray(command) &&
    command.length > 0 &&
    command.length <= MOST_ARGUMENTS &&
    command.every((word) => typeof word === "string" && word.length <= LONGEST_ARGUMENT && !word.includes("\0"));
  if (!valid || command[0] === "") throw new Error("run command: there is no command to run");
  return { command, tty: tty === true, stdin: stdin === true, ...(size === undefined ? {} : { size }) };
}

function isCells(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= 10_000;
}

function cutCommand(command: readonly string[]): string[] {
  let left = RECORDED_CHARACTERS;
  return command.map((word) => {
    const kept = word.slice(0, Math.max(0, left));
    left -= word.length;
    return kept === word ? word : `${kept}…`;
  });
}
