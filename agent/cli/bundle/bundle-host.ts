// The host that a bundle is for: what agent.toml and the policy say, and who writes its audit log. While an agent runs, that agent writes the
// line; else this command does, and holds the node's lock so that none starts meanwhile.

import { existsSync } from "node:fs";

import type { BundleEvidence } from "../../bundle/core/bundle-evidence.ts";
import { systemClock } from "../../host/os/clock.ts";
import { findUserName } from "../../host/os/peer-credentials.ts";
import { readHostFile, readPolicy } from "../../host/files/host-files.ts";
import { LockHeldError } from "../../host/files/lock.ts";
import { lockNode } from "../../host/files/node-lock.ts";
import { runPath, statePath } from "../../host/state-layout.ts";
import type { AuditEntry } from "../../report/audit/audit-chain.ts";
import { AuditLog } from "../../report/audit/audit-log.ts";
import type { RecoveryEvidence } from "../../setup/recovery-evidence.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import type { SshKey } from "../../../shared/fleet/ssh-key.ts";
import { findRunDir } from "../agent/agent-command.ts";
import { AgentClient, expectJson } from "../frame/client.ts";
import { CommandError } from "../frame/exit-codes.ts";

/** What is known of the host. */
export interface BundleHost {
  config: AgentConfig;
  keys: readonly SshKey[];
  policyFile: string;
}

/** Reads agent.toml, and the policy that it names. */
export async function readBundleHost(file: string): Promise<BundleHost> {
  const config = await readHostFile(agentConfigSchema, file, "config");
  const policyFile = config.policy.file;
  const { pinned } = await readPolicy(existsSync(policyFile) ? policyFile : undefined);
  return { config, keys: pinned.bundle_keys, policyFile };
}

/** Writes lines of the audit log. */
export interface Recorder {
  /** Resolves once the line is on disk; rejects where it cannot be. */
  record(evidence: BundleEvidence | RecoveryEvidence): Promise<void>;
  close(): Promise<void>;
}

/** Opens the audit log of a host, by its agent where one runs. */
export async function openRecorder({ config }: Pick<BundleHost, "config">, command = "orca bundle"): Promise<Recorder> {
  const runDir = findRunDir();
  try {
    const { node, docker, state } = config;
    const unlock = lockNode({ node, socket: docker.socket, lockDir: runPath(runDir, "locks"), command });
    return await openOwnLog(statePath(state.dir, "audit"), unlock, command);
  } catch (error) {
    if (!(error instanceof LockHeldError)) throw error;
    if (error.holder?.command.startsWith("orca agent") !== true) throw error;
  }
  const client = new AgentClient({ socket: runPath(runDir, "socket") });
  return {
    record: async (evidence) => void expectJson(await client.act(chooseRoute(evidence), evidence)),
    close: () => Promise.resolve(),
  };
}

function chooseRoute({ action }: BundleEvidence | RecoveryEvidence): string {
  return action === "recover" || action === "escrow-create" ? "/v1/recovery" : "/v1/bundle";
}

async function openOwnLog(path: string, unlock: () => void, command: string): Promise<Recorder> {
  let trouble: string | undefined;
  const log = new AuditLog({ path, clock: systemClock, onTrouble: (message) => (trouble = message) });
  await log.open();
  const uid = process.getuid?.() ?? 0;
  const user = await findUserName(uid);
  const close = async (): Promise<void> => {
    await log.close();
    unlock();
  };
  if (trouble === undefined)
    return {
      record: async (evidence) => {
        const actor = { kind: "user", uid, ...(user === undefined ? {} : { user }) } as const;
        await log.record({ actor, cause: `asked by ${command}`, ...withMessage(evidence) });
      },
      close,
    };
  await close();
  throw new CommandError(`${path}: ${trouble}: nothing is done that cannot be recorded (use sudo?)`);
}

/** A key that is there and says nothing is none. */
function withMessage({
  message,
  ...evidence
}: (BundleEvidence | RecoveryEvidence) & { message?: string | undefined }): Pick<
  AuditEntry,
  "action" | "what" | "result" | "message"
> {
  return message === undefined ? evidence : { ...evidence, message };
}
