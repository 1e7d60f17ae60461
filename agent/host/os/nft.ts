// Speaks to nft about one table of this host's firewall. Needs root; no shell.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const ANSWER_MS = 5_000;

/** The table as `nft -j` prints it. Throws as execFile does: ENOENT where nft is not installed, else with nft's words in `stderr`. */
export async function listNftTable(family: string, table: string): Promise<string> {
  const { stdout } = await promisify(execFile)("nft", ["-j", "list", "table", family, table], { timeout: ANSWER_MS });
  return stdout;
}

/** The table as a text that loads again; undefined where there is none. Throws as above. */
export async function readNftTable(family: string, table: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("nft", ["list", "table", family, table], { timeout: ANSWER_MS });
    return stdout;
  } catch (error) {
    if (((error as { stderr?: string }).stderr ?? "").includes("No such file or directory")) return undefined;
    throw error;
  }
}

/**
 * Loads a file, all of it or nothing.
 * @param check true only reads it, as the kernel would
 */
export async function loadNftFile(path: string, check = false): Promise<void> {
  await promisify(execFile)("nft", [...(check ? ["-c"] : []), "-f", path], { timeout: ANSWER_MS });
}

/** Takes a table away; one that is not there is fine. */
export async function deleteNftTable(family: string, table: string): Promise<void> {
  if ((await readNftTable(family, table)) === undefined) return;
  await promisify(execFile)("nft", ["delete", "table", family, table], { timeout: ANSWER_MS });
}
