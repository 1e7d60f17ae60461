// Manifests repositories on disk, for tests of lint: written whole into a temporary directory and removed afterwards.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { checkView, type LintOptions } from "../../../agent/cli/lint/lint-command.ts";
import { readRepository } from "../../../agent/cli/lint/lint-read.ts";
import type { Problem } from "../../../shared/text/problem.ts";

/** A path's content; a link says where it leads. */
export type Content = string | Uint8Array | { link: string };

/** Two nodes of one realm and one of another. */
export const FLEET = `[nodes.vm-a]
address = "10.0.0.1"
env = "prod"
memory = "4GiB"
reserve = "1GiB"
[nodes.vm-b]
address = "10.0.0.2"
env = "prod"
memory = "4GiB"
[nodes.vm-stage]
address = "10.0.1.1"
env = "stage"
memory = "4GiB"
[repositories.s3-geo]
kind = "s3"
endpoint = "https://s3.example"
bucket = "backups"
region = "eu-1"
secret = "/prod/backup/s3"
`;

/**
 * Writes a repository and hands it to a test; it is gone afterwards. A node of FLEET gets its directory even when no file
 * is given for it.
 * @param files paths below `orca/`; `fleet.toml` is FLEET where it is not given, and is left out where it is undefined
 */
export async function withRepository<T>(
  files: Readonly<Record<string, Content | undefined>>,
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "orca-lint-"));
  try {
    const root = join(directory, "orca");
    for (const node of ["vm-a", "vm-b", "vm-stage"]) mkdirSync(join(root, "manifests", node), { recursive: true });
    const all: Readonly<Record<string, Content | undefined>> = { "fleet.toml": FLEET, ...files };
    for (const [path, content] of Object.entries(all)) {
      if (content === undefined) continue;
      const full = join(root, path);
      mkdirSync(dirname(full), { recursive: true });
      if (typeof content === "object" && "link" in content) symlinkSync(content.link, full);
      else writeFileSync(full, content);
    }
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs lint over a repository; answers every problem, infos with their places. */
export function lintFiles(
  files: Readonly<Record<string, Content | undefined>>,
  options: Partial<LintOptions> = {},
): Promise<Problem[]> {
  return withRepository(files, async (directory) => {
    const { view } = await readRepository(directory);
    return [...(await checkView(view, { format: "json", ...options })).problems];
  });
}

/** The least valid manifest, in three lines after `top`; `tables` follow. */
export function service(top = "", tables = ""): string {
  const head = top === "" ? "" : `${top}\n`;
  const text = `image = "app:1"\nhealth = { tcp = { port = 8080 } }\nresources = { memory = "64MiB" }\n`;
  return `${head}${text}${tables}${tables === "" ? "" : "\n"}`;
}

/** `severity code file:line:column key`, sorted: what a test of one rule compares. Infos are left out. */
function shortProblems(problems: readonly Problem[]): string[] {
  return problems
    .filter((problem) => problem.severity !== "info")
    .map(({ severity, code, file, line, column, key }) => {
      const name = file.replace(/^orca\/(manifests\/)?/, "").replace(/\.toml$/, "");
      return `${severity} ${code} ${name}:${line}:${column} ${key}`.trimEnd();
    })
    .toSorted();
}

/** Runs lint over a repository; answers errors and warnings in short. */
export async function lintShort(
  files: Readonly<Record<string, Content | undefined>>,
  options: Partial<LintOptions> = {},
): Promise<string[]> {
  return shortProblems(await lintFiles(files, options));
}
