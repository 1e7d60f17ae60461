// `orca agent`: the daemon, as systemd runs it.

import { CommandError } from "./exit-codes.ts";
import { runDaemon } from "../daemon.ts";
import { readHostFile } from "../host/host-files.ts";
import { type AgentConfig, agentConfigSchema } from "../../shared/agent-config.ts";
import { existsSync } from "node:fs";

/** The options of `orca agent`. */
export interface AgentCommandOptions {
  config: string;
}

function listUnused(source: AgentConfig["source"]): string[] {
  const parts = [
    ...(source.webhook === undefined ? [] : ["source.webhook"]),
    ...(source.status_token_file === undefined ? [] : ["source.status_token_file"]),
  ];
  return parts.length === 0 ? [] : [`agent.toml: not acted on by this version: ${parts.join(", ")}`];
}

/** Runs `orca agent`; answers the exit code. */
export async function agent(options: AgentCommandOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, options.config);
  const { dir } = config.source;
  if (dir === undefined)
    throw new CommandError('source.git is not read by this version: write dir = "/srv/manifests" in [source]');
  for (const [key, part] of [
    ["secrets", config.secrets],
    ["gossip", config.gossip],
  ] as const) {
    if (part !== undefined)
      throw new CommandError(`[${key}] is not acted on by this version: take it out of ${options.config}`);
  }
  const policyFile = existsSync(config.policy.file) ? config.policy.file : undefined;
  return runDaemon({
    node: config.node,
    command: `orca agent --config ${options.config}`,
    source: { dir },
    stateDir: config.state.dir,
    runDir: "/run/orca",
    lockDir: "/run/orca/locks",
    docker: { socket: config.docker.socket, authFile: config.docker.auth_file },
    listen: config.status.listen,
    socketPath: "/run/orca/agent.sock",
    policyFile,
    standInFile: undefined,
    address: undefined,
    ports: "as-written",
    budget: "enforce",
    hostNotes: listUnused(config.source),
    peers: { kind: "known", services: {} },
    alerts:
      config.alerts === undefined
        ? undefined
        : { webhookFile: config.alerts.webhook_file, min: config.alerts.min, repeatMs: config.alerts.repeat },
    output: { kind: "log", level: config.log.level },
    once: undefined,
  });
}
