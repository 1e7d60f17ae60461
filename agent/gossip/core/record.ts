// What a node says of its services, signed by it: built by its owner, relayed as it is, believed for the owner's signature
// alone. Pure; used by the protocol and by whoever reads what it knows.

import * as z from "zod";

import type { ColdStartStatement } from "../../../shared/state/cold-start.ts";
import { type SignedTakeover, signedTakeover } from "../../../shared/fleet/takeover.ts";
import type { LostNode } from "../../../shared/slo/availability.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { name } from "../../../shared/text/schema-leaf.ts";
import {
  LARGEST_BODY,
  LONGEST_WHY_TAKEN,
  MOST_LOST,
  MOST_SERVICES,
  MOST_TAKEOVERS,
  MOST_WAITING_TAKEN,
} from "../settings.ts";

/** Signs as this node, and checks what others signed. */
export interface Signer {
  sign(text: string): string;
  /** @param publicKey as fleet.toml writes it */
  verify(publicKey: string, text: string, signature: string): boolean;
}

const DOMAIN = "orca-gossip-record-v1";

const counter = z.int().min(0);

const serviceStatement = z.object({
  /** Healthy now by its owner's probes, or a job that has completed: what a start elsewhere may rely on. */
  ready: z.boolean(),
  state: z.string().max(20),
  /** Why it is not ready. */
  why: z.string().max(LONGEST_WHY_TAKEN).optional(),
  /** The run of the container that this is said of; health of an earlier run says nothing of this one. */
  start: z.string().max(80).optional(),
  revision: z.string().max(80).optional(),
  /** Since when it is so, by the owner's wall clock: for people, never compared. */
  sinceMs: z.number().optional(),
  /** What its last start took, from the start of its container until it was healthy. */
  tookMs: z.number().min(0).optional(),
  /** What its start waits for: `node/service` or an endpoint. */
  waiting: z.array(z.string().max(200)).max(MOST_WAITING_TAKEN).optional(),
});

const durationMs = z.int().min(0);
const moment = durationMs.nullable();

const coldService = z.object({
  at: z.tuple([moment, moment, moment, moment]),
  by: z.string().max(200).optional(),
  forMs: durationMs.optional(),
  slotMs: durationMs.optional(),
  without: z.array(z.string().max(200)).max(MOST_WAITING_TAKEN).optional(),
});

const coldStartStatement: z.ZodType<ColdStartStatement> = z.object({
  run: z.string().max(40),
  ageMs: durationMs,
  done: z.literal(true).optional(),
  seen: z.record(name, z.int()).refine((seen) => Object.keys(seen).length <= MOST_SERVICES, "too many nodes"),
  services: z
    .record(name, coldService)
    .refine((services) => Object.keys(services).length <= MOST_SERVICES, "too many services"),
});

const body = z.object({
  v: z.literal(1),
  realm: name,
  node: name,
  boot: counter,
  seq: counter,
  revision: z.string().max(80).optional(),
  /** The agent ended as it was told to. */
  left: z.literal(true).optional(),
  /** The agent that says it: other nodes take a new version only after the first one has. */
  agent: z
    .object({ version: z.string().max(100), confirmed: z.boolean() })
    .optional()
    .catch(undefined),
  /** When other nodes were dead for this one, by its own wall clock: whoever it is about learns how long it was away. */
  lost: z
    .array(z.object({ node: name, fromMs: z.number(), toMs: z.number().optional() }))
    .max(MOST_LOST)
    .optional()
    .catch(undefined),
  /** How it came up, while that is news. What a later version may make of it is passed over, never a reason to refuse. */
  cold: coldStartStatement.optional().catch(undefined),
  /** Which spares stand in whose place, as far as it knows: each with a signature of its own. Earlier versions pass it over. */
  takeovers: z.array(signedTakeover).max(MOST_TAKEOVERS).optional().catch(undefined),
  services: z
    .record(name, serviceStatement)
    .refine((services) => Object.keys(services).length <= MOST_SERVICES, "too many services"),
});

/** What an owner says of one of its services. */
export type ServiceStatement = z.output<typeof serviceStatement>;
/** Everything an owner says. */
export type RecordBody = z.output<typeof body>;

/** True where two words on an agent say the same. */
export function isSameAgent(left: RecordBody["agent"], right: RecordBody["agent"]): boolean {
  return left?.version === right?.version && left?.confirmed === right?.confirmed;
}

/** True where two words on lost nodes say the same. */
export function isSameLost(left: readonly LostNode[] = [], right: readonly LostNode[] = []): boolean {
  return left === right || JSON.stringify(left) === JSON.stringify(right);
}

