// From the manifests that are in force to what is backed up on this node. Pure.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { StorePlan, VerifyPlan } from "../../../shared/state/backup.ts";
import { compareText } from "../../../shared/text/problem.ts";

/** The superuser of a stock image whose manifest names no other. */
const DEFAULT_USER = "postgres";

/** Every `[[backups]]` table of these services, in one order whatever theirs is. */
export function listStorePlans(services: readonly { service: string; manifest: Manifest }[]): StorePlan[] {
  const plans = services.flatMap(({ service, manifest }) =>
    manifest.backups.map((backup) => ({
      service,
      store: backup.name,
      engine: backup.engine,
      schedule: backup.schedule,
      user: readUser(manifest),
      repositories: backup.repositories,
      retention: backup.retention,
      verify: buildVerify(backup.verify),
      rpoMs: manifest.slo?.rpo,
    })),
  );
  return plans.toSorted((one, other) => compareText(`${one.service}/${one.store}`, `${other.service}/${other.store}`));
}

function buildVerify(verify: Manifest["backups"][number]["verify"]): VerifyPlan | undefined {
  if (verify === undefined) return undefined;
  return {
    schedule: verify.schedule,
    image: verify.image,
    timeoutMs: verify.timeout,
    maxBytes: verify.max_size,
    extensions: verify.extensions,
    schemas: verify.schemas,
    queries: verify.queries,
  };
}

function readUser({ env }: Manifest): string {
  const user = env["POSTGRES_USER"];
  return typeof user === "string" && user !== "" ? user : DEFAULT_USER;
}
