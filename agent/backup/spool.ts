// Where backups lie opened while they are restored: nothing of them stays there, whoever was killed in the middle.

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Takes away what a run that was killed has left. Nobody may be staging meanwhile. */
export async function sweepSpool(spool: string): Promise<void> {
  const left = await readdir(spool).catch(() => []);
  for (const name of left) await rm(join(spool, name), { recursive: true, force: true });
}
