// One store as people see it: its schedule, its last run and proof, and every backup that its repository has.

import type { KnownBackup, StorePlan, StoreStatus } from "../../shared/state/backup.ts";
import type { StoreMemory } from "./backup-state.ts";
import { type BackupRecord, isVerified } from "./core/backup-record.ts";
import { listBackups } from "./pipeline.ts";
import type { Repository } from "./repository/repository-port.ts";

/** What a store is described with. */
export interface ViewParts {
  node: string;
  repository: Repository;
  /** The repository's directory, for the paths that are shown. */
  directory: string;
  sinceMs: number | undefined;
  nextMs: number | undefined;
  memory: StoreMemory | undefined;
}

/** Why this version does not run a store: said, and never a silence that looks like a backup. */
export function findTrouble({ engine, repositories }: StorePlan): string | undefined {
  if (engine !== "postgres") return `engine ${engine} is not run by this version: nothing of it is backed up`;
  const others = repositories.filter((name) => name !== "local");
  if (others.length === 0) return undefined;
  return `repository ${others.join(", ")} is not used by this version: name local, or nothing is backed up`;
}

/** Describes a store. A repository that cannot be read is its trouble. */
export async function describeStore(plan: StorePlan, parts: ViewParts): Promise<StoreStatus> {
  const { service, store, engine, schedule, repositories } = plan;
  const { node, repository, directory, sinceMs, nextMs, memory } = parts;
  const trouble = findTrouble(plan);
  const common = {
    service,
    store,
    engine,
    schedule,
    repository: repositories.join(", "),
    runningSinceMs: sinceMs,
    nextMs: trouble === undefined ? nextMs : undefined,
    lastRun: memory?.lastRun,
    lastVerify: memory?.lastVerify,
  };
  try {
    const { records, strange } = await listBackups(repository, { node, service, store });
    const backups = records.map((record) => describeBackup(record, directory));
    return { ...common, trouble, backups, strange: sinceMs === undefined ? strange : [] };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...common, trouble: trouble ?? reason, backups: [], strange: [] };
  }
}

function describeBackup(record: BackupRecord, directory: string): KnownBackup {
  const { name, node, service, store, startedMs, endedMs, files, recipients, restoreWith, verifications } = record;
  return {
    name,
    startedMs,
    endedMs,
    plainBytes: files.reduce((sum, { plain }) => sum + plain.bytes, 0),
    storedBytes: files.reduce((sum, { stored }) => sum + stored.bytes, 0),
    verified: isVerified(record),
    verdict: verifications.at(-1),
    encrypted: recipients.length > 0,
    files: files.map(({ file }) => `${directory}/${node}/${service}/${store}/${file}`),
    restoreWith,
  };
}
