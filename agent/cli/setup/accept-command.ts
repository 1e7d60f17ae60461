// `orca accept-credentials`: the other end of `orca enroll`, run by ssh on the node. Writes what agent.toml names and nothing else, wakes the
// agent, and answers with the node's public keys. Not for people, so it is not in the list of commands.

import { stat } from "node:fs/promises";

import { ensureBackupIdentity } from "../../backup/backup-identity.ts";
import { loadIdentity, makeIdentity, writeWhole } from "../../gossip/node-identity.ts";
import { readHostFile } from "../../host/files/host-files.ts";
import { wakeAgent } from "../../host/remote/agent-unit.ts";
import { statePath } from "../../host/state-layout.ts";
import {
  type Credential,
  ENROL_MARK,
  type EnrolAnswer,
  type EnrolRequest,
  enrolRequestSchema,
  listCredentials,
} from "../../setup/credentials.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printText } from "../frame/terminal.ts";

/** Its one option. */
export interface AcceptOptions {
  config: string;
}

/** Ten files of 64 KiB, in base64. */
const LONGEST_BYTES = 2 ** 20;

/** Runs `orca accept-credentials`; throws before it has written anything where the question is not for this node. */
export async function acceptCredentials({ config: file }: AcceptOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, file, "cloud-init");
  const request = await readRequest();
  if (request.node !== config.node)
    throw new CommandError(`this is ${config.node}, and not ${request.node}: nothing was written`);
  const known = listCredentials(config);
  const gifts = Object.entries(request.files).map(([role, content]) => {
    const credential = known.find((entry) => entry.role === role);
    if (credential !== undefined) return { ...credential, content };
    const roles = known.map((entry) => entry.role).join(", ");
    throw new CommandError(`${file} names no file for ${role}, so nothing was written; it names those for ${roles}`);
  });
  const answer = await makeKeys(config);
  for (const { path, content } of gifts) await writeWhole(path, Buffer.from(content, "base64"), 0o600);
  const missing: Credential[] = [];
  for (const entry of known) if (!entry.optional && !(await isThere(entry.path))) missing.push(entry);
  const trouble = await wakeAgent();
  const full: EnrolAnswer = {
    version: 1,
    node: config.node,
    ...answer,
    written: gifts.map(({ role }) => role),
    missing: missing.map(({ role, path }) => ({ role, path })),
    ...(trouble === undefined ? {} : { trouble }),
  };
  printText(`${ENROL_MARK}${JSON.stringify(full)}`);
  return EXIT.ok;
}

/** Made before anything is written: a node whose keys cannot be made is not enrolled by half. */
async function makeKeys({ gossip, state }: AgentConfig): Promise<Pick<EnrolAnswer, "publicKey" | "backupKey">> {
  const identity = gossip?.identity_file ?? statePath(state.dir, "identity");
  const { publicKey } = (await loadIdentity(identity)) ?? (await makeIdentity(identity));
  const { recipient } = await ensureBackupIdentity(statePath(state.dir, "backupKey"));
  return { publicKey, backupKey: recipient };
}

async function readRequest(): Promise<EnrolRequest> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    sizeBytes += piece.length;
    if (sizeBytes > LONGEST_BYTES) throw new CommandError("stdin holds more than an enrolment");
    pieces.push(piece);
  }
  try {
    return enrolRequestSchema.parse(JSON.parse(Buffer.concat(pieces).toString()));
  } catch {
    // Without the parser's words: they may quote what stdin holds.
    throw new CommandError("stdin holds no enrolment: orca enroll on another machine sends one");
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    ({ size }) => size > 0,
    () => false,
  );
}
