// Takes commits and tags apart into what was signed and the signature, and reads from an SSH signature which key made it.
// Pure: whether the signature is good is for ssh-keygen to say. Used by the child that fetches.

import type { SignerFault } from "../../../../shared/state/hold.ts";

/** What stands where a signature would. */
type Signature =
  | { kind: "none" }
  | { kind: "ssh"; armored: string; key: Uint8Array }
  /** Something that is never trusted. */
  | { kind: "unusable"; why: SignerFault };

/** An object as signed. */
export interface SignedObject {
  payload: Buffer;
  signature: Signature;
}

const SSH_BEGIN = "-----BEGIN SSH SIGNATURE-----";
const SSH_END = "-----END SSH SIGNATURE-----";
const NAMESPACE = "git";
const HEADER = /^gpgsig(-sha256)? /;

/** Takes a commit apart: its signature is a header. */
export function splitCommit(content: Uint8Array): SignedObject {
  const text = Buffer.from(content).toString("latin1");
  const end = text.indexOf("\n\n");
  const head = end < 0 ? text : text.slice(0, end);
  const [kept, signatures]: [string[], string[][]] = [[], []];
  let isInside = false;
  for (const line of head.split("\n")) {
    if (HEADER.test(line)) signatures.push([line.replace(HEADER, "")]);
    else if (isInside && line.startsWith(" ")) signatures.at(-1)?.push(line.slice(1));
    else kept.push(line);
    isInside = HEADER.test(line) || (isInside && line.startsWith(" "));
  }
  const payload = Buffer.from(`${kept.join("\n")}${end < 0 ? "" : text.slice(end)}`, "latin1");
  const more = { kind: "unusable", why: { code: "several-signatures" } } as const;
  return { payload, signature: signatures.length > 1 ? more : readSignature(signatures[0]?.join("\n")) };
}

/** Takes an annotated tag apart: its signature follows its message. */
export function splitTag(content: Uint8Array): SignedObject {
  const text = Buffer.from(content).toString("latin1");
  const starts = [...text.matchAll(/^-----BEGIN (SSH|PGP) (SIGNATURE|MESSAGE)-----/gm)];
  const at = starts.at(-1)?.index;
  if (at === undefined) return { payload: Buffer.from(content), signature: { kind: "none" } };
  return { payload: Buffer.from(text.slice(0, at), "latin1"), signature: readSignature(text.slice(at)) };
}

function readSignature(armored: string | undefined): Signature {
  if (armored === undefined) return { kind: "none" };
  const text = armored.trim();
  if (text.startsWith("-----BEGIN PGP")) return { kind: "unusable", why: { code: "gpg-signature" } };
  if (!text.startsWith(SSH_BEGIN)) return { kind: "unusable", why: { code: "foreign-signature" } };
  if (!text.endsWith(SSH_END) || text.indexOf(SSH_END) !== text.length - SSH_END.length) return BROKEN;
  const blob = Buffer.from(text.slice(SSH_BEGIN.length, -SSH_END.length), "base64");
  const key = readKey(blob);
  return key === undefined ? BROKEN : { kind: "ssh", armored: `${text}\n`, key };
}

const BROKEN: Signature = { kind: "unusable", why: { code: "broken-signature" } };

/** The key in OpenSSH's signature format, version 1 (PROTOCOL.sshsig); undefined where it is not one for Git. */
function readKey(blob: Buffer): Uint8Array | undefined {
  if (blob.toString("latin1", 0, 6) !== "SSHSIG" || blob.length < 18 || blob.readUInt32BE(6) !== 1) return undefined;
  const key = readField(blob, 10);
  const namespace = key === undefined ? undefined : readField(blob, 14 + key.length);
  return namespace?.toString("latin1") === NAMESPACE ? key : undefined;
}

function readField(blob: Buffer, at: number): Buffer | undefined {
  if (at + 4 > blob.length) return undefined;
  const end = at + 4 + blob.readUInt32BE(at);
  return end > blob.length ? undefined : blob.subarray(at + 4, end);
}
