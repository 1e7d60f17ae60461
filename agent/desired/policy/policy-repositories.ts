// The host's law over where backups may go and for whom they may be encrypted: what Git says must be what the host allows
// (data residency). Pure; asked by lint for the whole repository, and by the agent for what its services name.

import type { FleetRepository } from "../../../shared/fleet/fleet.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { isInside } from "./policy-check.ts";

/** What is wrong with one repository. */
export interface RepositoryRefusal {
  /** The key of the repository's table that is at fault. */
  key: string;
  rule: string;
  message: string;
}

/** Judges one repository of fleet.toml. */
export function checkRepositoryPolicy(
  repository: FleetRepository,
  { backups, pinned, secrets }: Policy,
): RepositoryRefusal[] {
  const refusals: RepositoryRefusal[] = [];
  if (repository.kind === "s3") {
    const { endpoint, region } = repository;
    // Only the host is shown: a URL may hold a password.
    const { host } = new URL(endpoint);
    const among = (list: readonly string[]): boolean => list.map(trimSlash).includes(trimSlash(endpoint));
    const refuse = (key: string, rule: string, message: string): void => void refusals.push({ key, rule, message });
    if (backups.endpoints !== undefined && !among(backups.endpoints))
      refuse("endpoint", "backups.endpoints", `${host} is not an allowed endpoint`);
    if (backups.regions !== undefined && !backups.regions.includes(region))
      refuse("region", "backups.regions", `${region} is not an allowed region`);
    if (pinned.repository_endpoints.length > 0 && !among(pinned.repository_endpoints))
      refuse("endpoint", "pinned.repository_endpoints", `${host} is not a pinned endpoint`);
    const prefixes = secrets.allowed_prefixes;
    for (const key of ["secret", "pruner_secret"] as const) {
      const path = repository[key];
      if (path !== undefined && prefixes !== undefined && !prefixes.some((prefix) => isInside(path, prefix)))
        refuse(key, "secrets.allowed_prefixes", `the secret ${path} is outside ${prefixes.join(", ")}`);
    }
  }
  const strangers = repository.recipients.filter((recipient) => !pinned.recipients.includes(recipient));
  if (pinned.recipients.length > 0 && strangers.length > 0) {
    const message = `${describeCount(strangers.length, "of its recipients is", "of its recipients are")} not pinned on this host`;
    refusals.push({ key: "recipients", rule: "pinned.recipients", message });
  }
  return refusals;
}

function trimSlash(url: string): string {
  return url.replace(/\/$/, "");
}
