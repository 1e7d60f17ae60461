// What `orca plan --against` prints: text for people, JSON for programs, Markdown for a comment on a pull request. Pure. The
// texts compared may come from anybody, so in Markdown nothing of theirs is more than text.

import type { TomlChange } from "../../desired/repository/toml-diff.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { describeChange, measureNames, SIGNS, WORDS } from "./change-text.ts";
import type { BudgetChange, NodeChange } from "./plan-compare.ts";

/** The forms of output. */
export type PlanFormat = "text" | "json" | "markdown";

/** What is printed. */
export interface ComparisonReport {
  /** The revision as it was asked for, and the commit it stands for. */
  against: string;
  sha: string;
  /** How many nodes were compared. */
  nodes: number;
  /** Keys of fleet.toml that belong to no node. */
  fleet: readonly TomlChange[];
  changes: readonly NodeChange[];
}

/** By this a comment that is there already is found again. */
const MARK = "<!-- orca-plan -->";
/** Forges take about 65,000 characters in one comment. */
const LONGEST_COMMENT = 60_000;

/** Prints a comparison; the same comparison gives the same text. */
export function describeComparison(report: ComparisonReport, format: PlanFormat): string {
  if (format === "json") return describeJson(report);
  return format === "markdown" ? describeMarkdown(report) : describeText(report);
}

/** The document is part of the contract with programs: fields are added, never renamed, and `version` says if they were. */
function describeJson({ against, sha, nodes, fleet, changes }: ComparisonReport): string {
  return `${JSON.stringify({ version: 1, against, revision: sha, counts: { nodes, changed: changes.length }, fleet, nodes: changes }, undefined, 2)}\n`;
}

function countNodes({ nodes, fleet, changes }: ComparisonReport): string {
  if (changes.length === 0) return fleet.length === 0 ? "no change" : "fleet.toml changes";
  return nodes === 1
    ? "the node changes"
    : `${changes.length} of ${nodes} nodes ${changes.length === 1 ? "changes" : "change"}`;
}

function describeText(report: ComparisonReport): string {
  const lines = [`against ${report.against} (${report.sha.slice(0, 12)}): ${countNodes(report)}`];
  for (const change of report.changes) {
    lines.push("", `node ${change.node}${describePresence(change)}: ${describeBudget(change.budget)}`);
    for (const line of listWarnings(change)) lines.push(`  ! ${line}`);
    const width = measureNames(change.services);
    for (const service of change.services) {
      lines.push(describeChange(service, width));
      for (const field of service.fields) lines.push(`      ${describeField(field)}`);
    }
    for (const field of change.fleet) lines.push(`  fleet.toml: ${describeField(field)}`);
    for (const [index, wave] of change.starts.entries())
      lines.push(`  starts in wave ${index + 1}: ${wave.join(", ")}`);
    for (const note of change.notes) lines.push(`  note: ${note}`);
  }
  if (report.fleet.length > 0) lines.push("", "fleet.toml");
  for (const field of report.fleet) lines.push(`      ${describeField(field)}`);
  return `${lines.map(cutControlCharacters).join("\n")}\n`;
}

function describePresence({ presence }: NodeChange): string {
  return presence === "both" ? "" : ` (${presence})`;
}

/** The brake's word, and why nothing can be followed. */
function listWarnings({ held, refused }: NodeChange): string[] {
  return [
    ...(refused === undefined ? [] : [`refused: ${refused}`]),
    ...(held === undefined ? [] : [`held until a person lets it pass: ${held}`]),
  ];
}

function describeBudget({ before, after, limit }: BudgetChange): string {
  const caps = before === after ? describeSize(after) : `${describeSize(before)} → ${describeSize(after)}`;
  return limit === undefined ? `caps of ${caps}` : `caps of ${caps} in ${describeSize(limit)}`;
}

function describeField({ key, kind, from, to }: TomlChange): string {
  if (from === undefined && to === undefined) return `${key} (${kind})`;
  return `${key}: ${from ?? "none"} → ${to ?? "none"}`;
}

function describeMarkdown(report: ComparisonReport): string {
  const head = [
    MARK,
    `### Orca plan: ${countNodes(report)}`,
    "",
    `Compared with ${code(report.against)} (${code(report.sha.slice(0, 12))}).`,
  ];
  const fleet = report.fleet.length === 0 ? [] : [describeFields({ services: [], fleet: report.fleet }).join("\n")];
  const parts = [...report.changes.map((change) => describeNode(change).join("\n")), ...fleet];
  let text = head.join("\n");
  for (const [index, part] of parts.entries()) {
    if (text.length + part.length > LONGEST_COMMENT)
      return `${text}\n\n… and ${parts.length - index} more nodes: see \`orca plan\` in the job's log.\n`;
    text += `\n${part}`;
  }
  return `${text}\n`;
}

function describeNode(change: NodeChange): string[] {
  const lines = [
    "",
    `#### ${code(change.node)}${describePresence(change)}`,
    "",
    `Memory: ${escape(describeBudget(change.budget))}.`,
  ];
  for (const line of listWarnings(change)) lines.push("", `> **Attention:** ${escape(line)}`);
  if (change.services.length > 0) lines.push("", "| | service | what happens | why |", "|---|---|---|---|");
  for (const { service, action, effects } of change.services) {
    const why = effects.map((effect) => code(effect)).join("<br>");
    lines.push(`| ${code(SIGNS[action])} | ${code(service)} | ${WORDS[action]} | ${why} |`);
  }
  if (change.starts.length > 0)
    lines.push("", `Starts, in this order: ${change.starts.map((wave) => wave.map(code).join(", ")).join(", then ")}.`);
  lines.push(...describeFields(change));
  for (const note of change.notes) lines.push("", `Note: ${escape(note)}.`);
  return lines;
}

function describeFields({ services, fleet }: Pick<NodeChange, "services" | "fleet">): string[] {
  const named = services.flatMap(({ service, fields }) => fields.map((field) => [service, field] as const));
  const all = [...named, ...fleet.map((field) => ["fleet.toml", field] as const)];
  if (all.length === 0) return [];
  const rows = all.map(([place, { key, kind, from, to }]) => {
    const [left, right] = from === undefined && to === undefined ? [kind, kind] : [from ?? "", to ?? ""];
    return `| ${code(place)} | ${code(key)} | ${code(left)} | ${code(right)} |`;
  });
  const table = ["| file | key | before | after |", "|---|---|---|---|", ...rows];
  return [
    "",
    `<details><summary>${all.length} ${all.length === 1 ? "key" : "keys"}</summary>`,
    "",
    ...table,
    "",
    "</details>",
  ];
}

/** A code span inside a table: no Markdown, HTML, mention or pipe in it has a meaning. */
function code(text: string): string {
  const clean = cutControlCharacters(text).trim().replaceAll("|", "\\|");
  if (clean === "") return "";
  const longest = Math.max(0, ...[...clean.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return longest === 0 ? `\`${clean}\`` : `${fence} ${clean} ${fence}`;
}

/** Text outside a code span. */
function escape(text: string): string {
  return cutControlCharacters(text).replaceAll(/[\\`*_{}[\]<>#|@!&~]/g, (letter) => `&#${letter.codePointAt(0)};`);
}
