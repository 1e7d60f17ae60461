// The frames in which the agent and its CLI speak on the unix socket when they stream: a type, a length, a payload. For
// logs and for `orca exec`. Pure; both ends use it.

/** Types of frames. `start`, `resize`, `end` (of input) and `stdin` go to the agent, the others come from it. */
export const FRAME = { stdin: 0, stdout: 1, stderr: 2, end: 3, exit: 4, resize: 5, start: 6, error: 7 } as const;

/** One type of frame. */
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** One frame. */
export interface Frame {
  type: FrameType;
  payload: Buffer;
}

/** The media type of a stream of frames, and the protocol an exec upgrades to. */
export const FRAMES_TYPE = "application/vnd.orca.frames";
export const EXEC_PROTOCOL = "orca-exec/1";

/** What a person wants to run: the payload of `start`. */
export interface ExecStart {
  command: string[];
  tty: boolean;
  /** False: the command gets no input, as with `docker exec` without -i. */
  stdin: boolean;
  /** The terminal's size, where there is one. */
  size?: { columns: number; rows: number };
}

const HEADER_BYTES = 5;
const LARGEST_PAYLOAD_BYTES = 2 ** 20;

/** Encodes one frame; a payload that is too large for one is cut into several. */
export function encodeFrame(type: FrameType, payload: Uint8Array | string | object): Buffer {
  const bytes =
    payload instanceof Uint8Array
      ? payload
      : Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload), "utf8");
  const parts: Uint8Array[] = [];
  let at = 0;
  do {
    const part = bytes.subarray(at, at + LARGEST_PAYLOAD_BYTES);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(type, 0);
    header.writeUInt32BE(part.length, 1);
    parts.push(header, part);
    at += LARGEST_PAYLOAD_BYTES;
  } while (at < bytes.length);
  return Buffer.concat(parts);
}

/** Puts frames together from pieces of a stream. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Adds a piece; gives the frames that are whole now. Throws on what is no frame. */
  push(piece: Buffer): Frame[] {
    const frames: Frame[] = [];
    let data = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (data.length >= HEADER_BYTES) {
      const type = data.readUInt8(0);
      const length = data.readUInt32BE(1);
      if (type > FRAME.error || length > LARGEST_PAYLOAD_BYTES) throw new Error("read frames: this is no frame");
      const end = HEADER_BYTES + length;
      if (data.length < end) break;
      frames.push({ type: type as FrameType, payload: data.subarray(HEADER_BYTES, end) });
      data = data.subarray(end);
    }
    this.#rest = Buffer.from(data);
    return frames;
  }
}
