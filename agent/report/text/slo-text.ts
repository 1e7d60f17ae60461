// `orca slo` as text: a line for each store and repository. What of `slo` is not measured is a note of status. Pure.

import type { RpoDocument, SloDocument } from "../../../shared/document/slo-document.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { layOutTable } from "./text-table.ts";

const STATES = { held: "held", broken: "BROKEN", "not-promised": "nothing promised" } as const;
const VERDICTS = { good: "good", bad: "BAD", unknown: "cannot be judged" } as const;

/** Prints it. */
export function printSlo({ rpo }: SloDocument, width: number): string {
  if (rpo.length === 0) return "no service of this node has a backup in its manifest";
  const columns = [
    { heading: "STORE" },
    { heading: "REPOSITORY" },
    { heading: "RPO", align: "right" as const },
    { heading: "AGE", align: "right" as const },
    { heading: "PROVED" },
    { heading: "STATE" },
  ];
  const table = layOutTable(columns, rpo.map(printRow), { width });
  const reasons = rpo.flatMap(({ service, reason }) => (reason === null ? [] : [`${service}: ${reason}`]));
  return [...table, ...new Set(reasons)].join("\n");
}

function printRow({
  service,
  store,
  repository,
  promisedSeconds,
  ageSeconds,
  newest,
  verdict,
  state,
}: RpoDocument): string[] {
  const age = describeDuration(ageSeconds * 1_000);
  return [
    `${service}/${store}`,
    repository,
    promisedSeconds === null ? "-" : describeDuration(promisedSeconds * 1_000),
    newest === null ? `none in ${age}` : age,
    verdict === null ? "no" : VERDICTS[verdict],
    STATES[state],
  ];
}
