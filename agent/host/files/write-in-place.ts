// Writes a file that may be mounted into a running container: a mount keeps the inode, so the content changes in place.

import { open, rename } from "node:fs/promises";

/** A new file appears whole; one that exists keeps its inode, and its old length goes only after the new content is there. */
export async function writeInPlace(path: string, content: Uint8Array): Promise<void> {
  const existing = await open(path, "r+").catch(() => undefined);
  const file = existing ?? (await open(`${path}.new`, "w", 0o600));
  try {
    await file.write(content, 0, content.length, 0);
    await file.truncate(content.length);
    await file.sync();
  } finally {
    await file.close();
  }
  if (existing === undefined) await rename(`${path}.new`, path);
}
