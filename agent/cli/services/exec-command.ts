// `orca exec SERVICE -- CMD`: runs a command inside a service's container over the agent's socket; its exit code is ours.
// node:http and not got, since this is an upgrade: after it the connection speaks frames.

import { type IncomingMessage, request as requestHttp } from "node:http";
import type { Duplex } from "node:stream";

import {
  encodeFrame,
  EXEC_PROTOCOL,
  type ExecStart,
  FRAME,
  type Frame,
  FrameReader,
} from "../../../shared/text/frames.ts";
import { AgentClient, type ClientOptions, describeRefusal, unreachable } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, openSink, type OutputSink } from "../frame/terminal.ts";

/** The options of `orca exec`. */
export interface ExecOptions extends ClientOptions {
  interactive?: boolean;
  tty?: boolean;
}

/** Runs a command; answers its exit code. */
export async function execIn(service: string, command: readonly string[], options: ExecOptions): Promise<number> {
  const [tty, stdin] = [options.tty === true, options.interactive === true];
  if (tty && stdin && !process.stdin.isTTY)
    throw new CommandError("the input is not a terminal: leave out -t, or run it from one");
  endQuietlyOnClosedOutput();
  const socketPath = await new AgentClient(options).findSocket();
  const { stream, head } = await upgrade(socketPath, service);
  const { columns, rows } = process.stdout;
  const size = process.stdout.isTTY ? { size: { columns, rows } } : {};
  const start: ExecStart = { command: [...command], tty, stdin, ...size };
  const code = attach(stream, head, { tty, stdin });
  stream.write(encodeFrame(FRAME.start, start));
  return code;
}

function upgrade(socketPath: string, service: string): Promise<{ stream: Duplex; head: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = requestHttp({
      socketPath,
      path: `/v1/services/${encodeURIComponent(service)}/exec`,
      headers: { connection: "Upgrade", upgrade: EXEC_PROTOCOL },
    });
    request.once("upgrade", (_response: IncomingMessage, stream: Duplex, head: Buffer) => resolve({ stream, head }));
    request.once("response", (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")));
      response.on("end", () => reject(new CommandError(describeRefusal(body, response.statusCode ?? 0))));
    });
    request.once("error", (error) => reject(unreachable(socketPath, error)));
    request.end();
  });
}

/** Joins our terminal with the command's until it has ended. */
function attach(stream: Duplex, head: Buffer, how: { tty: boolean; stdin: boolean }): Promise<number> {
  const raw = how.tty && how.stdin;
  const resize = (): void => {
    const { columns, rows } = process.stdout;
    stream.write(encodeFrame(FRAME.resize, { columns, rows }));
  };
  if (raw) process.stdin.setRawMode(true);
  if (how.tty && process.stdout.isTTY) process.stdout.on("resize", resize);
  if (how.stdin) forwardInput(stream);
  // Whoever gives the command the terminal means it to be steered; else it gets to a terminal only what can be read.
  const sinks = { stdout: openSink(process.stdout, how.tty), stderr: openSink(process.stderr, how.tty) };
  return readFrames(stream, head, sinks).finally(() => {
    for (const sink of Object.values(sinks)) sink.end();
    process.stdout.off("resize", resize);
    if (raw) process.stdin.setRawMode(false);
    process.stdin.destroy();
    stream.destroy();
  });
}

/** Hands input on no faster than the agent takes it. */
function forwardInput(stream: Duplex): void {
  process.stdin.on("data", (chunk: Buffer) => {
    if (stream.write(encodeFrame(FRAME.stdin, chunk))) return;
    process.stdin.pause();
    stream.once("drain", () => process.stdin.resume());
  });
  process.stdin.once("end", () => stream.write(encodeFrame(FRAME.end, "")));
}

interface Sinks {
  stdout: OutputSink;
  stderr: OutputSink;
}

function readFrames(stream: Duplex, head: Buffer, sinks: Sinks): Promise<number> {
  const frames = new FrameReader();
  return new Promise((resolve, reject) => {
    const hear = (chunk: Buffer): void => {
      try {
        for (const frame of frames.push(chunk)) {
          const code = takeFrame(frame, stream, sinks);
          if (code !== undefined) resolve(code);
        }
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    if (head.length > 0) hear(head);
    stream.on("data", hear);
    const lost = (): void => reject(new CommandError("the agent ended the connection", EXIT.unreachable));
    stream.once("end", lost);
    stream.once("error", lost);
  });
}

/** The exit code where this frame holds it. */
function takeFrame({ type, payload }: Frame, stream: Duplex, { stdout, stderr }: Sinks): number | undefined {
  if (type === FRAME.exit) return (JSON.parse(payload.toString("utf8")) as { code: number }).code;
  if (type === FRAME.error)
    throw new CommandError((JSON.parse(payload.toString("utf8")) as { message: string }).message);
  const sink = type === FRAME.stderr ? stderr : stdout;
  if (sink.write(payload)) return undefined;
  stream.pause();
  sink.stream.once("drain", () => stream.resume());
  return undefined;
}
