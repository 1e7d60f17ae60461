// What a node cannot be given by user-data: the files that its agent.toml names and that hold a secret. `orca cloud-init` says which, the VM
// waits for them, `orca enroll` brings them. Pure.

import type { AgentConfig } from "../../shared/config/agent-config.ts";

/** One of them, by the word that `orca enroll --give` calls it. */
export interface Credential {
  role: CredentialRole;
  path: string;
  /** Without it a part of the agent goes on, with less. */
  optional: boolean;
}

/** The words, and what each is. */
const CREDENTIAL_ROLES = {
  "git-token": "a token that may read the manifests repository",
  "status-token": "a token that may write commit statuses",
  "webhook-secret": "what the forge signs pushes with",
  "infisical-id": "the client id of the machine identity",
  "infisical-secret": "its client secret",
  secrets: "the file of secrets, encrypted",
  "alert-webhook": "the URL that alerts go to",
  "nats-creds": "credentials of the NATS user",
  registry: "registry credentials as docker login writes them",
} as const;

/** A word of `--give`. */
type CredentialRole = keyof typeof CREDENTIAL_ROLES;

/** Every credential that an agent.toml names, those that must be there first. */
export function listCredentials(config: AgentConfig): Credential[] {
  const { source, secrets, gossip, alerts, docker } = config;
  const named: [CredentialRole, string | undefined, boolean][] = [
    ["git-token", source.git?.token_file, false],
    ["infisical-id", secrets?.infisical?.client_id_file, false],
    ["infisical-secret", secrets?.infisical?.client_secret_file, false],
    ["secrets", secrets?.file, false],
    ["alert-webhook", alerts?.webhook_file, false],
    ["nats-creds", gossip?.backend?.creds_file, false],
    ["status-token", source.status_token_file, false],
    ["webhook-secret", source.webhook?.secret_file, false],
    ["registry", docker.auth_file, true],
  ];
  return named.flatMap(([role, path, optional]) => (path === undefined ? [] : [{ role, path, optional }]));
}
