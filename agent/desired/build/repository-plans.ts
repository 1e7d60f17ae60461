// Where the stores of this node are kept: from the names in manifests to fleet.toml's repositories, and whom they encrypt for. Pure.

import type { Fleet, FleetRepository } from "../../../shared/fleet/fleet.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { RepositoryPlan, StorePlan } from "../../../shared/state/backup.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** The repository that every node has without naming it. */
const LOCAL = "local";

/** What fleet.toml says of this node and of repositories. */
export interface StoreFleet {
  fleet: Fleet | undefined;
  node: string;
}

/** What a plan says of its repositories. */
type Keeping = Pick<StorePlan, "repositories" | "minSuccess" | "recipients" | "backupKey">;

/** Plans where one store is kept. */
export function planKeeping(backup: Manifest["backups"][number], { fleet, node }: StoreFleet): Keeping {
  const names = [...new Set(backup.repositories)];
  return {
    repositories: names.map((name) => planRepository(name, fleet)),
    minSuccess: backup.min_success,
    recipients: listRecipients(names, fleet),
    backupKey: fleet?.nodes[node]?.backup_key,
  };
}

/** The secrets that open the repositories which these manifests name. */
export function listRepositorySecrets(manifests: readonly Manifest[], fleet: Fleet | undefined): string[] {
  const names = new Set(manifests.flatMap(({ backups }) => backups.flatMap(({ repositories }) => repositories)));
  return [...names].flatMap((name) => {
    const repository = findRepository(name, fleet);
    if (repository?.kind !== "s3") return [];
    const { secret, pruner_secret: pruner = secret } = repository;
    return [secret, pruner];
  });
}

function findRepository(name: string, fleet: Fleet | undefined): FleetRepository | undefined {
  return fleet !== undefined && Object.hasOwn(fleet.repositories, name) ? fleet.repositories[name] : undefined;
}

function planRepository(name: string, fleet: Fleet | undefined): RepositoryPlan {
  if (name === LOCAL) return { kind: "local", name, path: undefined };
  const repository = findRepository(name, fleet);
  if (repository === undefined) return { kind: "unknown", name };
  if (repository.kind === "directory") return { kind: "directory", name, path: repository.path };
  const { endpoint, bucket, region, prefix = "", secret, pruner_secret: prunerSecret = secret } = repository;
  const { lock_days: lockDays, ca_file: caFile } = repository;
  return { kind: "s3", name, endpoint, bucket, region, prefix, secret, prunerSecret, lockDays, caFile };
}

/** Copies are made of what is encrypted already: each repository's recipients open all of them. */
function listRecipients(names: readonly string[], fleet: Fleet | undefined): string[] {
  return [...new Set(names.flatMap((name) => findRepository(name, fleet)?.recipients ?? []))].toSorted(compareText);
}
