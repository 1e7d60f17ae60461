// The trusted keys of agent.toml, read again when the file has changed: a key that is taken out counts no more from the next
// poll on. A file that cannot be read trusts nobody new: the error goes to whoever wants to judge a commit.

import { stat } from "node:fs/promises";

import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import type { ReadKeys, TrustedKey } from "../../../shared/config/trusted-key.ts";
import { readHostFile } from "./host-files.ts";

/**
 * Makes a reader of the keys in one agent.toml; it answers undefined where the file never had any.
 * @returns a function that throws where the file cannot be used, or has no keys any more
 */
export function createKeyReader(file: string): ReadKeys {
  let known: { mark: string; keys: readonly TrustedKey[] | undefined } | undefined;
  return async () => {
    const { mtimeMs, ctimeMs, size, ino } = await stat(file).catch((error: NodeJS.ErrnoException) => {
      throw new Error(`${file}, which lists the trusted keys, cannot be read: ${error.code}`);
    });
    const mark = [mtimeMs, ctimeMs, size, ino].join(" ");
    if (known?.mark === mark) return known.keys;
    const keys = (await readHostFile(agentConfigSchema, file)).source.git?.trusted_keys;
    if (keys === undefined && known?.keys !== undefined)
      throw new Error(`source.git.trusted_keys is gone from ${file}: restart the agent if no signature shall count`);
    known = { mark, keys };
    return keys;
  };
}
