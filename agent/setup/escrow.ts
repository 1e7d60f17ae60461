// The escrow of a node: everything that a spare needs which Git has not, as one document. `orca escrow create` fills and encrypts it,
// `orca recover` opens it. It is the one file that holds credentials, so it is never written unencrypted. Pure.

import * as z from "zod";

import type { AgentConfig } from "../../shared/config/agent-config.ts";
import type { Policy } from "../../shared/policy/policy.ts";
import { absolutePath, name } from "../../shared/text/schema-leaf.ts";
import { listCredentials } from "./credentials.ts";

/** The largest file that is taken in. */
export const LARGEST_ESCROWED_BYTES = 4 * 1024 * 1024;

const escrowedFile = z.strictObject({
  /** What it is, for people. */
  role: z.string().max(200),
  path: absolutePath,
  /** In base64. */
  content: z.base64(),
});

/** The schema of an opened escrow. */
export const escrowSchema = z.strictObject({
  version: z.literal(1),
  node: name,
  /** When it was made, in milliseconds since 1970. */
  createdMs: z.int().min(0),
  /** Where agent.toml lies on the node. */
  config: absolutePath,
  /** The term of the takeover of this node that counted then; 0 where there was none. */
  term: z.int().min(0),
  files: z.array(escrowedFile).max(256),
  /** The private half of the recovery key, as PEM. */
  recoveryKey: z.string().max(1_000),
});

/** An opened escrow. */
export type Escrow = z.output<typeof escrowSchema>;

/** What a node keeps of its last escrow: no value, only what is in it. */
export const escrowRecord = z.object({
  version: z.literal(1),
  createdMs: z.int(),
  recipients: z.array(z.string()),
  files: z.array(z.object({ role: z.string(), path: absolutePath })),
});

/** What is kept of an escrow. */
export type EscrowRecord = z.output<typeof escrowRecord>;

/** A file that belongs into an escrow. */
export interface EscrowPart {
  role: string;
  path: string;
  /** Without it no spare can do what the node did. */
  required: boolean;
}

/** Where the parts of the state lie that an escrow takes. */
export interface EscrowPlaces {
  config: string;
  backupKey: string;
  hostKey: string;
  sealed: string;
}

/**
 * Every file that belongs into a node's escrow. Its own identity does not: the spare has its own.

 */
export function listEscrowParts(config: AgentConfig, policy: Policy, places: EscrowPlaces): EscrowPart[] {
  const { source, secrets, docker } = config;
  const isSealed = secrets !== undefined;
  const authorities = [source.git?.ca_file, secrets?.infisical?.ca_file].flatMap((path) => path ?? []);
  const all: EscrowPart[] = [
    { role: "agent.toml", path: places.config, required: true },
    { role: "the host's policy", path: config.policy.file, required: true },
    { role: "what opens this node's backups", path: places.backupKey, required: true },
    { role: "what opens the last known secrets", path: secrets?.key_file ?? places.hostKey, required: isSealed },
    // Not there while no service has asked for a secret.
    { role: "the last known secrets, sealed", path: places.sealed, required: false },
    ...listCredentials(config).map(({ role, path, optional }) => ({ role, path, required: !optional })),
    ...authorities.map((path) => ({ role: "a certificate authority", path, required: true })),
    ...policy.bootstrap.allowed_files.map((path) => ({ role: "a bootstrap file", path, required: false })),
    ...(docker.auth_file === undefined ? [] : [{ role: "registry", path: docker.auth_file, required: false }]),
  ];
  return all.filter(({ path }, at) => all.findIndex((entry) => entry.path === path) === at);
}
