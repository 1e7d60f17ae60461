// Backups in the repository `local` whose service or store is in no manifest any more. Nothing prunes, proves or removes them; a list shows
// that they are there. Made for backup-keeper.ts.

import { readdir } from "node:fs/promises";
import { join } from "node:path";

import type { LeftStore, StorePlan } from "../../../shared/state/backup.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { parseTerm } from "../repository/backup-path.ts";

/**
 * Lists them, sorted by name; none where the directory cannot be read, which the stores in force tell of.
 * @param directory where the repository `local` lies
 */
export async function listLeftStores(
  directory: string,
  node: string,
  plans: readonly Pick<StorePlan, "service" | "store">[],
): Promise<LeftStore[]> {
  const left: LeftStore[] = [];
  for (const service of await listFolders(join(directory, node))) {
    for (const store of await listFolders(join(directory, node, service))) {
      const [own, term = ""] = store.split(".");
      // What a spare has made in a node's place is of the same store.
      const isKnown = plans.some((plan) => plan.service === service && plan.store === own);
      if (isKnown && (store === own || parseTerm(term) !== undefined)) continue;
      const folder = join(directory, node, service, store);
      const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(RECORD_ENDING)).toSorted();
      const newest = names.at(-1)?.slice(0, -RECORD_ENDING.length);
      if (newest !== undefined) left.push({ service, store, directory: folder, count: names.length, newest });
    }
  }
  return left;
}

async function listFolders(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}
