// `orca slo` as text: a line for each store and repository, and for each service. Pure.

import type {
  AvailabilityDocument,
  RpoDocument,
  RtoDocument,
  SloDocument,
} from "../../../shared/document/slo-document.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { layOutTable } from "./text-table.ts";

const STATES = {
  held: "held",
  doubtful: "doubtful",
  broken: "BROKEN",
  "not-promised": "nothing promised",
  "not-measured": "not measured yet",
} as const;
const VERDICTS = { good: "good", bad: "BAD", unknown: "cannot be judged" } as const;

/** Prints it. */
export function printSlo({ rpo, availability, rto }: SloDocument, width: number): string {
  const parts = [printStores(rpo, width), printTimes(availability, width), printRecoveries(rto, width)];
  return parts.filter((part) => part !== "").join("\n\n");
}

function printStores(rpo: readonly RpoDocument[], width: number): string {
  if (rpo.length === 0) return "no service of this node has a backup in its manifest";
  const columns = [
    { heading: "STORE" },
    { heading: "REPOSITORY" },
    { heading: "RPO", align: "right" as const },
    { heading: "AGE", align: "right" as const },
    { heading: "PROVED" },
    { heading: "STATE" },
  ];
  return printRows(layOutTable(columns, rpo.map(printStore), { width }), rpo);
}

function printTimes(availability: readonly AvailabilityDocument[], width: number): string {
  if (availability.length === 0) return "";
  const columns = [
    { heading: "SERVICE" },
    { heading: "PROMISED", align: "right" as const },
    { heading: "30 DAYS", align: "right" as const },
    { heading: "AT WORST", align: "right" as const },
    { heading: "DOWN", align: "right" as const },
    { heading: "UNKNOWN", align: "right" as const },
    { heading: "LEFT", align: "right" as const },
    { heading: "STATE" },
  ];
  return printRows(layOutTable(columns, availability.map(printTime), { width }), availability);
}

function printRecoveries(rto: readonly RtoDocument[], width: number): string {
  if (rto.length === 0) return "";
  const columns = [
    { heading: "SERVICE" },
    { heading: "RTO", align: "right" as const },
    { heading: "LAST INCIDENT" },
    { heading: "TOOK", align: "right" as const },
    { heading: "STATE" },
  ];
  return printRows(layOutTable(columns, rto.map(printRecovery), { width }), rto);
}

function printRows(table: readonly string[], rows: readonly { service: string; reason: string | null }[]): string {
  const reasons = rows.flatMap(({ service, reason }) => (reason === null ? [] : [`${service}: ${reason}`]));
  return [...table, ...new Set(reasons)].join("\n");
}

function printStore({
  service,
  store,
  repository,
  promisedSeconds,
  ageSeconds,
  newest,
  verdict,
  state,
}: RpoDocument): string[] {
  const age = printSeconds(ageSeconds);
  return [
    `${service}/${store}`,
    repository,
    printSeconds(promisedSeconds),
    newest === null ? `none in ${age}` : age,
    verdict === null ? "no" : VERDICTS[verdict],
    STATES[state],
  ];
}

function printTime(row: AvailabilityDocument): string[] {
  const left = row.leftSeconds;
  return [
    row.service,
    printPercent(row.promisedPercent),
    printPercent(row.measuredPercent),
    printPercent(row.worstPercent),
    printSeconds(row.downSeconds),
    printSeconds(row.unknownSeconds),
    left === null ? "-" : left < 0 ? "nothing" : printSeconds(left),
    STATES[row.state],
  ];
}

function printRecovery({ service, promisedSeconds, began, ended, tookSeconds, state }: RtoDocument): string[] {
  const when =
    began === null ? "none" : `${began.slice(0, 16).replace("T", " ")} UTC${ended === null ? ", goes on" : ""}`;
  return [service, printSeconds(promisedSeconds), when, printSeconds(tookSeconds), STATES[state]];
}

function printPercent(percent: number | null): string {
  return percent === null ? "-" : `${percent} %`;
}

function printSeconds(seconds: number | null): string {
  return seconds === null ? "-" : describeDuration(seconds * 1_000);
}
