// `orca agent`: the daemon, as systemd runs it.

import { runPath } from "../../host/state-layout.ts";
import type { DaemonConfig } from "../../daemon/daemon-config.ts";
import { readHostFile } from "../../host/files/host-files.ts";
import { DEFAULT_MAX_STALE_MS, type SecretsConfig } from "../../secrets/open-secrets.ts";
import { nameIdentityFile } from "../../secrets/providers/secret-store-file.ts";
import { createKeyReader } from "../../host/files/trusted-keys.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { runToEnd } from "./run-to-end.ts";
import { existsSync } from "node:fs";

/** The options of `orca agent`. */
export interface AgentCommandOptions {
  config: string;
}

function chooseSource({ git, dir, api_url: apiUrl }: AgentConfig["source"], file: string): DaemonConfig["source"] {
  // The schema has one of the two.
  if (git === undefined) return { kind: "directory", dir: dir ?? "" };
  const { url, branch, token_file: tokenFile, ca_file: caFile, path } = git;
  const location = { url, branch, tokenFile, caFile };
  const { poll: pollMs, timeout: fetchMs, max_size: limitBytes } = git;
  const readKeys = createKeyReader(file);
  return { kind: "git", git: { location, path, pollMs, fetchMs, limitBytes, apiUrl, readKeys } };
}

function listNotes({ git, status_token_file: statusToken }: AgentConfig["source"]): string[] {
  if ((git?.token_file === undefined && statusToken === undefined) || git?.url.startsWith("http:") !== true) return [];
  return ["agent.toml: the Git token travels in clear: write https:// into source.git.url"];
}

function chooseCommitStatus(source: AgentConfig["source"]): DaemonConfig["commitStatus"] {
  const { git, status_token_file: tokenFile, status_url: targetUrl, api_url: apiUrl } = source;
  if (git === undefined || tokenFile === undefined) return undefined;
  return { url: git.url, apiUrl, tokenFile, caFile: git.ca_file, targetUrl };
}

function chooseGossip(gossip: AgentConfig["gossip"]): DaemonConfig["gossip"] {
  if (gossip === undefined) return undefined;
  const { listen, identity_file: identityFile, backend } = gossip;
  if (backend === undefined) return { listen, identityFile, nats: undefined };
  const { nats: servers, creds_file: credsFile, nkey_file: nkeyFile, ca_file: caFile, replicas } = backend;
  const { cert_file: certFile, key_file: keyFile } = backend;
  return { listen, identityFile, nats: { servers, credsFile, nkeyFile, caFile, certFile, keyFile, replicas } };
}

/** What the host's configuration says of secrets, as the agent is told. */
export function describeProvider(secrets: AgentConfig["secrets"]): SecretsConfig {
  const common = { keyFile: secrets?.key_file, maxStaleMs: secrets?.max_stale ?? DEFAULT_MAX_STALE_MS };
  if (secrets?.file !== undefined) {
    const { file, plain, identity_file: identityFile = nameIdentityFile(file) } = secrets;
    return { ...common, provider: { kind: "file", place: { file, identityFile, plain } } };
  }
  if (secrets?.infisical === undefined) return { ...common, provider: { kind: "none" } };
  const { url, project, environment, poll } = secrets.infisical;
  const { client_id_file: clientIdFile, client_secret_file: clientSecretFile, ca_file: caFile } = secrets.infisical;
  const place = { url, project, environment, clientIdFile, clientSecretFile, caFile };
  return { ...common, provider: { kind: "infisical", place, pollMs: poll } };
}

/** Runs `orca agent`; answers the exit code. */
export async function agent(options: AgentCommandOptions): Promise<number> {
  return runToEnd(await readConfig(options));
}

/** The unit's RuntimeDirectory, as systemd tells it (systemd.exec(5)); the first where there are several. */
export function findRunDir(): string {
  return process.env["RUNTIME_DIRECTORY"]?.split(":", 1)[0] || "/run/orca";
}

async function readConfig(options: AgentCommandOptions): Promise<DaemonConfig> {
  const config = await readHostFile(agentConfigSchema, options.config, "config");
  const source = chooseSource(config.source, options.config);
  const policyFile = existsSync(config.policy.file) ? config.policy.file : undefined;
  const { webhook } = config.source;
  const runDir = findRunDir();
  return {
    node: config.node,
    command: `orca agent --config ${options.config}`,
    source,
    webhook: webhook === undefined ? undefined : { listen: webhook.listen, secretFile: webhook.secret_file },
    commitStatus: chooseCommitStatus(config.source),
    file: { path: options.config, read: () => readConfig(options) },
    stateDir: config.state.dir,
    runDir,
    lockDir: runPath(runDir, "locks"),
    docker: {
      socket: config.docker.socket,
      authFile: config.docker.auth_file,
      frontImage: config.docker.front_image,
      cgroupParent: config.docker.cgroup_parent,
    },
    listen: config.status.listen,
    socketPath: runPath(runDir, "socket"),
    backupDir: config.backups.dir,
    policyFile,
    standInFile: undefined,
    address: undefined,
    ports: "as-written",
    budget: "enforce",
    secrets: describeProvider(config.secrets),
    hostNotes: listNotes(config.source),
    peers: { kind: "known", services: {} },
    gossip: chooseGossip(config.gossip),
    hasUpdates: config.update !== undefined,
    alerts:
      config.alerts === undefined
        ? undefined
        : { webhookFile: config.alerts.webhook_file, min: config.alerts.min, repeatMs: config.alerts.repeat },
    output: { kind: "log", level: config.log.level, format: config.log.format },
    once: undefined,
  };
}
