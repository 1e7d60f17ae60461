// A service's output, streamed to a reader on the unix socket: as frames that keep stdout and stderr apart, or as plain text.
// Held in memory only as far as the reader is behind, and let go when that is too far.

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";

import { encodeFrame, FRAME, FRAMES_TYPE } from "../../shared/text/frames.ts";
import { type ActParts, requireService } from "./acts.ts";
import { answerError, beginStream, type Call, sendAnswer } from "./http-answer.ts";
import { findNewestContainer } from "./newest-container.ts";
import { cleanLines, OutputCleaner } from "../report/text/public-text.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What is asked for. */
export interface LogRequest {
  call: Call;
  service: string;
  request: IncomingMessage;
  response: ServerResponse;
}

const DEFAULT_TAIL = 200;
/** So much an engine is made to look up at most. */
const LONGEST_TAIL = 10_000;
const MOST_BEHIND_BYTES = 8 * 2 ** 20;

/** Streams the output of a service's newest container. */
export async function streamLogs(parts: ActParts, { call, service, request, response }: LogRequest): Promise<void> {
  const missing = requireService(parts, call, service);
  if (missing !== undefined) return sendAnswer(response, missing);
  const tail = readTail(call);
  if (tail === undefined) return sendAnswer(response, answerError(call, 400, "tail is a whole number of lines"));
  const container = findNewestContainer(parts.view.status(), service);
  const reader = parts.reader();
  if ("refusal" in container) return sendAnswer(response, answerError(call, 409, container.refusal));
  if (reader === undefined)
    return sendAnswer(response, answerError(call, 503, "the agent is still starting: try again"));
  if (call.method === "HEAD") return sendAnswer(response, { status: 200, type: FRAMES_TYPE, body: "" });
  const framed = call.accept.includes(FRAMES_TYPE);
  const abort = new AbortController();
  response.once("close", () => abort.abort());
  request.on("error", () => abort.abort());
  // Before the first line there may be a long silence: the reader should know at once that it is connected.
  beginStream(response, framed ? FRAMES_TYPE : "text/plain; charset=utf-8");
  response.flushHeaders();
  // Frames are for programs; plain text is what `curl` shows on a terminal.
  const plain = { stdout: new OutputCleaner(), stderr: new OutputCleaner() };
  // The engine is read as fast as the reader takes it; one that does not take even what the engine gives at once is let go.
  const send = (chunk: Buffer, stream: "stdout" | "stderr"): Promise<unknown> | undefined => {
    if (response.writableLength > MOST_BEHIND_BYTES) abort.abort();
    if (abort.signal.aborted || response.write(framed ? encodeFrame(FRAME[stream], chunk) : plain[stream].push(chunk)))
      return undefined;
    return once(response, "drain", { signal: abort.signal }).catch(() => undefined);
  };
  try {
    await reader.followLogs(container.id, { ...tail, signal: abort.signal, onChunk: send });
    if (abort.signal.aborted && !response.destroyed)
      endWith(response, framed, "the reader is too slow: try a shorter --tail");
  } catch (error) {
    endWith(response, framed, readMessage(error));
  }
  response.end(framed ? undefined : `${plain.stdout.end()}${plain.stderr.end()}`);
}

function endWith(response: ServerResponse, framed: boolean, message: string): void {
  response.write(framed ? encodeFrame(FRAME.error, { message }) : cleanLines(`orca: ${message}\n`));
}

function readTail(call: Call): { tail: number; follow: boolean } | undefined {
  const text = call.query.get("tail") ?? String(DEFAULT_TAIL);
  const follow = call.query.get("follow") === "1" || call.query.get("follow") === "true";
  if (!/^\d{1,9}$/.test(text)) return undefined;
  return { tail: Math.min(LONGEST_TAIL, Number(text)), follow };
}
