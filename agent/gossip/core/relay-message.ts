// What nodes say to each other through a server that none of them trusts: each message carries its owner's signature, and what
// can be replayed says at what time of its owner's life it was said. Pure.

import * as z from "zod";

import { name } from "../../../shared/text/schema-leaf.ts";
import type { Signer } from "./record.ts";

const nonce = z.string().regex(/^[A-Za-z0-9_-]{8,32}$/);
const counter = z.int().min(0);
const signature = z.string().max(200);

/** Where its owner stands: its newest record, its newest heartbeat, and how long it has been up. */
const standing = { node: name, boot: counter, seq: counter, beat: counter, upMs: counter };

const message = z.discriminatedUnion("t", [
  z.object({ t: z.literal("beat"), ...standing, signature }),
  /** Do you live now? Only the target can answer, and only after this was sent. */
  z.object({ t: z.literal("ask"), asker: name, target: name, nonce }),
  z.object({ t: z.literal("proof"), ...standing, to: name, nonce, signature }),
  /** There is a new revision: look at Git. */
  z.object({ t: z.literal("hint"), node: name, revision: z.string().regex(/^[\w:.-]{1,80}$/), signature }),
]);

/** One message. */
export type RelayMessage = z.output<typeof message>;
/** What a heartbeat and a proof say of their owner. */
export type Standing = Pick<Extract<RelayMessage, { t: "beat" }>, keyof typeof standing>;

/** Reads a message; undefined when it is none. */
export function readRelayed(text: string): RelayMessage | undefined {
  try {
    return message.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function describeStanding({ node, boot, seq, beat, upMs }: Standing): string {
  return [node, boot, seq, beat, upMs].join("\n");
}

function buildSignedText(realm: string, said: RelayMessage): string {
  switch (said.t) {
    case "beat":
      return `orca-relay-beat-v1\n${realm}\n${describeStanding(said)}`;
    case "proof":
      return `orca-relay-proof-v1\n${realm}\n${describeStanding(said)}\n${said.to}\n${said.nonce}`;
    case "hint":
      return `orca-relay-hint-v1\n${realm}\n${said.node}\n${said.revision}`;
    case "ask":
      return "";
    default:
      return said satisfies never;
  }
}

type Unsigned<T> = T extends { signature: string } ? Omit<T, "signature"> : never;

/** Signs a message of this node. */
export function signRelayed(realm: string, said: Unsigned<RelayMessage>, signer: Signer): RelayMessage {
  const whole: RelayMessage = { ...said, signature: "" };
  return { ...whole, signature: signer.sign(buildSignedText(realm, whole)) };
}

/** Is this its owner's word? */
export function isOwnWord(
  realm: string,
  said: Extract<RelayMessage, { signature: string }>,
  { publicKey, signer }: { publicKey: string; signer: Signer },
): boolean {
  return signer.verify(publicKey, buildSignedText(realm, said), said.signature);
}
