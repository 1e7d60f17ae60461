// The engine's streams: multiplexed output, events as JSON lines, the progress of a pull. Only docker/ uses it.

import { type EventJson, mapEvent } from "./mapping.ts";
import { EngineError, type FollowOptions, type WatchOptions } from "./reader.ts";
import type { PullOptions } from "./writer.ts";

const HEADER_BYTES = 8;
const STDERR = 2;

/** One piece of output. */
export interface Frame {
  stream: "stdout" | "stderr";
  chunk: Buffer;
}

/** Splits whole multiplexed output into its frames (Docker API, "Attach": 8-byte header, length in its last 4 bytes). */
export function demultiplex(raw: Buffer): Frame[] {
  return new Demultiplexer().push(raw);
}

/** Splits multiplexed output that arrives in pieces. */
export class Demultiplexer {
  #rest: Buffer = Buffer.alloc(0);

  /** Adds a piece; gives the frames that are whole now. */
  push(piece: Buffer): Frame[] {
    const frames: Frame[] = [];
    let data = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (data.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + data.readUInt32BE(4);
      if (data.length < end) break;
      frames.push({ stream: data[0] === STDERR ? "stderr" : "stdout", chunk: data.subarray(HEADER_BYTES, end) });
      data = data.subarray(end);
    }
    this.#rest = Buffer.from(data);
    return frames;
  }
}

/** Splits multiplexed output that comes fast: a frame that is cut comes in parts, so that nothing is held or copied. */
export class FrameSplitter {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headed = 0;
  #left = 0;

  /** All of a piece but its headers. */
  push(piece: Buffer): Frame[] {
    const parts: Frame[] = [];
    for (let at = 0; at < piece.length;) {
      if (this.#left === 0) {
        const copied = piece.copy(this.#header, this.#headed, at, at + HEADER_BYTES - this.#headed);
        this.#headed += copied;
        at += copied;
        if (this.#headed < HEADER_BYTES) break;
        this.#headed = 0;
        this.#left = this.#header.readUInt32BE(4);
        continue;
      }
      const chunk = piece.subarray(at, at + this.#left);
      parts.push({ stream: this.#header[0] === STDERR ? "stderr" : "stdout", chunk });
      this.#left -= chunk.length;
      at += chunk.length;
    }
    return parts;
  }
}

/** Reads a log to its end or until the signal aborts, as fast as whoever takes it and no faster. */
export async function readWhole(stream: NodeJS.ReadableStream, options: FollowOptions): Promise<void> {
  const frames = new Demultiplexer();
  const { signal } = options;
  const abort = (): void => (stream as unknown as { destroy(): void }).destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    if (signal.aborted) abort();
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (const frame of frames.push(chunk)) {
        if (!signal.aborted) await options.onChunk(frame.chunk, frame.stream);
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw new EngineError(`read stream: ${(error as Error).message}`, undefined, error);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Reads events until the stream ends or the signal aborts. */
export async function readEvents(stream: NodeJS.ReadableStream, options: WatchOptions): Promise<void> {
  const lines = new JsonLines();
  await readChunks(stream, options.signal, (chunk) => {
    for (const line of lines.push(chunk)) {
      const event = mapEvent(line as EventJson);
      if (event !== undefined) options.onEvent(event);
    }
  });
}

/** One line of a pull. */
interface PullJson {
  id?: string;
  status?: string;
  error?: string;
  progressDetail?: { current?: number; total?: number };
}

const PROGRESS_EVERY_MS = 250;

/** Follows a pull: the engine's call returns before the image is there, and its errors come in the stream. */
export async function readPull(stream: NodeJS.ReadableStream, options: PullOptions): Promise<void> {
  const lines = new JsonLines();
  const layers = new Map<string, { current: number; total: number }>();
  let reportedMs = 0;
  let failure: string | undefined;
  await readChunks(stream, options.signal, (chunk) => {
    for (const line of lines.push(chunk) as PullJson[]) {
      failure ??= line.error;
      const { current, total } = line.progressDetail ?? {};
      if (line.id !== undefined && total !== undefined) layers.set(line.id, { current: current ?? 0, total });
    }
    const nowMs = performance.now();
    if (nowMs - reportedMs < PROGRESS_EVERY_MS) return;
    reportedMs = nowMs;
    let [doneBytes, totalBytes] = [0, 0];
    for (const layer of layers.values()) {
      doneBytes += layer.current;
      totalBytes += layer.total;
    }
    options.onProgress({ doneBytes, totalBytes, layers: layers.size });
  });
  if (failure !== undefined) throw new EngineError(`pull image: ${failure}`, 500);
  if (options.signal.aborted) throw new EngineError("pull image: cancelled", 499);
}

/** Collects JSON documents that come one to a line; a line that is not JSON is passed over. */
class JsonLines {
  #rest = "";

  push(chunk: Buffer): unknown[] {
    const lines = (this.#rest + chunk.toString("utf8")).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => {
      try {
        return line.trim() === "" ? [] : [JSON.parse(line) as unknown];
      } catch {
        return [];
      }
    });
  }
}

function readChunks(
  stream: NodeJS.ReadableStream,
  signal: AbortSignal,
  onChunk: (chunk: Buffer) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      (stream as unknown as { destroy(): void }).destroy();
      resolve();
    };
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    const settle = (error?: Error): void => {
      signal.removeEventListener("abort", abort);
      if (error === undefined || signal.aborted) resolve();
      else reject(new EngineError(`read stream: ${error.message}`, undefined, error));
    };
    stream.on("data", onChunk);
    stream.on("end", () => settle());
    stream.on("close", () => settle());
    stream.on("error", settle);
  });
}
