// What nodes say to each other on a link, and how it looks in bytes: a length, then JSON; a heartbeat is almost nothing.
// Pure. What is no message ends the link, so that a confused or hostile peer costs one frame.

import * as z from "zod";

import { name } from "../../../shared/text/schema-leaf.ts";
import { signedRecord } from "./record.ts";
import { LARGEST_FRAME_BYTES } from "../settings.ts";
import { describeCount } from "../../../shared/text/count.ts";

const HEADER_BYTES = 4;
const SUM_BYTES = 8;

const nonce = z.string().regex(/^[A-Za-z0-9_-]{8,32}$/);
const counter = z.int().min(0);

const message = z.discriminatedUnion("t", [
  z.object({ t: z.literal("record"), record: signedRecord }),
  /** What the sender holds; with `reply` it asks for what it lacks. */
  z.object({
    t: z.literal("digest"),
    have: z.array(z.tuple([name, counter, counter])).max(4096),
    sum: z.string().regex(/^[0-9a-f]{16}$/),
    reply: z.boolean(),
  }),
  /** A second opinion: do you reach the target? */
  z.object({ t: z.literal("ask"), target: name, nonce }),
  /** The answer of one that does not reach it either. */
  z.object({ t: z.literal("no"), target: name, nonce }),
  /** What a relay hands on to the target of an ask. */
  z.object({ t: z.literal("challenge"), asker: name, nonce }),
  /** What the target signs, by way of the relay. */
  z.object({
    t: z.literal("proof"),
    target: name,
    asker: name,
    nonce,
    boot: counter,
    seq: counter,
    signature: z.string().max(200),
  }),
  /** There is a new revision: look at Git. */
  z.object({ t: z.literal("hint"), revision: z.string().regex(/^[\w:.-]{1,80}$/) }),
]);

/** A heartbeat; with `sum` it asks to compare what both know. */
interface Beat {
  t: "beat";
  /** 16 hex digits over everything the sender holds. */
  sum?: string;
}

/** One message. */
export type Message = Beat | z.output<typeof message>;

/** Encodes one message as a frame. */
export function encodeMessage(value: Message): Buffer {
  const payload = value.t === "beat" ? Buffer.from(value.sum ?? "", "hex") : Buffer.from(JSON.stringify(value), "utf8");
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

/** Puts messages together from pieces of a stream. */
export class MessageReader {
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** Adds a piece; gives the messages that are whole now. Throws on what is no message. */
  push(piece: Buffer): Message[] {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    const messages: Message[] = [];
    while (this.#bytes >= HEADER_BYTES) {
      const length = this.#peek(HEADER_BYTES).readUInt32BE(0);
      if (length > LARGEST_FRAME_BYTES) throw new Error(`a frame of ${describeCount(length, "byte")}`);
      if (this.#bytes < HEADER_BYTES + length) break;
      messages.push(decode(this.#take(HEADER_BYTES + length).subarray(HEADER_BYTES)));
    }
    return messages;
  }

  /** The first bytes, in one piece. */
  #peek(bytes: number): Buffer {
    const [first] = this.#pieces;
    if (first !== undefined && first.length >= bytes) return first;
    this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0] as Buffer;
  }

  #take(bytes: number): Buffer {
    const whole = this.#peek(bytes);
    this.#bytes -= bytes;
    const rest = whole.subarray(bytes);
    this.#pieces = rest.length === 0 ? this.#pieces.slice(1) : [rest, ...this.#pieces.slice(1)];
    return whole.subarray(0, bytes);
  }
}

function decode(payload: Buffer): Message {
  if (payload.length === 0) return { t: "beat" };
  if (payload.length === SUM_BYTES) return { t: "beat", sum: payload.toString("hex") };
  const parsed = message.safeParse(JSON.parse(payload.toString("utf8")));
  if (!parsed.success) throw new Error("a frame that is no message");
  return parsed.data;
}
