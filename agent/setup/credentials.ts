// What a node cannot be given by user-data: the files that its agent.toml names and that hold a secret. `orca cloud-init` says which, the VM
// waits for them, `orca enroll` brings them. Pure.

import * as z from "zod";

import type { AgentConfig } from "../../shared/config/agent-config.ts";

/** The words, and what each is. */
export const CREDENTIAL_ROLES = {
  "git-token": "a token that may read the manifests repository",
  "status-token": "a token that may write commit statuses",
  "webhook-secret": "what the forge signs pushes with",
  "infisical-id": "the client id of the machine identity",
  "infisical-secret": "its client secret",
  secrets: "the file of secrets",
  "secrets-key": "the key that opens it",
  "alert-webhook": "the URL that alerts go to",
  "nats-creds": "credentials of the NATS user",
  registry: "registry credentials as docker login writes them",
} as const;

/** A word of `--give`. */
export type CredentialRole = keyof typeof CREDENTIAL_ROLES;

/** One of them, by the word that `orca enroll --give` calls it. */
export interface Credential {
  role: CredentialRole;
  path: string;
  /** Without it a part of the agent goes on, with less. */
  optional: boolean;
}

/** True for one of the words. */
export function isCredentialRole(word: string): word is CredentialRole {
  return Object.hasOwn(CREDENTIAL_ROLES, word);
}

/** Every credential that an agent.toml names, those that must be there first. */
export function listCredentials(config: AgentConfig): Credential[] {
  const { source, secrets, gossip, alerts, docker } = config;
  const file = secrets?.file;
  const named: [CredentialRole, string | undefined, boolean][] = [
    ["git-token", source.git?.token_file, false],
    ["infisical-id", secrets?.infisical?.client_id_file, false],
    ["infisical-secret", secrets?.infisical?.client_secret_file, false],
    ["secrets", file, false],
    ["secrets-key", file === undefined || secrets?.plain === true ? undefined : `${file}.key`, false],
    ["alert-webhook", alerts?.webhook_file, false],
    ["nats-creds", gossip?.backend?.creds_file, false],
    ["status-token", source.status_token_file, false],
    ["webhook-secret", source.webhook?.secret_file, false],
    ["registry", docker.auth_file, true],
  ];
  return named.flatMap(([role, path, optional]) => (path === undefined ? [] : [{ role, path, optional }]));
}

/** What of an enrolment is secret and what of it is shown never meet: the question goes through ssh's stdin, the answer has no value. */
export const enrolRequestSchema = z.strictObject({
  version: z.literal(1),
  node: z.string(),
  /** Role → content in base64. */
  files: z.record(z.string(), z.base64().max(262_144)),
});

/** What the node answers. */
export const enrolAnswerSchema = z.object({
  version: z.literal(1),
  node: z.string(),
  publicKey: z.string().regex(/^ed25519:[A-Za-z0-9_-]{43}$/),
  backupKey: z.string().regex(/^age1[a-z0-9]{20,}$/),
  written: z.array(z.string()),
  /** What agent.toml names and is not there yet. */
  missing: z.array(z.strictObject({ role: z.string(), path: z.string() })),
  /** What systemd says against starting the agent. */
  trouble: z.string().optional(),
});

/** A question. */
export type EnrolRequest = z.output<typeof enrolRequestSchema>;

/** An answer. */
export type EnrolAnswer = z.output<typeof enrolAnswerSchema>;

/** Before the answer, on its line: what a login shell prints besides is passed over. */
export const ENROL_MARK = "orca-enrol:";
