// One store as people see it: its schedule, its last run and proof, and every backup that its repository has.

import type { KnownBackup, RepositoryPlan, StorePlan, StoreStatus } from "../../../shared/state/backup.ts";
import type { StoreMemory } from "./backup-state.ts";
import { type BackupRecord, isVerified } from "../core/backup-record.ts";
import { sumPlain, sumStored } from "../core/size-envelope.ts";
import type { Listing, RepositoryDesk, StoreArea } from "./repository-desk.ts";

/** What a store is described with. */
export interface ViewParts {
  desk: RepositoryDesk;
  sinceMs: number | undefined;
  nextMs: number | undefined;
  memory: StoreMemory | undefined;
}

/** Describes a store, with what each of its repositories has. One that cannot be read is said; all of them are the store's trouble. */
export async function describeStore(plan: StorePlan, parts: ViewParts): Promise<StoreStatus> {
  const { service, store, engine, schedule, repositories } = plan;
  const { desk, sinceMs, nextMs, memory } = parts;
  const listings = await Promise.all(
    repositories.map(async (repository) => ({ repository, listing: await desk.list(repository, plan) })),
  );
  const reasons = listings.flatMap(({ listing }) => ("reason" in listing ? [listing.reason] : []));
  const trouble = reasons.length === repositories.length ? reasons.join("; ") : undefined;
  const strange = listings.flatMap(({ listing }) => ("list" in listing ? listing.list.strange : []));
  return {
    service,
    store,
    engine,
    schedule,
    retention: plan.retention,
    ...(plan.backupKey === undefined ? {} : { namedKey: plan.backupKey }),
    repository: repositories.map(({ name }) => name).join(", "),
    repositories: listings.map(({ repository, listing }) => {
      const { name } = repository;
      const { reason } = memory?.repositories?.[name] ?? {};
      const { records = [], foreign } = "list" in listing ? listing.list : {};
      const unread = "reason" in listing ? listing.reason : undefined;
      const directory = desk.findDirectory(repository);
      const [alien] = foreign ?? [];
      return {
        name,
        directory,
        trouble: unread,
        reason,
        madeMs: records[0]?.startedMs,
        count: records.length,
        ...(alien === undefined ? {} : { foreign: { count: foreign?.length ?? 0, backup: alien.name } }),
      };
    }),
    runningSinceMs: sinceMs,
    nextMs: trouble === undefined ? nextMs : undefined,
    trouble,
    lastRun: memory?.lastRun,
    lastVerify: memory?.lastVerify,
    backups: mergeBackups(plan, listings, desk),
    strange: sinceMs === undefined ? strange : [],
  };
}

/** Each backup once, the newest first, with everybody who has it; it is shown as the first of them has it. */
export function mergeBackups(
  plan: StoreArea,
  listings: readonly { repository: RepositoryPlan; listing: Listing }[],
  desk: RepositoryDesk,
): KnownBackup[] {
  const merged = new Map<string, KnownBackup>();
  for (const { repository, listing } of listings) {
    const { records = [], folders = {} } = "list" in listing ? listing.list : {};
    for (const record of records) {
      const folder = folders[record.name];
      const known =
        merged.get(record.name) ??
        describeBackup(record, (files) => desk.describeFiles(repository, plan, { files, folder }));
      const verdict = record.verifications.at(-1);
      merged.set(record.name, {
        ...known,
        verified: known.verified || isVerified(record),
        verdict: (known.verdict?.atMs ?? 0) >= (verdict?.atMs ?? 0) ? known.verdict : verdict,
        repositories: [...known.repositories, { name: repository.name, verdict: verdict?.verdict }],
      });
    }
  }
  return [...merged.values()].toSorted(
    (one, other) => other.startedMs - one.startedMs || (one.name < other.name ? 1 : -1),
  );
}

function describeBackup(record: BackupRecord, describeFiles: (files: readonly string[]) => string[]): KnownBackup {
  const { name, image, startedMs, endedMs, files, recipients, restoreWith, verifications, quarantined } = record;
  return {
    name,
    image,
    startedMs,
    endedMs,
    plainBytes: sumPlain(record),
    storedBytes: sumStored(record),
    verified: isVerified(record),
    verdict: verifications.at(-1),
    encrypted: recipients.length > 0,
    repositories: [],
    quarantined,
    pinnedUntilMs: record.pinnedUntilMs,
    ...(record.keepUntilMs === undefined ? {} : { keepUntilMs: record.keepUntilMs }),
    files: describeFiles(files.map(({ file }) => file)),
    restoreWith,
  };
}
