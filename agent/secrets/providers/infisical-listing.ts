// Which lists a round asks an Infisical server for, and what is in them: fewer requests where one can do, since nodes behind one
// address share a limit; references that lead nowhere, which servers leave in a value or cut out of it without a word. Pure.

/** One list to ask for. */
export interface ListPlan {
  root: string;
  /** With all that lies below. */
  recursive: boolean;
  /** The folders that are needed of it. */
  folders: readonly string[];
}

/** One secret in a list, as far as it is read here. */
export interface ListedSecret {
  name: string;
  folder: string | undefined;
  value: unknown;
  hidden: boolean;
}

/** A list that was answered. */
export interface Listing {
  own: readonly ListedSecret[];
  /** Of the folders that are imported, in their order; of a recursive list nobody knows which folder imports which. */
  imports: readonly { from: string; secrets: readonly ListedSecret[] }[];
}

/** What a server puts in place of a value that the identity may not see. */
const HIDDEN = "<hidden-by-infisical>";
/** What servers take for a reference. */
const REFERENCE = /\$\{([A-Za-z0-9_.-]+)\}/g;

/**
 * One list for all folders with the same allowed prefix, from their deepest common folder on.
 * @param within folders outside of which nothing may be asked for; undefined: none are set
 */
export function planLists(folders: readonly string[], within: readonly string[] | undefined): ListPlan[] {
  const groups = Map.groupBy(new Set(folders), (folder) => {
    const allowed = (within ?? ["/"]).filter((prefix) => isBelow(folder, prefix));
    return allowed.toSorted((left, right) => left.length - right.length)[0] ?? folder;
  });
  return [...groups.values()].flatMap((group) =>
    group.length === 1 ? planEach(group) : [{ root: findCommonFolder(group), recursive: true, folders: group }],
  );
}

/** One list for each folder. */
export function planEach(folders: readonly string[]): ListPlan[] {
  return folders.map((folder) => ({ root: folder, recursive: false, folders: [folder] }));
}

function findCommonFolder(folders: readonly string[]): string {
  const [first = [], ...others] = folders.map((folder) => folder.split("/"));
  const differs = first.findIndex((part, index) => others.some((other) => other[index] !== part));
  return first.slice(0, differs === -1 ? first.length : differs).join("/") || "/";
}

function isBelow(folder: string, root: string): boolean {
  return root === "/" || folder === root || folder.startsWith(`${root}/`);
}

/** The folder of a secret's path. */
export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** The name of a secret's path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Reads the answer to a list; undefined where it is none. What is in it and no secret is left out. */
export function parseListing(answer: unknown): Listing | undefined {
  const { secrets, imports } = (answer ?? {}) as { secrets?: unknown; imports?: unknown };
  if (!Array.isArray(secrets)) return undefined;
  const parts = Array.isArray(imports) ? (imports as unknown[]) : [];
  return {
    own: secrets.flatMap(parseListed),
    imports: parts.map((part) => {
      const { secretPath, secrets: held } = (part ?? {}) as { secretPath?: unknown; secrets?: unknown };
      return {
        from: typeof secretPath === "string" ? secretPath : "another folder",
        secrets: Array.isArray(held) ? held.flatMap(parseListed) : [],
      };
    }),
  };
}

/** One secret of an answer; none where it has no name. */
export function parseListed(entry: unknown): ListedSecret[] {
  const fields = (entry ?? {}) as Record<string, unknown>;
  const { secretKey: name, secretPath, secretValue: value } = fields;
  if (typeof name !== "string") return [];
  const folder = typeof secretPath === "string" ? `/${secretPath.replaceAll(/^\/+|\/+$/g, "")}` : undefined;
  return [{ name, folder, value, hidden: fields["secretValueHidden"] === true || value === HIDDEN }];
}

/** A secret of a folder: of the folder's own list its own, else what the last import brings. */
export function findListed(listing: Listing, plan: ListPlan, path: string): ListedSecret | undefined {
  const [folder, name] = [folderOf(path), nameOf(path)];
  const own = listing.own.find((entry) => entry.name === name && (entry.folder ?? plan.root) === folder);
  if (own !== undefined || plan.recursive) return own;
  return listing.imports.flatMap(({ secrets }) => secrets).findLast((entry) => entry.name === name);
}

/** True where a value is made of others. */
export function hasReference(value: unknown): boolean {
  return typeof value === "string" && new RegExp(REFERENCE).test(value);
}

/**
 * The first reference of a value that did not lead anywhere.
 * @param raw the value as it is written
 * @param expanded what the server made of it
 */
export function findLostReference(raw: string, expanded: string): string | undefined {
  const left = new RegExp(REFERENCE).exec(expanded);
  if (left !== null) return left[0];
  // What stands between references is in the expanded value too, in order, with at least one character for each reference.
  const references = [...raw.matchAll(REFERENCE)];
  const texts = raw.split(REFERENCE).filter((_text, index) => index % 2 === 0);
  const [first = "", ...rest] = texts;
  if (!expanded.startsWith(first)) return references[0]?.[0];
  let at = first.length;
  for (const [index, text] of rest.entries()) {
    const isLast = index === rest.length - 1;
    const found = isLast ? expanded.length - text.length : expanded.indexOf(text, at + 1);
    if (found < at + 1 || !expanded.startsWith(text, found)) return references[index]?.[0];
    at = found + text.length;
  }
  return undefined;
}

/** References to secrets of the same folder that a list of it has not; none where imports may bring them. */
export function findMissingNeighbour(raw: string, folder: string, listing: Listing): string | undefined {
  if (listing.imports.length > 0) return undefined;
  const isThere = (name: string): boolean =>
    listing.own.some((entry) => entry.name === name && (entry.folder ?? folder) === folder);
  return [...raw.matchAll(REFERENCE)].find(([, name = ""]) => !name.includes(".") && !isThere(name))?.[0];
}
