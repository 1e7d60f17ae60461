// The part of the metrics that is about what services promise: their time within 30 days, and their last recovery. Used by metrics.ts.

import type { Maker, Scrape } from "./metrics.ts";

/** Makes the metrics; answers what fills them. */
export function buildPromiseFiller(gauge: Maker): (scrape: Scrape) => void {
  const own = ["service"];
  const time = gauge("orca_service_availability_seconds", "Time of a service within 30 days, by how it was.", [
    "service",
    "was",
  ]);
  const promised = gauge("orca_service_availability_promised_ratio", "What slo.availability promises, 0 to 1.", own);
  const left = gauge(
    "orca_service_error_budget_left_seconds",
    "How long it may still be down; below 0 when broken.",
    own,
  );
  const broken = gauge("orca_service_availability_broken", "1 while that promise is broken.", own);
  const took = gauge("orca_service_recovery_seconds", "How long the last incident took, or has taken so far.", own);
  const rto = gauge("orca_service_rto_seconds", "What slo.rto promises.", own);
  const late = gauge("orca_service_rto_broken", "1 while that promise is broken.", own);
  return ({ slo, status }) => {
    for (const row of slo.availability) {
      const labels = { node: status.node, service: row.service };
      time({ ...labels, was: "up" }, row.upSeconds);
      time({ ...labels, was: "down" }, row.downSeconds);
      time({ ...labels, was: "unknown" }, row.unknownSeconds);
      if (row.promisedPercent === null || row.leftSeconds === null) continue;
      promised(labels, row.promisedPercent / 100);
      left(labels, row.leftSeconds);
      broken(labels, Number(row.state === "broken"));
    }
    for (const row of slo.rto) {
      const labels = { node: status.node, service: row.service };
      if (row.tookSeconds !== null) took(labels, row.tookSeconds);
      if (row.promisedSeconds === null) continue;
      rto(labels, row.promisedSeconds);
      late(labels, Number(row.state === "broken"));
    }
  };
}
