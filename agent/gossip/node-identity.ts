// Who this node is: an Ed25519 key made on it, which never leaves, and a certificate of that key for TLS. What counts is the
// key, pinned in fleet.toml; the certificate is only the form in which TLS shows it. Used by the shell and by `orca keygen`.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from "node:crypto";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";
import type { Signer } from "./core/record.ts";

/** A node's key pair. */
export interface Identity {
  /** As fleet.toml writes it: `ed25519:` and the key in base64url. */
  publicKey: string;
  privateKey: KeyObject;
  /** PEM. */
  certificate: string;
}

const PREFIX = "ed25519:";

/** The text of a public key; undefined for a key of another kind. */
export function describeKey(key: KeyObject): string | undefined {
  if (key.asymmetricKeyType !== "ed25519") return undefined;
  return `${PREFIX}${key.export({ format: "jwk" }).x ?? ""}`;
}

/** The public half of a private key in PEM; undefined where it is none. Without the parser's words, which may quote the key. */
export function readPublicHalf(pem: string): string | undefined {
  try {
    return describeKey(createPublicKey(createPrivateKey(pem)));
  } catch {
    return undefined;
  }
}

/** Reads a key as fleet.toml writes it, in base64 or base64url; undefined when it is none. */
function parseKey(text: string): KeyObject | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const bytes = Buffer.from(text.slice(PREFIX.length), "base64url");
  if (bytes.length !== 32) return undefined;
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: bytes.toString("base64url") }, format: "jwk" });
}

/** The one form of a key: two texts of one key compare equal. */
export function normalizeKey(text: string): string | undefined {
  const key = parseKey(text);
  return key === undefined ? undefined : describeKey(key);
}

/** Signs with the node's key, and checks with keys as fleet.toml writes them. */
export function createSigner({ privateKey }: Pick<Identity, "privateKey">): Signer {
  const keys = new Map<string, KeyObject | undefined>();
  return {
    sign: (text) => sign(undefined, Buffer.from(text), privateKey).toString("base64url"),
    verify: (publicKey, text, signature) => {
      if (keys.size > 4_096) keys.clear();
      if (!keys.has(publicKey)) keys.set(publicKey, parseKey(publicKey));
      const key = keys.get(publicKey);
      return key !== undefined && verify(undefined, Buffer.from(text), key, Buffer.from(signature, "base64url"));
    },
  };
}

/**
 * Reads the identity; undefined where it is not complete and has to be made.
 * Throws when the key can be read by others, or is no Ed25519 key: a key is never replaced by itself.
 */
export async function loadIdentity(file: string): Promise<Identity | undefined> {
  const key = await readKey(file);
  const certificate = await readFile(certificatePath(file), "utf8").catch(() => undefined);
  if (key === undefined || certificate === undefined || !belongs(certificate, key.publicKey)) return undefined;
  return { ...key, certificate };
}

/** Makes what is missing of the identity: the key, once and for all, and its certificate. */
export async function makeIdentity(file: string): Promise<Identity> {
  await makeDirectory(dirname(file), 0o700);
  const key = (await readKey(file)) ?? (await makeKey(file));
  // Only whoever makes a certificate pays for what that takes: 22 MB.
  const { buildCertificate } = await import("./mesh/certificate.ts");
  const certificate = await buildCertificate(key.privateKey);
  await writeWhole(certificatePath(file), certificate, 0o644);
  return { ...key, certificate };
}

async function makeKey(file: string): Promise<Omit<Identity, "certificate">> {
  const { privateKey } = generateKeyPairSync("ed25519");
  try {
    await writeWhole(file, privateKey.export({ type: "pkcs8", format: "pem" }).toString(), 0o600);
  } catch (error) {
    await rm(`${file}.new`, { force: true });
    throw new Error(`make the node's key: ${file}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
  const key = await readKey(file);
  if (key === undefined) throw new Error(`make the node's key: ${file} was removed while it was written`);
  return key;
}

async function readKey(file: string): Promise<Omit<Identity, "certificate"> | undefined> {
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`read the node's key: ${file}: ${error.code}`);
  });
  // An empty file is what a full disk has left of a key that was never used.
  if (info === undefined || info.size === 0) return undefined;
  if ((info.mode & 0o077) !== 0) throw new Error(`read the node's key: others can read it: run chmod 600 ${file}`);
  const privateKey = parsePrivateKey(await readFile(file, "utf8"));
  const publicKey = privateKey === undefined ? undefined : describeKey(createPublicKey(privateKey));
  if (privateKey === undefined || publicKey === undefined)
    throw new Error(`read the node's key: ${file} holds no Ed25519 key in PEM form`);
  return { publicKey, privateKey };
}

/** Without the parser's own words, which may quote the key. */
function parsePrivateKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text);
  } catch {
    return undefined;
  }
}

function belongs(certificate: string, publicKey: string): boolean {
  try {
    return describeKey(new X509Certificate(certificate).publicKey) === publicKey;
  } catch {
    return false;
  }
}

function certificatePath(file: string): string {
  return `${file}.crt`;
}

/** Writes a file so that it is there whole or not at all. */
export async function writeWhole(file: string, text: string | Uint8Array, mode: number): Promise<void> {
  const handle = await open(`${file}.new`, "w", mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}
