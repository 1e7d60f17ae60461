// The licences of what is in the bundle, as their authors ask: one text file beside it, made by scripts/bundle.ts from the packages
// whose code it really holds. A package without a licence ends the build.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** One package in the bundle. */
interface Bundled {
  name: string;
  version: string;
  licence: string;
  homepage: string;
  /** What its author asks to be told with it. */
  texts: readonly string[];
}

/** Files that a package's author means by "the above notice", by the usual names. */
const NOTICES = /^(licen[cs]e|notice|copying|third[-_]?party[-_]?(notices|licen[cs]es))([-_.].*)?$/i;

/** The parts of a package.json that are read. */
interface PackageJson {
  name: string;
  version: string;
  license?: string | { type?: string };
  licenses?: { type?: string }[];
  homepage?: string;
  repository?: string | { url?: string };
  author?: string | { name?: string };
}

/**
 * Lists the packages that files belong to.
 * @param files paths of modules, with `node_modules` in those of packages
 * @returns the packages' directories, sorted
 */
export function listPackages(files: Iterable<string>): string[] {
  const found = new Set<string>();
  for (const file of files) {
    const match = /^(.*\/)?node_modules\/((@[^/]+\/)?[^/]+)\//.exec(file);
    if (match !== null) found.add(`${match[1] ?? ""}node_modules/${match[2]}`);
  }
  return [...found].toSorted();
}

/**
 * Writes the notices of packages as one text.
 * @param directories the packages' directories
 * @returns the text; throws where a package names no licence
 */
export function describeLicences(directories: readonly string[]): string {
  const packages = directories.map(readPackage).toSorted((left, right) => compare(left.name, right.name));
  const names = new Set<string>();
  const parts = packages.flatMap(({ name, version, licence, homepage, texts }) => {
    const title = `${name} ${version}`;
    if (names.has(title)) return [];
    names.add(title);
    return [`${"=".repeat(80)}\n${title} (${licence})\n${homepage}\n\n${texts.join("\n\n")}\n`];
  });
  const head =
    "Orca holds code of these packages. Each stands under its own licence, which follows with its notices.\n\n";
  return `${head}${[...names].map((name) => `  ${name}`).join("\n")}\n\n${parts.join("\n")}`;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function readPackage(directory: string): Bundled {
  const parsed = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as PackageJson;
  const { name, version, license, licenses, homepage, repository, author } = parsed;
  const licence =
    typeof license === "string" ? license : (license?.type ?? licenses?.map(({ type }) => type).join(" or "));
  if (licence === undefined || licence === "")
    throw new Error(`write licences: ${directory} names none in its package.json`);
  const files = readdirSync(directory).filter((file) => NOTICES.test(file));
  const texts = files.toSorted().map((file) => readFileSync(join(directory, file), "utf8").trim());
  const place = homepage ?? (typeof repository === "string" ? repository : repository?.url) ?? "";
  const who = typeof author === "string" ? author : (author?.name ?? "its authors");
  const told =
    texts.length > 0 ? texts : [`Copyright ${who}. ${basename(directory)} comes without a licence text: ${licence}.`];
  return { name, version, licence, homepage: place, texts: told };
}
