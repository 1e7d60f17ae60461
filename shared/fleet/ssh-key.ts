// A public SSH key as ssh-keygen writes it: `ssh-ed25519 AAAA… comment`. Used for the keys that agent.toml trusts and for
// those that signatures name. Pure.

import { createHash } from "node:crypto";

/** A public key without its comment. */
export interface SshKey {
  /** Type and base64, as ssh-keygen takes them. */
  line: string;
  /** As `ssh-keygen -l` prints it: `SHA256:…`. */
  fingerprint: string;
}

const TYPES =
  /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)$/;

/**
 * Parses one public key.
 * @returns the key, or a text that says what is wrong
 */
export function parseSshKey(text: string): SshKey | string {
  const [type = "", encoded = ""] = text.trim().split(/[ \t]+/);
  if (/PRIVATE KEY/.test(text)) return "it is a private key, which belongs on no server: write the .pub file's line";
  if (!TYPES.test(type)) return `${type === "" ? "nothing" : type.slice(0, 60)} is no type of key that signs commits`;
  const blob = Buffer.from(encoded, "base64");
  if (blob.toString("base64").replace(/=+$/, "") !== encoded.replace(/=+$/, "") || readText(blob) !== type)
    return "its second word is not the key that the first says";
  return { line: `${type} ${encoded}`, fingerprint: fingerprintOf(blob) };
}

/** The fingerprint of a key in SSH's wire form. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** The first string of a wire form; empty where there is none. */
function readText(blob: Buffer): string {
  return blob.length < 4 ? "" : blob.toString("latin1", 4, 4 + blob.readUInt32BE(0));
}
