// `orca keygen`: this node's identity and its backup key, made where they are missing. Prints the lines for fleet.toml, and on standard
// error where the keys are; the keys themselves are never shown.

import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";

import { describeKey, loadIdentity, makeIdentity, writeWhole } from "../../gossip/node-identity.ts";
import { ensureBackupIdentity } from "../../backup/backup-identity.ts";
import { statePath } from "../../host/state-layout.ts";
import { AgentClient } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";

/** The options of `orca keygen`. */
export interface KeygenOptions {
  identity: string;
  backupKey: string;
  recovery?: string;
}

/** Runs `orca keygen`. A key that is there is kept: another one would cut the node off until fleet.toml has it. */
export async function keygen({ identity: file, backupKey, recovery }: KeygenOptions): Promise<number> {
  if (recovery !== undefined) return makeRecoveryKey(recovery);
  const { publicKey } = (await loadIdentity(file)) ?? (await makeIdentity(file));
  const { recipient } = await ensureBackupIdentity(backupKey);
  printText(`public_key = "${publicKey}"\nbackup_key = "${recipient}"`);
  printFault(`orca: the keys are in ${file} and ${backupKey}`);
  const stateDir = await new AgentClient({}).findStateDir().catch(() => undefined);
  const [ownIdentity, ownKey] =
    stateDir === undefined ? [file, backupKey] : [statePath(stateDir, "identity"), statePath(stateDir, "backupKey")];
  if (ownKey !== backupKey)
    printFault(
      `orca: the agent that runs here has others: orca keygen --identity ${ownIdentity} --backup-key ${ownKey} prints those`,
    );
  return 0;
}

/** A pair whose private half belongs offline and into escrows. One that is there is never written over. */
async function makeRecoveryKey(file: string): Promise<number> {
  if (existsSync(file)) throw new CommandError(`${file} is there already: a recovery key is never written over`);
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  await writeWhole(file, privateKey.export({ type: "pkcs8", format: "pem" }).toString(), 0o600);
  printText(`[pinned]\nrecovery_key = "${describeKey(publicKey) ?? ""}"`);
  printFault(
    `orca: the private half is in ${file}: keep it offline; orca escrow create takes it into each node's escrow`,
  );
  return EXIT.ok;
}
