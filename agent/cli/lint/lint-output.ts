// What lint prints: text for people, JSON for programs, workflow commands for GitHub and Gitea Actions. Pure.

import { addTo } from "../../desired/checks/view/repository-view.ts";
import { showControls } from "../../report/text/public-text.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import {
  compareProblems,
  compareText,
  describeFault,
  describeProblem,
  type Problem,
} from "../../../shared/text/problem.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** The forms of output. */
export type LintFormat = "text" | "json" | "github";

/** What lint has found, and in how much. */
export interface LintReport {
  problems: readonly Problem[];
  manifests: number;
  nodes: number;
}

/** Prints a report; the same report gives the same text. */
export function describeReport(report: LintReport, format: LintFormat, locate: (file: string) => string): string {
  const sorted = { ...report, problems: report.problems.toSorted(compareProblems) };
  if (format === "json") return describeJson(sorted);
  const heavy = sorted.problems.filter((problem) => problem.severity !== "info");
  const light = summariseInfos(sorted.problems);
  const lines =
    format === "text"
      ? [...heavy.map(describeProblem), ...light.map((line) => `info: ${line}`), ...listPages(heavy)]
      : [
          ...heavy.map((problem) => describeCommand(problem, locate(problem.file))),
          ...light.map((line) => `::notice title=lint::${escapeData(line)}`),
        ];
  return [...lines.map(showControls), describeSummary(sorted)].join("\n");
}

/** The page about the host's law, where a manifest breaks it: a finding names the rule, and not how the law is written. */
function listPages(problems: readonly Problem[]): string[] {
  return problems.some(({ code }) => code === "policy") ? [`info: about the host's policy: ${nameHelp("policy")}`] : [];
}

/** How many problems there are of each severity. */
export function countProblems(problems: readonly Problem[]): { errors: number; warnings: number; infos: number } {
  const counts = { errors: 0, warnings: 0, infos: 0 };
  for (const { severity } of problems) counts[`${severity}s`] += 1;
  return counts;
}

function describeSummary({ problems, manifests, nodes }: LintReport): string {
  const { errors, warnings } = countProblems(problems);
  const found = `${describeCount(errors, "error")}, ${describeCount(warnings, "warning")}`;
  return `${found} in ${describeCount(manifests, "manifest")} of ${describeCount(nodes, "node")}${errors === 0 ? ": valid" : ""}`;
}

/** The document is part of the contract with programs: fields are added, never renamed, and `version` says if they were. */
function describeJson({ problems, manifests, nodes }: LintReport): string {
  const counts = { ...countProblems(problems), manifests, nodes };
  const list = problems.map(({ severity, code, file, line, column, key, message, hint }) => ({
    severity,
    code,
    file,
    line,
    column,
    key,
    message,
    hint,
  }));
  return JSON.stringify({ version: 1, valid: counts.errors === 0, counts, problems: list }, null, 2);
}

/** One line for each kind of info: what this version does not act on is worth knowing once. */
function summariseInfos(problems: readonly Problem[]): string[] {
  const kinds = new Map<string, Problem[]>();
  for (const problem of problems) {
    if (problem.severity !== "info") continue;
    addTo(kinds, `${problem.code}\n${problem.message}`, problem);
  }
  return [...kinds]
    .toSorted(([left], [right]) => compareText(left, right))
    .map(([, list]) => {
      const files = [...new Set(list.map(({ file }) => shortName(file)))];
      const more = files.length > 3 ? `, … (${files.length} in all)` : "";
      return `${list[0]?.message}: ${files.slice(0, 3).join(", ")}${more}`;
    });
}

/** `orca/manifests/vm-edge/caddy.toml` is `vm-edge/caddy`, as the rest of Orca says. */
function shortName(file: string): string {
  return file.replace(/^(?:orca\/)?manifests\//, "").replace(/\.toml$/, "");
}

const LEVELS = { error: "error", warning: "warning", info: "notice" } as const;

/**
 * A workflow command of GitHub Actions, which Gitea Actions reads too
 * (https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
 */
function describeCommand(problem: Problem, file: string): string {
  const properties = { file, line: String(problem.line), col: String(problem.column), title: problem.code };
  const list = Object.entries(properties).map(([name, value]) => `${name}=${escapeProperty(value)}`);
  return `::${LEVELS[problem.severity]} ${list.join(",")}::${escapeData(describeFault(problem))}`;
}

/** As actions/toolkit does, packages/core/src/command.ts. */
function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
