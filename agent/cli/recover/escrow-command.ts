// `orca escrow create`: what a spare needs when this node is lost with Git, secrets and registry on it, in one file that only offline keys
// open. Runs on the node as root. No secret is in its arguments, its output or an error.

import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";

import { readBackupIdentity } from "../../backup/backup-identity.ts";
import { readPublicHalf, writeWhole } from "../../gossip/node-identity.ts";
import { TakeoverFile } from "../../gossip/takeover-file.ts";
import { readHostFile, readPolicy } from "../../host/files/host-files.ts";
import { readSecretFile } from "../../host/files/secret-file.ts";
import { statePath } from "../../host/state-layout.ts";
import {
  type Escrow,
  type EscrowPart,
  type EscrowRecord,
  LARGEST_ESCROWED_BYTES,
  listEscrowParts,
} from "../../setup/escrow.ts";
import { readRecipient } from "../../backup/age-keys.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { openRecorder } from "../bundle/bundle-host.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printText } from "../frame/terminal.ts";
import { sealEscrow } from "./escrow-file.ts";

/** The options of `orca escrow create`. */
export interface EscrowOptions {
  out: string;
  recoveryKey: string;
  recipient: string[];
  config: string;
}

/** Makes the escrow of this node. */
export async function createEscrow(node: string, options: EscrowOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, options.config, "config");
  if (config.node !== node) throw new CommandError(`this is ${config.node}: run it on ${node}`);
  const policy = await readPolicy(existsSync(config.policy.file) ? config.policy.file : undefined);
  const stateDir = config.state.dir;
  const backupKey = statePath(stateDir, "backupKey");
  const recipients = options.recipient.length > 0 ? options.recipient : policy.pinned.recipients;
  await checkRecipients(recipients, backupKey);
  const recoveryKey = await readRecoveryKey(options.recoveryKey, policy.pinned.recovery_key);
  if (existsSync(options.out)) throw new CommandError(`${options.out} is there already: name another file`);
  const places = {
    config: options.config,
    backupKey,
    hostKey: statePath(stateDir, "hostKey"),
    sealed: statePath(stateDir, "sealed"),
  };
  // What changes while it is read is newer than the escrow.
  const createdMs = Date.now();
  const files = await readParts(listEscrowParts(config, policy, places));
  const term = new TakeoverFile(stateDir).read().find((entry) => entry.node === node)?.term ?? 0;
  const escrow: Escrow = { version: 1, node, createdMs, config: options.config, term, files, recoveryKey };
  const sealed = await sealEscrow(escrow, recipients);
  // Nobody makes one unseen: it holds every credential of the node.
  const recorder = await openRecorder({ config }, "orca escrow");
  try {
    const what = { node, file: options.out, recipients: [...recipients], files: files.length, term };
    await recorder.record({ action: "escrow-create", what, result: "ok" });
    await writeWhole(options.out, sealed, 0o600);
  } finally {
    await recorder.close();
  }
  const named = files.map(({ role, path }) => ({ role, path }));
  const record: EscrowRecord = { version: 1, createdMs, recipients: [...recipients], files: named };
  await writeWhole(statePath(stateDir, "escrow"), `${JSON.stringify(record)}\n`, 0o600);
  const lines = named.map(({ role, path }) => `  ${path}  ${role}`);
  printText(
    [
      `${options.out} is the escrow of ${node}: ${describeCount(files.length, "file")} and the recovery key, for ${recipients.join(", ")}`,
      ...lines,
      "carry it to where this node's disks are not, and take the recovery key off this machine",
    ].join("\n"),
  );
  return EXIT.ok;
}

/** What opens it must not lie on the node that is lost. */
async function checkRecipients(recipients: readonly string[], backupKey: string): Promise<void> {
  if (recipients.length === 0)
    throw new CommandError(
      "nobody could open it: name an offline key with --recipient age1…, or pinned.recipients in the policy",
    );
  const wrong = recipients.find((recipient) => readRecipient(recipient) === undefined);
  if (wrong !== undefined) throw new CommandError(`${wrong} is no recipient of age: age-keygen prints one`);
  const own = await readBackupIdentity(backupKey);
  if (own !== undefined && recipients.includes(own.recipient))
    throw new CommandError(
      `${own.recipient} is this node's own key, which is lost with it: name keys that lie offline`,
    );
}

/** The recovery key as PEM; it must be the one that peers believe. */
async function readRecoveryKey(file: string, pinned: string | undefined): Promise<string> {
  if (pinned === undefined)
    throw new CommandError(
      "this host's policy pins no recovery_key: make a pair with orca keygen --recovery FILE, and write its public half into pinned",
    );
  const pem = (await readSecretFile(file)).expose();
  if (readPublicHalf(pem) === pinned) return `${pem.trim()}\n`;
  throw new CommandError(`${file} is not the private half of pinned.recovery_key (${pinned})`);
}

async function readParts(parts: readonly EscrowPart[]): Promise<Escrow["files"]> {
  const files: Escrow["files"] = [];
  const missing: string[] = [];
  for (const { role, path, required } of parts) {
    const info = await stat(path).catch(() => undefined);
    if (info === undefined) {
      if (required) missing.push(`${path} (${role})`);
      continue;
    }
    if (info.size > LARGEST_ESCROWED_BYTES) throw new CommandError(`${path} is larger than what an escrow takes`);
    const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new CommandError(`${path} cannot be read: ${error.code} (use sudo?)`);
    });
    files.push({ role, path, content: content.toString("base64") });
  }
  if (missing.length === 0) return files;
  throw new CommandError(`no spare could do without, and not here: ${missing.join(", ")}: nothing was written`);
}
