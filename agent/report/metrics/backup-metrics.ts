// The part of the metrics that is about backups: how old the newest good one is in each repository, what is promised, and what the last
// proof has shown. Used by metrics.ts.

import type { Maker, Scrape } from "./metrics.ts";

const VERDICTS = ["good", "bad", "unknown"] as const;

/** Makes the metrics; answers what fills them. */
export function buildBackupFiller(gauge: Maker): (scrape: Scrape) => void {
  const own = ["service", "store", "repository"];
  const age = gauge(
    "orca_backup_age_seconds",
    "Age of the newest good backup; without one, since the store is there.",
    own,
  );
  const exists = gauge("orca_backup_exists", "1 where the repository has a good backup of the store.", own);
  const rpo = gauge("orca_backup_rpo_seconds", "The age that slo.rpo promises.", own);
  const broken = gauge("orca_backup_rpo_broken", "1 while that promise is broken.", own);
  const verdict = gauge("orca_backup_last_verdict", "1 for what the last proof has shown, 0 for the others.", [
    "service",
    "store",
    "verdict",
  ]);
  return ({ slo, status }) => {
    for (const standing of slo.rpo) {
      const { service, store, repository } = standing;
      const labels = { node: status.node, service, store, repository };
      age(labels, standing.ageSeconds);
      exists(labels, Number(standing.newest !== null));
      if (standing.promisedSeconds !== null) {
        rpo(labels, standing.promisedSeconds);
        broken(labels, Number(standing.state === "broken"));
      }
      if (standing.verdict === null) continue;
      for (const one of VERDICTS)
        verdict({ node: status.node, service, store, verdict: one }, Number(standing.verdict === one));
    }
  };
}
