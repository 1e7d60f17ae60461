// Reads a secret from a file of the host. Apart from the other host files, since the child that fetches needs nothing else.

import { readFile, stat } from "node:fs/promises";

import { Secret } from "../../../shared/secret/secret.ts";

/** Reads a secret from a file of the host; the file must belong to its user alone. Throws without naming the content. */
export async function readSecretFile(file: string): Promise<Secret> {
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${file} cannot be read: ${error.code}`);
  });
  if ((info.mode & 0o077) !== 0) throw new Error(`${file} can be read by others: run chmod 600 ${file}`);
  return new Secret((await readFile(file, "utf8")).trim());
}
