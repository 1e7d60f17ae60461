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

/** Opens it. Throws where no identity does, and where the stream was cut or changed. */
export async function* decryptWithKeys(
  stored: AsyncIterable<Uint8Array>,
  identities: readonly X25519Identity[],
): AsyncIterable<Uint8Array> {
  let head = Buffer.alloc(0);
  let open: ((chunk: Buffer, isLast: boolean) => Buffer) | undefined;
  const chunk = Buffer.allocUnsafeSlow(SEALED_BYTES);
  let filled = 0;
  for await (const taken of stored) {
    let piece = taken;
    if (open === undefined) {
      head = Buffer.concat([head, piece]);
      const bytes = findPayload(head);
      if (bytes === undefined) continue;
      const fileKey = readHeader(head.subarray(0, bytes - SALT_BYTES), identities);
      open = createOpen(createSecretKey(derive(fileKey, head.subarray(bytes - SALT_BYTES, bytes), "payload")));
      piece = head.subarray(bytes);
    }
    for (let at = 0; at < piece.length;) {
      if (filled === SEALED_BYTES) {
        yield open(chunk, false);
        filled = 0;
      }
      const part = piece.subarray(at, at + SEALED_BYTES - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  if (open === undefined) throw new Error("it ends within its header");
  yield open(chunk.subarray(0, filled), true);
}

/** How many bytes come before the payload: the header and the salt; undefined while they are not all there. */
function findPayload(head: Buffer): number | undefined {
  const begins = head.subarray(0, VERSION.length).toString("latin1");
  if (!VERSION.startsWith(begins)) throw new Error("it does not begin as a file of age does");
  const last = head.indexOf("\n---");
  const end = last === -1 ? -1 : head.indexOf("\n", last + 1);
  if (end === -1) {
    if (head.length > LARGEST_HEADER_BYTES) throw new Error("its header has no end");
    return undefined;
  }
  const bytes = end + 1 + SALT_BYTES;
  return head.length < bytes ? undefined : bytes;
}

/** The file's key out of a whole header. */
function readHeader(header: Buffer, identities: readonly X25519Identity[]): Buffer {
  const text = header.toString("latin1");
  const [, signed = "", mac = ""] = /^(.*\n---) ([A-Za-z0-9+/]{43})\n$/s.exec(text) ?? [];
  if (signed === "") throw new Error("its header is none of age");
  const stanzas = text.matchAll(/^-> X25519 ([A-Za-z0-9+/]{43})\n([A-Za-z0-9+/]{43})\n/gm);
  for (const [, share = "", wrapped = ""] of stanzas) {
    for (const identity of identities) {
      const fileKey = unwrapKey(Buffer.from(share, "base64"), Buffer.from(wrapped, "base64"), identity);
      if (fileKey === undefined) continue;
      const own = createHmac("sha256", derive(fileKey, Buffer.alloc(0), "header"))
        .update(signed, "latin1")
        .digest();
      if (!timingSafeEqual(own, Buffer.from(mac, "base64"))) throw new Error("its header was changed");
      return fileKey;
    }
  }
  throw new Error("no identity matched any of its recipients");
}

function createOpen(key: KeyObject): (chunk: Buffer, isLast: boolean) => Buffer {
  const nonce = Buffer.alloc(12);
  let counter = 0;
  return (chunk, isLast) => {
    // An empty last chunk behind others is none that age writes ("Payload": it must not be empty).
    if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && counter > 0)) throw new Error("it was cut");
    const decipher = createDecipheriv("chacha20-poly1305", key, writeNonce(nonce, counter, isLast), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    const plain = decipher.update(chunk.subarray(0, -TAG_BYTES));
    try {
      decipher.final();
    } catch (error) {
      throw new Error(`it was cut or changed ${isLast ? "at its end" : `at its chunk ${counter + 1}`}`, {
        cause: error,
      });
    }
    counter += 1;
    return plain;
  };
}
