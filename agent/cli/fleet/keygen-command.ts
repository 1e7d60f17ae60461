// `orca keygen`: this node's identity, made where it is missing. Prints the line for fleet.toml; the key itself is never shown.

import { loadIdentity, makeIdentity } from "../../gossip/node-identity.ts";
import { printText } from "../frame/terminal.ts";

/** The options of `orca keygen`. */
export interface KeygenOptions {
  identity: string;
}

/** Runs `orca keygen`. A key that is there is kept: another one would cut the node off until fleet.toml has it. */
export async function keygen({ identity: file }: KeygenOptions): Promise<number> {
  const { publicKey } = (await loadIdentity(file)) ?? (await makeIdentity(file));
  printText(`public_key = "${publicKey}"`);
  return 0;
}
