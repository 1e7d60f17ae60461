// The bases and the log of one store as people see them: every base, and back to which moments each repository leads.

import type { LogStatus, StorePlan } from "../../../shared/state/backup.ts";
import { BASE_AREA, listBases, nameLogArea, readBaseRange } from "../wal/core/choose-base.ts";
import { findReach } from "../wal/core/log-reach.ts";
import { listWalObjects } from "../wal/core/wal-object.ts";
import { mergeBackups } from "./backup-view.ts";
import type { StoreMemory } from "./backup-state.ts";
import type { Listing, RepositoryDesk } from "./repository-desk.ts";

/** Describes them; undefined where the manifest asks for none. */
export async function describeLog(
  plan: StorePlan,
  desk: RepositoryDesk,
  memory: StoreMemory | undefined,
): Promise<LogStatus | undefined> {
  if (plan.wal === undefined) return undefined;
  const listings = await Promise.all(
    plan.repositories.map(async (repository) => {
      const listing: Listing = await desk.list(repository, { ...plan, area: BASE_AREA });
      return { repository, listing };
    }),
  );
  const repositories = await Promise.all(
    listings.map(async ({ repository, listing }): Promise<LogStatus["repositories"][number]> => {
      const { name } = repository;
      if ("reason" in listing) return { name, trouble: listing.reason, spans: [], gaps: [] };
      const areas = new Map<string, readonly string[]>();
      for (const record of listBases(listing.list.records)) {
        const range = readBaseRange(record);
        const area = range === undefined ? undefined : nameLogArea(range);
        if (area === undefined || areas.has(area)) continue;
        const found = await desk.list(repository, { ...plan, area });
        if ("reason" in found) return { name, trouble: found.reason, spans: [], gaps: [] };
        areas.set(area, found.list.strange);
      }
      const reach = findReach(listing.list.records, (area, bytes) => listWalObjects(areas.get(area) ?? [], bytes));
      return { name, ...reach };
    }),
  );
  return {
    bases: mergeBackups({ ...plan, area: BASE_AREA }, listings, desk),
    repositories,
    lastVerify: memory?.lastBaseVerify,
  };
}
