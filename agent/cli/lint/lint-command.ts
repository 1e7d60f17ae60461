// `orca lint`: validates a whole manifests repository, as the agents of all its nodes would see it and more strictly.
// Reads, checks, prints; starts nothing and writes nothing.

import { join, relative } from "node:path";

import { checkRepository } from "../../desired/checks/all.ts";
import { checkImageVolumes } from "../../desired/checks/volumes/image-volumes.ts";
import { checkByDefault, checkByPolicy } from "../../desired/checks/host-law-check.ts";
import { addTo, type FileFinding, type RepositoryView } from "../../desired/checks/view/repository-view.ts";
import { readPolicy } from "../../host/files/host-files.ts";
import { describePath, type Problem } from "../../../shared/text/problem.ts";
import { locateFindings } from "../../../shared/text/parse-toml.ts";
import { readImageVolumes } from "./lint-images.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { countProblems, describeReport, type LintFormat, type LintReport } from "./lint-output.ts";
import { readRepository } from "./lint-read.ts";
import { printJsonText, printText } from "../frame/terminal.ts";

/** The options of `orca lint`. */
export interface LintOptions {
  node?: string;
  policy?: string;
  /** The engine's socket; without one, no image is looked at. */
  docker?: string;
  format: LintFormat;
}

/**
 * Runs `orca lint`.
 * @param directory a manifests repository
 * @returns the exit code: 0 without errors, else 1; throws where there is no repository or no such node
 */
export async function lint(directory: string, options: LintOptions): Promise<number> {
  const { view, layout } = await readRepository(directory);
  const report = await checkView(view, options);
  // GitHub looks files up from the workspace, which is where the command runs; people think from what they typed.
  const locate = (file: string): string => relative(process.cwd(), join(layout.root, file.slice(layout.shown.length)));
  const text = describeReport(report, options.format, locate);
  if (options.format === "json") printJsonText(text);
  else printText(text);
  return countProblems(report.problems).errors === 0 ? EXIT.ok : EXIT.failed;
}

/** Runs every check over what was read. With `node`, what concerns other nodes alone is left out. */
export async function checkView(view: RepositoryView, options: LintOptions): Promise<LintReport> {
  const { node } = options;
  if (node !== undefined) refuseUnknownNode(view, node);
  const policy = options.policy === undefined ? undefined : await readPolicy(options.policy);
  const images = new Set(view.services.map(({ manifest }) => manifest.image));
  const volumes =
    options.docker === undefined
      ? new Map<string, readonly string[]>()
      : await readImageVolumes(options.docker, images);
  const findings = [
    ...checkRepository(view),
    ...checkImageVolumes(view, volumes),
    ...(policy === undefined ? checkByDefault(view) : checkByPolicy(view, policy, node)),
  ];
  const concerns = (nodes: readonly string[]): boolean =>
    node === undefined || nodes.length === 0 || nodes.includes(node);
  const manifests = view.manifests.filter((manifest) => concerns([manifest.node]));
  const problems = [
    ...view.fleet.problems,
    ...manifests.flatMap((manifest) => manifest.problems),
    ...(await locateAll(
      view,
      findings.filter((finding) => concerns(finding.nodes)),
      options.format,
    )),
  ];
  return { problems, manifests: manifests.length, nodes: node === undefined ? view.nodes.length : 1 };
}

function refuseUnknownNode(view: RepositoryView, node: string): void {
  const listed = Object.keys(view.fleet.fleet?.nodes ?? {});
  const known = [...new Set([...view.nodes, ...listed])];
  if (!known.includes(node))
    throw new CommandError(`there is no node ${node}; there are ${known.join(", ") || "none"}`);
}

/** Looks up lines and columns, once for each file. Infos are summed up without a place, but for programs. */
async function locateAll(
  view: RepositoryView,
  findings: readonly FileFinding[],
  format: LintFormat,
): Promise<Problem[]> {
  const texts = new Map(view.manifests.map(({ file, text }) => [file, text]));
  if (view.fleet.text !== undefined) texts.set(view.fleet.file, view.fleet.text);
  const problems: Problem[] = [];
  const open = new Map<string, FileFinding[]>();
  for (const finding of findings) {
    const isPlaced = finding.place !== undefined || (finding.severity === "info" && format !== "json");
    const text = texts.get(finding.file);
    if (isPlaced || text === undefined) problems.push(place(finding));
    else addTo(open, finding.file, finding);
  }
  for (const [file, list] of open) problems.push(...(await locateFindings(list, texts.get(file) ?? "", file)));
  return problems;
}

function place({ severity, code, file, path, message, hint, place: at }: FileFinding): Problem {
  const { line, column } = at ?? { line: 1, column: 1 };
  return { severity, code, file, line, column, key: describePath(path), message, hint };
}
