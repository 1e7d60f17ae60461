// What the simulated fleet has in place of keys and of the wire: a signature that is cheap, and how many bytes a message takes.

import type { Message } from "../../../agent/gossip/core/message.ts";
import type { Signer } from "../../../agent/gossip/core/record.ts";

/** Ethernet, IP and TCP with timestamps; TLS 1.3 around a record; a packet that only acknowledges. */
const PACKET_BYTES = 66;
const TLS_BYTES = 22;

/** Signs by the key's name: as strong as it must be in a simulation, and a thousand times faster. */
export const tagSigner = (key: string): Signer => ({
  sign: (text) => tag(key, text),
  verify: (publicKey, text, signature) => signature === tag(publicKey, text),
});

function tag(key: string, text: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return `${key}:${(hash >>> 0).toString(16)}`;
}

/** About as many bytes as a message puts on the wire, with its acknowledgement. */
export function countBytes(message: Message): number {
  return countPacket(countPayload(message));
}

/** The same of a packet. */
export function countPacket(payloadBytes: number): number {
  return 1.5 * PACKET_BYTES + payloadBytes;
}

/** What a message takes of a stream. */
export function countPayload(message: Message): number {
  return TLS_BYTES + 4 + sizeOf(message);
}

function sizeOf(message: Message): number {
  if (message.t === "beat") return message.sum === undefined ? 0 : 8;
  if (message.t === "record") return message.record.body.length + 180;
  return message.t === "digest" ? 40 + message.have.length * 16 : 150;
}
