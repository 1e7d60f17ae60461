// The bootstrap exception: a root-owned 0600 file on the host with the environment of a service that must start before
// any provider of secrets does. Read by the keeper under a name of its own; which files are allowed is the policy's word.

import { stat } from "node:fs/promises";

import { nameBootstrap, parseBootstrap } from "../../shared/secret/bootstrap.ts";
import type { Secret } from "../../shared/secret/secret.ts";
import type { SecretAnswer } from "../../shared/secret/secret-provider.ts";
import { readSecretFile } from "../host/files/secret-file.ts";
import { readMessage } from "../../shared/text/read-message.ts";

const PREFIX = nameBootstrap("");

/** True for the name of a bootstrap file among secret paths. */
export function isBootstrap(path: string): boolean {
  return path.startsWith(PREFIX);
}

/** Reads one; a file that others can read or that is another user's is denied. */
export async function readBootstrap(path: string): Promise<SecretAnswer> {
  const file = path.slice(PREFIX.length);
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => error);
  if (info instanceof Error) {
    const kind = info.code === "ENOENT" ? "not-found" : "denied";
    return { kind, reason: kind === "not-found" ? `${file} does not exist` : `${file} cannot be read: ${info.code}` };
  }
  if (info.uid !== 0 && info.uid !== process.getuid?.())
    return { kind: "denied", reason: `${file} belongs to uid ${info.uid}: run chown root ${file}` };
  try {
    const value = await readSecretFile(file);
    parseBootstrap(value.expose());
    return { kind: "value", value };
  } catch (error) {
    return { kind: "denied", reason: readMessage(error) };
  }
}

/** The variables of one that was read: it has been parsed before. */
export function readBootstrapVariables(value: Secret): Record<string, string> {
  return parseBootstrap(value.expose());
}
