// `orca logs SERVICE`: what its container prints, stdout to stdout and stderr to stderr, over the agent's socket.

import type { Response } from "got";

import { FRAME, FRAMES_TYPE, type Frame, FrameReader } from "../../../shared/text/frames.ts";
import { AgentClient, type ClientOptions, describeRefusal, loadGot, socketUrl, unreachable } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, openSink, type OutputSink } from "../frame/terminal.ts";

/** The options of `orca logs`. */
export interface LogsOptions extends ClientOptions {
  follow?: boolean;
  tail?: string;
}

const CONNECT_MS = 10_000;

/** Shows a service's output; answers 0 once it has ended. */
export async function showLogs(service: string, options: LogsOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const tail = options.tail ?? "200";
  if (!/^\d{1,9}$/.test(tail)) throw new CommandError(`--tail ${tail} is not a number of lines`);
  const socket = await new AgentClient(options).findSocket();
  const query = new URLSearchParams({ tail, ...(options.follow === true ? { follow: "1" } : {}) });
  const path = `/v1/services/${encodeURIComponent(service)}/logs?${query.toString()}`;
  const got = await loadGot();
  const stream = got.stream(socketUrl(socket, path), {
    enableUnixSockets: true,
    throwHttpErrors: false,
    retry: { limit: 0 },
    headers: { accept: FRAMES_TYPE },
    timeout: { connect: CONNECT_MS },
  });
  let response: Response | undefined;
  const sinks = openSinks();
  stream.once("response", (answer: Response) => {
    response = answer;
  });
  const frames = new FrameReader();
  let refusal = "";
  try {
    // As fast as whoever reads us, and no faster: what waits, waits with the agent.
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if ((response?.statusCode ?? 0) >= 300) refusal += chunk.toString("utf8");
      else for (const frame of frames.push(chunk)) await printFrame(frame, sinks);
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (response === undefined) throw unreachable(socket, error);
    throw new CommandError(`the agent ended the connection: ${(error as Error).message}`, EXIT.unreachable);
  } finally {
    for (const sink of Object.values(sinks)) sink.end();
  }
  if (response !== undefined && response.statusCode >= 300)
    throw new CommandError(describeRefusal(refusal, response.statusCode));
  return EXIT.ok;
}

interface Sinks {
  stdout: OutputSink;
  stderr: OutputSink;
}

/** What a container prints is its own: a terminal is not to obey it. */
function openSinks(): Sinks {
  return { stdout: openSink(process.stdout), stderr: openSink(process.stderr) };
}

async function printFrame({ type, payload }: Frame, { stdout, stderr }: Sinks): Promise<void> {
  if (type === FRAME.error) {
    const { message } = JSON.parse(payload.toString("utf8")) as { message: string };
    throw new CommandError(message);
  }
  const sink = type === FRAME.stderr ? stderr : stdout;
  if (!sink.write(payload)) await new Promise((resolve) => sink.stream.once("drain", resolve));
}
