// What `orca recover` does to the host that it runs on: writes what the escrow holds where it lay on the lost node, brings manifests and
// images, and signs the takeover. Nothing of it needs Git, secrets, name servers or a registry.

import { createPrivateKey } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { signTakeover } from "../../gossip/core/takeovers.ts";
import { createSigner, type Identity, loadIdentity, makeIdentity, writeWhole } from "../../gossip/node-identity.ts";
import { noteOwnTerm } from "../../gossip/own-term.ts";
import { TakeoverFile } from "../../gossip/takeover-file.ts";
import { readHostFile } from "../../host/files/host-files.ts";
import { findLayout } from "../../sources/tree/repository-layout.ts";
import type { Escrow } from "../../setup/escrow.ts";
import { buildSpareAgent } from "../../setup/spare-agent.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import type { SignedTakeover } from "../../../shared/fleet/takeover.ts";
import type { FleetFile } from "../setup/read-fleet-file.ts";
import { CommandError } from "../frame/exit-codes.ts";
import { refuseTerm } from "./refuse-escrow.ts";
import { makeDirectory } from "../../host/files/make-directory.ts";

/** Who stands in whose place. */
export interface Spare {
  node: string;
  realm: string;
  /** As fleet.toml calls it, or a name of its own where it has no entry. */
  name: string;
  address: string;
}

/** Chooses the spare: the entry of fleet.toml that may take the node's place, or this machine by its address. */
export function chooseSpare({ fleet, node }: FleetFile, lost: string, address: string | undefined): Spare {
  const realm = node.env;
  const entries = Object.entries(fleet.nodes).filter(([, entry]) => entry.standby_for === lost && entry.env === realm);
  if (address !== undefined) {
    const own = entries.find(([, entry]) => entry.address === address);
    const other = Object.entries(fleet.nodes).find(([name, entry]) => entry.address === address && name !== own?.[0]);
    if (other !== undefined && other[0] !== lost)
      throw new CommandError(`${address} is the address of ${other[0]} in fleet.toml: name this machine's own`);
    return { node: lost, realm, name: own?.[0] ?? `${lost}-spare`, address };
  }
  const [only, second] = entries;
  if (only !== undefined && second === undefined) return { node: lost, realm, name: only[0], address: only[1].address };
  const say = only === undefined ? "fleet.toml has no spare of" : "fleet.toml has several spares of";
  throw new CommandError(`${say} ${lost} (standby_for): write --address with this machine's private address`);
}

/** The machine must be nobody else's: what it runs would end with it. */
export async function refuseOtherHost(configPath: string, { node, name }: Spare): Promise<void> {
  if (!existsSync(configPath)) return;
  const { node: own } = await readHostFile(agentConfigSchema, configPath, "config");
  if (own !== node && own !== name)
    throw new CommandError(`this machine is ${own}: run it on ${name}, or on a machine that is no node yet`);
}

/** Writes what the escrow holds, and this machine's agent.toml; what was there before lies beside it. */
export async function writeHost(escrow: Escrow, spare: Spare, sourceDir: string): Promise<AgentConfig> {
  for (const { path, content } of escrow.files) {
    await makeDirectory(dirname(path), 0o700);
    const bytes = Buffer.from(content, "base64");
    if (path !== escrow.config) await writeWhole(path, bytes, 0o600);
    else {
      if (existsSync(path) && !existsSync(`${path}.before`)) await rename(path, `${path}.before`);
      await writeWhole(`${path}.lost`, bytes, 0o600);
      await writeWhole(path, buildSpareAgent(bytes.toString("utf8"), { address: spare.address, sourceDir }), 0o600);
    }
  }
  const config = await readHostFile(agentConfigSchema, escrow.config, "config");
  if (config.gossip === undefined)
    throw new CommandError(`${escrow.config} has no [gossip]: peers could not be told of a takeover`);
  return config;
}

/** Copies a manifests repository to where the agent reads it; what was there before lies beside it. */
export async function copyManifests(from: string, sourceDir: string): Promise<void> {
  const { root } = await findLayout(from);
  const beside = join(dirname(sourceDir), `.${basename(sourceDir)}.new-recovery`);
  const before = join(dirname(sourceDir), `.${basename(sourceDir)}.before-recovery`);
  await rm(beside, { recursive: true, force: true });
  await cp(root, join(beside, "orca"), { recursive: true, verbatimSymlinks: true });
  if (existsSync(sourceDir)) {
    await rm(before, { recursive: true, force: true });
    await rename(sourceDir, before);
  }
  await rename(beside, sourceDir);
}

/** This machine's own key among its peers, made where there is none. It must be the one that fleet.toml has of the spare. */
export async function readOwnIdentity(config: AgentConfig, { fleet }: FleetFile, spare: Spare): Promise<Identity> {
  const file = config.gossip?.identity_file ?? "";
  const identity = (await loadIdentity(file)) ?? (await makeIdentity(file));
  const listed = fleet.nodes[spare.name]?.public_key;
  if (listed === undefined || listed === identity.publicKey) return identity;
  throw new CommandError(
    `${file} is not the key that fleet.toml has of ${spare.name}: put that key there, or write --address for a machine without an entry`,
  );
}

/** Signs the takeover with the recovery key, above every term that is known here, and keeps it for this machine's agent. */
export async function takeOver(
  { escrow, spare, stateDir }: { escrow: Escrow; spare: Spare; stateDir: string },
  { publicKey }: Identity,
  term: number | undefined,
): Promise<SignedTakeover> {
  const file = new TakeoverFile(stateDir);
  const known = file.read();
  const highest = Math.max(escrow.term, ...known.filter(({ node }) => node === spare.node).map((entry) => entry.term));
  refuseTerm(term, highest, spare);
  const takeover = signTakeover(
    {
      realm: spare.realm,
      node: spare.node,
      spare: spare.name,
      term: term ?? highest + 1,
      key: publicKey,
      address: spare.address,
    },
    createSigner({ privateKey: createPrivateKey(escrow.recoveryKey) }),
  );
  file.store([...known.filter(({ node }) => node !== spare.node), takeover]);
  await file.written;
  if (file.trouble !== undefined) throw new CommandError(file.trouble);
  await noteOwnTerm(stateDir, takeover.term, Date.now());
  return takeover;
}
