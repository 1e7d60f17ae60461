// A month of drills as a page of Markdown, which people keep as the record of that month. Pure.

import { type DrillKind, type DrillPart, type DrillRecord, isLate, judgeDrill } from "../../../shared/drill/drill.ts";
import { describeDuration } from "../../../shared/text/duration.ts";

const TITLES: Readonly<Record<DrillKind, string>> = {
  stores: "every store from its newest backup",
  full: "the whole node from its newest backups",
  stop: "a service was stopped",
};

const HEAD = [
  "| service | store | backup | result | restore | start | time to recovery | promised | stop grace |",
  "|---|---|---|---|---|---|---|---|---|",
];

/**
 * Writes the page of a month.
 * @param month such as `2026-12`
 * @param drills of that month, the oldest first
 */
export function renderDrills(node: string, month: string, drills: readonly DrillRecord[]): string {
  const sections = drills.map((drill) => [
    `## ${new Date(drill.startedMs).toISOString().slice(0, 16).replace("T", " ")} UTC: ${TITLES[drill.kind]}`,
    "",
    describeResult(drill),
    "",
    ...(drill.parts.length === 0 ? [] : [...HEAD, ...drill.parts.map(renderRow), ""]),
    ...drill.parts.filter(isTold).map((part) => `- ${namePart(part)}: ${escapeText(part.detail)}`),
  ]);
  const lines = [`# Drills of ${node} in ${month}`, "", ...sections.flatMap((section) => [...section, ""])];
  return `${lines
    .join("\n")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trimEnd()}\n`;
}

/** The result of a drill in one sentence. */
export function describeResult(drill: DrillRecord): string {
  const { parts, startedMs, endedMs, trouble } = drill;
  const took =
    endedMs === undefined || endedMs <= startedMs ? "" : ` It took ${describeDuration(endedMs - startedMs)}.`;
  const bad = parts.filter(({ verdict }) => verdict === "bad").map(namePart);
  const late = parts.filter((part) => part.verdict !== "bad" && isLate(part)).map(namePart);
  const untried = parts.filter(({ verdict }) => verdict === "unknown").map(namePart);
  const said = [
    ...(bad.length === 0 ? [] : [`${bad.join(", ")} did not come back`]),
    ...(late.length === 0 ? [] : [`${late.join(", ")} came back later than promised`]),
    ...(untried.length === 0 ? [] : [`${untried.join(", ")} could not be tried`]),
    ...(trouble === undefined ? [] : [trouble]),
  ];
  const verdict = judgeDrill(drill);
  const words = verdict === "good" ? "everything came back in its time" : said.join("; ");
  return `${verdict === "running" ? "It goes on" : `Result: ${verdict}`}${words === "" ? "" : `: ${escapeText(words)}`}.${took}`;
}

/** `postgres-app/db`, or `web` of a service alone. */
function namePart({ service, store }: DrillPart): string {
  return store === undefined ? service : `${service}/${store}`;
}

/** One part of a drill in one line, for whoever looks on. */
export function describePart(part: DrillPart): string {
  const { backup, repository, verdict, detail, restoreMs, startMs, graceMs, recoveryMs, rtoMs } = part;
  const from = backup === undefined ? [] : [repository === undefined ? backup : `${backup} from ${repository}`];
  const promised = rtoMs === undefined ? "" : ` of ${describeDuration(rtoMs)}`;
  const times = [
    ...(restoreMs === undefined ? [] : [`restored in ${describeTime(restoreMs)}`]),
    ...(startMs === undefined ? [] : [`started in ${describeTime(startMs)}`]),
    ...(recoveryMs === undefined ? [] : [`time to recovery ${describeTime(recoveryMs)}${promised}`]),
    ...(graceMs === undefined || verdict !== "good" ? [] : [`stop grace apart: ${describeTime(graceMs)}`]),
  ];
  const result = verdict === "good" && isLate(part) ? "late" : verdict;
  return `${namePart(part)}: ${[result, ...from, ...times].join(", ")}${detail === "" ? "" : `: ${detail}`}`;
}

function isTold({ detail }: DrillPart): boolean {
  return detail !== "";
}

function renderRow(part: DrillPart): string {
  const {
    service,
    store = "",
    backup = "",
    repository,
    verdict,
    restoreMs,
    startMs,
    recoveryMs,
    rtoMs,
    graceMs,
  } = part;
  const from = repository === undefined || backup === "" ? backup : `${backup} from ${repository}`;
  const result = verdict === "good" && isLate(part) ? "late" : verdict;
  const times = [restoreMs, startMs, recoveryMs, rtoMs, graceMs].map(describeTime);
  return `| ${[service, store, from, result, ...times].map(escapeCell).join(" | ")} |`;
}

function describeTime(ms: number | undefined): string {
  if (ms === undefined) return "";
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : describeDuration(Math.round(ms / 1_000) * 1_000);
}

function escapeCell(text: string): string {
  return escapeText(text).replaceAll("|", String.raw`\|`);
}

/** What a server printed is one line, and is no markup. */
function escapeText(text: string): string {
  return text
    .replaceAll(/\s+/g, " ")
    .replaceAll(/[<>`*[\]#]/g, String.raw`\$&`)
    .trim();
}
