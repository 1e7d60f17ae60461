// The keys of age (age-encryption.org/v1) for X25519: how people write them (Bech32, BIP 173), and how the key of a file is wrapped for one
// of them. What this makes opens with stock `age`, and what that makes is opened here; tests hold both.

import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";

/** Of Poly1305. */
export const TAG_BYTES = 16;
const KEY_BYTES = 32;
const INFO = "age-encryption.org/v1/X25519";
const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
/** Of a private key of X25519 in PKCS #8; its 32 bytes follow (RFC 8410, section 7). */
const PRIVATE_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");

/** The public key of an X25519 recipient; undefined for one of another kind, and for one with a slip of the pen. */
export function readRecipient(recipient: string): Buffer | undefined {
  return /^age1[a-z0-9]{58}$/.test(recipient) ? decode("age", recipient.slice(4)) : undefined;
}

/** The two halves of an X25519 identity; undefined for one of another kind. */
export function readIdentity(identity: string): X25519Identity | undefined {
  if (!/^AGE-SECRET-KEY-1[A-Z0-9]{58}$/.test(identity)) return undefined;
  const bytes = decode("age-secret-key-", identity.slice("AGE-SECRET-KEY-1".length).toLowerCase());
  if (bytes === undefined) return undefined;
  const privateKey = createPrivateKey({ key: Buffer.concat([PRIVATE_HEAD, bytes]), format: "der", type: "pkcs8" });
  return { privateKey, recipient: exportKey(createPublicKey(privateKey)) };
}

/** What opens a file. */
export interface X25519Identity {
  privateKey: KeyObject;
  /** Its public half. */
  recipient: Buffer;
}

/** The file's key for one recipient, by a key of its own that nobody keeps: the stanza, without its arrow. */
export function wrapKey(fileKey: Buffer, recipient: Buffer): string {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const share = exportKey(publicKey);
  const secret = diffieHellman({ privateKey, publicKey: importKey(recipient) });
  const wrapping = derive(secret, Buffer.concat([share, recipient]), INFO);
  const cipher = createCipheriv("chacha20-poly1305", wrapping, Buffer.alloc(12), { authTagLength: TAG_BYTES });
  const wrapped = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
  return `X25519 ${encode(share)}\n${encode(wrapped)}\n`;
}

/** The file's key out of what `wrapKey` made; undefined where it was made for somebody else. */
export function unwrapKey(share: Buffer, wrapped: Buffer, identity: X25519Identity): Buffer | undefined {
  if (share.length !== KEY_BYTES || wrapped.length !== 16 + TAG_BYTES) return undefined;
  try {
    const secret = diffieHellman({ privateKey: identity.privateKey, publicKey: importKey(share) });
    const wrapping = derive(secret, Buffer.concat([share, identity.recipient]), INFO);
    const decipher = createDecipheriv("chacha20-poly1305", wrapping, Buffer.alloc(12), { authTagLength: TAG_BYTES });
    decipher.setAuthTag(wrapped.subarray(-TAG_BYTES));
    const fileKey = decipher.update(wrapped.subarray(0, -TAG_BYTES));
    decipher.final();
    return fileKey;
  } catch {
    return undefined;
  }
}

/** HKDF with SHA-256, as every key of the format is made; 32 bytes. */
export function derive(secret: Buffer, salt: Buffer, info: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, info, KEY_BYTES));
}

/** Base64 as the header has it: without its filling. */
export function encode(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

/** The nonce of one 64 KiB chunk (STREAM): eleven bytes of a counter, and one that says which chunk is the last. */
export function writeNonce(nonce: Buffer, counter: number, isLast: boolean): Buffer {
  nonce.writeUIntBE(counter, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function importKey(bytes: Buffer): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "X25519", x: bytes.toString("base64url") }, format: "jwk" });
}

function exportKey(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");
}

/** 32 bytes of Bech32 behind a prefix. */
function decode(prefix: string, text: string): Buffer | undefined {
  const values = Array.from(text, (letter) => ALPHABET.indexOf(letter));
  if (values.includes(-1) || sumUp([...spread(prefix), ...values]) !== 1) return undefined;
  const bytes: number[] = [];
  let [held, bits] = [0, 0];
  for (const value of values.slice(0, -6)) {
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 0xff);
  }
  return bytes.length === KEY_BYTES ? Buffer.from(bytes) : undefined;
}

function spread(prefix: string): number[] {
  const codes = Array.from(prefix, (letter) => letter.codePointAt(0) ?? 0);
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function sumUp(values: readonly number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ff_ffff) << 5) ^ value;
    for (const [bit, factor] of GENERATOR.entries()) if (((top >> bit) & 1) === 1) sum ^= factor;
  }
  return sum >>> 0;
}
