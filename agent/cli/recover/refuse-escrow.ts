// What `orca recover` refuses of an escrow and a term before it writes anything. Called by recover-command.ts and spare-host.ts; reads this
// host's own files alone.

import { existsSync } from "node:fs";

import { readPublicHalf } from "../../gossip/node-identity.ts";
import { readHostFile, readPolicy } from "../../host/files/host-files.ts";
import type { Escrow } from "../../setup/escrow.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { CommandError } from "../frame/exit-codes.ts";

/**
 * Anybody can encrypt for an offline key: what makes an escrow the node's own is the recovery key in it. Where this host pins one, it must be
 * that one, before a file of the escrow is written.
 */
export async function refuseOtherEscrow({ config, recoveryKey }: Escrow, shown: string): Promise<void> {
  const own = readPublicHalf(recoveryKey);
  if (own === undefined) throw new CommandError(`${shown} holds no recovery key: make it anew on the node`);
  if (!existsSync(config)) return;
  const { policy: place } = await readHostFile(agentConfigSchema, config, "config");
  const policy = await readPolicy(existsSync(place.file) ? place.file : undefined);
  const pinned = policy.pinned.recovery_key;
  if (pinned === undefined || pinned === own) return;
  throw new CommandError(
    `${shown} holds the recovery key ${own}, and ${place.file} of this machine pins ${pinned}: it is an escrow of somebody else, or from before the key was changed; nothing was written`,
  );
}

/** A term that is not above the one in force is believed by nobody: this machine would then hold itself for replaced. */
export function refuseTerm(term: number | undefined, highest: number, { node }: { node: string }): void {
  if (term === undefined || term > highest) return;
  throw new CommandError(
    `--term ${term} is not above takeover ${highest} of ${node}, which is known here: write ${highest + 1}, or leave --term out`,
  );
}
