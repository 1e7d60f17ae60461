// Encrypts in the format of age (age-encryption.org/v1) for X25519 recipients with the runtime's own ciphers: the library's are
// JavaScript, and a dump of gigabytes waits for them. What comes out opens with stock `age -d`, and with the library, which tests hold.

import { createCipheriv, createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";

import { derive, encode, TAG_BYTES, wrapKey, writeNonce } from "./age-keys.ts";

/** The payload is sealed in chunks of that size. */
export const CHUNK_BYTES = 64 * 1024;

/** What stands before the payload, and the payload's key, for public keys as `readRecipient` gives them. */
export function beginFile(keys: readonly Buffer[]): { head: Buffer; key: Buffer } {
  const fileKey = randomBytes(16);
  const salt = randomBytes(16);
  return { head: Buffer.concat([buildHeader(fileKey, keys), salt]), key: derive(fileKey, salt, "payload") };
}

function buildHeader(fileKey: Buffer, keys: readonly Buffer[]): Buffer {
  const stanzas = keys.map((key) => `-> ${wrapKey(fileKey, key)}`).join("");
  const text = `age-encryption.org/v1\n${stanzas}---`;
  const mac = createHmac("sha256", derive(fileKey, Buffer.alloc(0), "header"))
    .update(text)
    .digest();
  return Buffer.from(`${text} ${encode(mac)}\n`);
}

/** How many bytes become of so many, sealed as one batch. */
export function countSealed(bytes: number): number {
  return bytes + TAG_BYTES * Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
}

/** Seals the payload of one file, batch by batch. */
export class PayloadSealer {
  readonly #key: KeyObject;
  readonly #nonce = Buffer.alloc(12);
  #counter = 0;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  /**
   * Seals a batch into `sealed`, which has room for it, and answers how many bytes it has there. Each batch but the last is made of whole
   * chunks, and none but the only one is empty.
   */
  seal(plain: Uint8Array, sealed: Uint8Array, isLast: boolean): number {
    let written = 0;
    let at = 0;
    do {
      const end = Math.min(at + CHUNK_BYTES, plain.length);
      const nonce = writeNonce(this.#nonce, this.#counter, isLast && end === plain.length);
      const cipher = createCipheriv("chacha20-poly1305", this.#key, nonce, { authTagLength: TAG_BYTES });
      this.#counter += 1;
      const chunk = cipher.update(plain.subarray(at, end));
      sealed.set(chunk, written);
      // Given back at once: what the runtime frees late would be a hundred megabytes by then.
      chunk.buffer.transfer(0);
      cipher.final();
      sealed.set(cipher.getAuthTag(), written + end - at);
      written += end - at + TAG_BYTES;
      at = end;
    } while (at < plain.length);
    return written;
  }
}
