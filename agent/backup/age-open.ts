// Opens a stream in the format of age (age-encryption.org/v1) with X25519 identities and the runtime's own ciphers, as age-stream.ts makes
// it and stock `age` does. Nothing comes out of a chunk before its tag was found right, and the last chunk says that it is the last.

import { createDecipheriv, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";

import { derive, TAG_BYTES, unwrapKey, writeNonce, type X25519Identity } from "./age-keys.ts";
import { CHUNK_BYTES } from "./age-stream.ts";

const VERSION = "age-encryption.org/v1\n";
const SALT_BYTES = 16;
const SEALED_BYTES = CHUNK_BYTES + TAG_BYTES;
/** Of many recipients; what has no end by then is no header. */
const LARGEST_HEADER_BYTES = 1024 * 1024;

/** It is not what was encrypted, or nobody here can open it. */
export class AgeFault extends Error {}

/** Opens it. Throws an `AgeFault` where no identity does, and where the stream was cut or changed. */
export async function* decryptWithKeys(
  stored: AsyncIterable<Uint8Array>,
  identities: readonly X25519Identity[],
): AsyncIterable<Uint8Array> {
  let head = Buffer.alloc(0);
  let payload: PayloadOpener | undefined;
  for await (const piece of stored) {
    if (payload !== undefined) {
      yield* payload.take(piece);
      continue;
    }
    head = Buffer.concat([head, piece]);
    const bytes = findPayload(head);
    if (bytes === undefined) continue;
    const fileKey = readHeader(head.subarray(0, bytes - SALT_BYTES), identities);
    payload = new PayloadOpener(derive(fileKey, head.subarray(bytes - SALT_BYTES, bytes), "payload"));
    yield* payload.take(head.subarray(bytes));
  }
  if (payload === undefined) throw new AgeFault("it ends within its header");
  yield payload.end();
}

/** How many bytes come before the payload: the header and the salt; undefined while they are not all there. */
function findPayload(head: Buffer): number | undefined {
  const begins = head.subarray(0, VERSION.length).toString("latin1");
  if (!VERSION.startsWith(begins)) throw new AgeFault("it does not begin as a file of age does");
  const last = head.indexOf("\n---");
  const end = last === -1 ? -1 : head.indexOf("\n", last + 1);
  if (end === -1) {
    if (head.length > LARGEST_HEADER_BYTES) throw new AgeFault("its header has no end");
    return undefined;
  }
  const bytes = end + 1 + SALT_BYTES;
  return head.length < bytes ? undefined : bytes;
}

/** The file's key out of a whole header. */
function readHeader(header: Buffer, identities: readonly X25519Identity[]): Buffer {
  const text = header.toString("latin1");
  const [, signed = "", mac = ""] = /^(.*\n---) ([A-Za-z0-9+/]{43})\n$/s.exec(text) ?? [];
  if (signed === "") throw new AgeFault("its header is none of age");
  const stanzas = text.matchAll(/^-> X25519 ([A-Za-z0-9+/]{43})\n([A-Za-z0-9+/]{43})\n/gm);
  for (const [, share = "", wrapped = ""] of stanzas) {
    for (const identity of identities) {
      const fileKey = unwrapKey(Buffer.from(share, "base64"), Buffer.from(wrapped, "base64"), identity);
      if (fileKey === undefined) continue;
      const own = createHmac("sha256", derive(fileKey, Buffer.alloc(0), "header"))
        .update(signed, "latin1")
        .digest();
      if (!timingSafeEqual(own, Buffer.from(mac, "base64"))) throw new AgeFault("its header was changed");
      return fileKey;
    }
  }
  throw new AgeFault("no identity matched any of its recipients");
}

/** Cuts a payload into its chunks again, and opens one after the other. Throws an `AgeFault`. */
export class PayloadOpener {
  readonly #key: KeyObject;
  readonly #nonce = Buffer.alloc(12);
  readonly #chunk = Buffer.allocUnsafeSlow(SEALED_BYTES);
  #filled = 0;
  #counter = 0;

  constructor(key: Buffer) {
    this.#key = createSecretKey(key);
  }

  /** What is known not to be the last chunk. */
  *take(piece: Uint8Array): Iterable<Buffer<ArrayBuffer>> {
    for (let at = 0; at < piece.length;) {
      if (this.#filled === SEALED_BYTES) {
        yield this.#open(this.#chunk, false);
        this.#filled = 0;
      }
      // Whole in what came, with more behind it: it need not be gathered.
      if (this.#filled === 0 && piece.length - at > SEALED_BYTES) {
        yield this.#open(piece.subarray(at, at + SEALED_BYTES), false);
        at += SEALED_BYTES;
        continue;
      }
      const part = piece.subarray(at, at + SEALED_BYTES - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
    }
  }

  /** The last one, once all has come. */
  end(): Buffer<ArrayBuffer> {
    return this.#open(this.#chunk.subarray(0, this.#filled), true);
  }

  #open(chunk: Uint8Array, isLast: boolean): Buffer<ArrayBuffer> {
    // An empty last chunk behind others is none that age writes ("Payload": it must not be empty).
    if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && this.#counter > 0)) throw new AgeFault("it was cut");
    const nonce = writeNonce(this.#nonce, this.#counter, isLast);
    const decipher = createDecipheriv("chacha20-poly1305", this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    const plain = decipher.update(chunk.subarray(0, -TAG_BYTES));
    try {
      decipher.final();
    } catch (error) {
      const where = isLast ? "at its end" : `at its chunk ${this.#counter + 1}`;
      throw new AgeFault(`it was cut or changed ${where}`, { cause: error });
    }
    this.#counter += 1;
    return plain;
  }
}