/** The order of an owner's records: never a clock. `boot` rises with each start of the agent, `seq` with each record. */
export interface Version {
  boot: number;
  seq: number;
}

/** A record as it travels: the signature is over the bytes of `body`. The header repeats what stands in it. */
export interface SignedRecord extends Version {
  node: string;
  body: string;
  signature: string;
}

/** The schema of a record as it travels. */
export const signedRecord = z.object({
  node: name,
  boot: counter,
  seq: counter,
  body: z.string().max(LARGEST_BODY),
  signature: z.string().max(200),
});

/** Below zero when the left version is older. */
export function compareVersions(left: Version, right: Version): number {
  return left.boot - right.boot || left.seq - right.seq;
}

/**
 * Compares two records of one owner. Two with one version and different words are the mark of a cloned key; which of them
 * counts must be the same everywhere, or views would never agree.
 */
export function compareRecords(left: SignedRecord, right: SignedRecord): number {
  return compareVersions(left, right) || compareText(left.body, right.body);
}

/** What a record says, of which life and which word of it. */
export function buildBody(
  life: { realm: string; node: string; boot: number; seq: number },
  { services, revision, cold, agent, left, takeovers = [], lost = [] }: Pick<RecordBody, "services"> & Unsaid,
): RecordBody {
  return {
    v: 1,
    ...life,
    ...(revision === undefined ? {} : { revision }),
    ...(left ? { left } : {}),
    ...(agent === undefined ? {} : { agent }),
    ...(lost.length === 0 ? {} : { lost: [...lost] }),
    ...(cold === undefined ? {} : { cold }),
    ...(takeovers.length === 0 ? {} : { takeovers: takeovers.slice(0, MOST_TAKEOVERS) }),
    services,
  };
}

/** What is left out of a record where there is nothing to say of it. */
interface Unsaid {
  revision: RecordBody["revision"] | undefined;
  agent?: RecordBody["agent"];
  cold?: RecordBody["cold"] | undefined;
  takeovers?: readonly SignedTakeover[] | undefined;
  lost?: readonly LostNode[] | undefined;
  left: boolean;
}

/** Signs what this node says; what is too long to be sent loses its explanations, never a service. */
export function signRecord(words: RecordBody, signer: Signer): SignedRecord {
  const whole = JSON.stringify(words);
  const text = whole.length <= LARGEST_BODY ? whole : JSON.stringify(shorten(words));
  const { node, boot, seq } = words;
  return { node, boot, seq, body: text, signature: signer.sign(`${DOMAIN}\n${text}`) };
}

function shorten(words: RecordBody): RecordBody {
  const services = Object.entries(words.services).map(([service, { ready, state, start }]) => {
    return [service, start === undefined ? { ready, state } : { ready, state, start }] as const;
  });
  const { cold: _cold, lost: _lost, ...rest } = words;
  return { ...rest, services: Object.fromEntries(services) };
}

/** Reads a record's body; undefined when it is none, or says something else than its header. Checks no signature. */
export function readRecord(record: SignedRecord): RecordBody | undefined {
  let json: unknown;
  try {
    json = JSON.parse(record.body);
  } catch {
    return undefined;
  }
  const parsed = body.safeParse(json);
  if (!parsed.success) return undefined;
  const { node, boot, seq } = parsed.data;
  if (node !== record.node || boot !== record.boot || seq !== record.seq) return undefined;
  return parsed.data;
}

/** True for what that key has signed. */
export function isSigned(record: SignedRecord, publicKey: string, signer: Signer): boolean {
  return signer.verify(publicKey, `${DOMAIN}\n${record.body}`, record.signature);
}

/** Whose word counts: a node's key, in one realm. */
interface Owner {
  realm: string;
  publicKey: string;
  signer: Signer;
}

/** True for what its owner has signed, for this realm. */
export function isOwners(record: SignedRecord, read: RecordBody, { realm, publicKey, signer }: Owner): boolean {
  return read.realm === realm && isSigned(record, publicKey, signer);
}

/** Reads a record that its owner has signed, for this realm; undefined for every other. */
export function readSigned(record: SignedRecord, owner: Owner): RecordBody | undefined {
  const read = readRecord(record);
  return read !== undefined && isOwners(record, read, owner) ? read : undefined;
}

/** What a node signs to prove to another that it is alive and what its newest record is. */
export function describeProof(proof: Version & { realm: string; node: string; to: string; nonce: string }): string {
  const { realm, node, to, nonce, boot, seq } = proof;
  return ["orca-gossip-proof-v1", realm, node, to, nonce, boot, seq].join("\n");
}
