// The topic pages as man pages: orca(1) has the commands, orca-TOPIC(7) is what `orca help TOPIC` prints. Written for groff and mandoc in
// the macros of man(7). Held by test/docker/agent/package.test.ts.

import { renderPage } from "../../agent/help/render-page.ts";

/** What stands in a page's head and foot. */
export interface ManOptions {
  version: string;
  /** As man pages have it: 2026-11-30. */
  date: string;
}

/** Tables are laid out for the width that man takes on a terminal of 80 columns, less its margins. */
const TABLE_WIDTH = 71;

/** Builds the page of a topic. */
export function buildTopicPage(name: string, markdown: string, options: ManOptions): string {
  const [head = "", ...lines] = markdown.split("\n");
  const what = head.replace(/^# [^:]*: */, "");
  return [
    buildHead(`ORCA-${name.toUpperCase()}`, 7, options),
    ".SH NAME",
    `orca\\-${escapeRoff(name)} \\- ${escapeRoff(what)}`,
    ".SH DESCRIPTION",
    ...renderBlocks(lines),
    ".SH SEE ALSO",
    ".BR orca (1)",
    "",
  ].join("\n");
}

/**
 * Builds the page of the program.
 * @param commands the topic page of the commands
 * @param topics every topic with its one line
 */
export function buildProgramPage(
  commands: string,
  topics: Readonly<Record<string, string>>,
  options: ManOptions,
): string {
  const [, ...lines] = commands.split("\n");
  return [
    buildHead("ORCA", 1, options),
    ".SH NAME",
    "orca \\- runs this machine's services as its manifests in Git say",
    ".SH SYNOPSIS",
    ".B orca",
    ".I COMMAND",
    "[",
    ".I OPTION",
    "\\&...]",
    ".SH DESCRIPTION",
    ...renderBlocks(lines),
    ".SH SEE ALSO",
    ...Object.entries(topics).flatMap(([topic, what]) => [
      ".TP",
      `.BR orca\\-${escapeRoff(topic)} (7)`,
      escapeRoff(what),
    ]),
    "",
  ].join("\n");
}

function buildHead(title: string, section: number, { version, date }: ManOptions): string {
  return `.TH ${title} ${section} "${date}" "Orca ${version}" "Orca"`;
}

function renderBlocks(lines: readonly string[]): string[] {
  const out: string[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    if (line === "" || /^<!-- .* -->$/.test(line)) continue;
    const isFence = line.startsWith("```");
    const next = lines.findIndex((entry, index) => index > at && (isFence ? entry.startsWith("```") : entry === ""));
    const end = next === -1 ? lines.length : next;
    out.push(...renderBlock(lines.slice(at, end)));
    at = end;
  }
  return out;
}

function renderBlock(block: readonly string[]): string[] {
  const [first = ""] = block;
  if (first.startsWith("```")) return renderAsIs(block.slice(1), 4);
  if (first.startsWith("#")) return [`.SH ${escapeRoff(first.replace(/^#+ /, "").toUpperCase())}`];
  if (first.startsWith("|")) {
    const table = renderPage(block.join("\n"), { width: TABLE_WIDTH }).trimEnd().split("\n");
    return renderAsIs(
      table.map((line) => line.replace(/^ {2}/, "").replaceAll("─", "-")),
      0,
    );
  }
  return renderItems(block);
}

function renderAsIs(lines: readonly string[], indent: number): string[] {
  const text = lines.map((line) => (line === "" ? "" : escapeRoff(line)));
  return [".PP", ...(indent > 0 ? [`.RS ${indent}`] : []), ".nf", ...text, ".fi", ...(indent > 0 ? [".RE"] : [])];
}

/** A list, or a paragraph. */
function renderItems(lines: readonly string[]): string[] {
  const out: string[] = [];
  for (const line of lines) {
    const [, mark, rest = ""] = /^ *(-|\d+\.) (.*)$/.exec(line) ?? [];
    if (mark !== undefined) out.push(`.IP ${mark === "-" ? "\\(bu 2" : `${mark} 4`}`, renderWords(rest));
    else if (out.length === 0) out.push(".PP", renderWords(line));
    else out.push(renderWords(line.trim()));
  }
  return out;
}

/** Links are the page that they lead to; code is bold. */
function renderWords(text: string): string {
  const linked = text.replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, (_, words: string, target: string) =>
    target === `${words}.md` ? `\`orca-${words}\`(7)` : words,
  );
  return linked
    .split(/(`[^`]+`)/)
    .map((part) => (/^`.+`$/.test(part) ? `\\fB${escapeText(part.slice(1, -1))}\\fP` : escapeText(part)))
    .join("")
    .replace(/^(?=[.'])/, "\\&");
}

/** A line of text as troff reads it: no escape, and no request at its begin. */
function escapeRoff(text: string): string {
  return escapeText(text).replace(/^(?=[.'])/, "\\&");
}

function escapeText(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq").replaceAll("`", "\\(ga");
}
