// Asks nft for one table of this host's firewall. Needs root; no shell, and nothing is changed.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const ANSWER_MS = 5_000;

/** The table as `nft -j` prints it. Throws as execFile does: ENOENT where nft is not installed, else with nft's words in `stderr`. */
export async function listNftTable(family: string, table: string): Promise<string> {
  const { stdout } = await promisify(execFile)("nft", ["-j", "list", "table", family, table], { timeout: ANSWER_MS });
  return stdout;
}
