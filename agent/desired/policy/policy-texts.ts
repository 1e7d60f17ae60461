// Every text of a manifest that a service or the host is given, found by walking it: a key that is new is judged by the rules under
// `[text]` without anybody having to think of it. What is left out is listed here with who judges it instead. Pure.

import type { Manifest } from "../../../shared/manifest/manifest.ts";

/** One text, or one name of a table, and where it stands. */
export interface ManifestText {
  path: readonly (string | number)[];
  value: string;
}

/** Keys whose texts are not judged by what is forbidden in texts, and why. Numbers in a path are written as `*`. */
export const NOT_JUDGED: Readonly<Record<string, string>> = {
  image: "images.registries judges where it comes from, and a registry may have a name that is forbidden elsewhere",
  "backups.*.image": "the same",
  "backups.*.verify.image": "the same",
  "secrets.env.*": "a path, which secrets.allowed_prefixes judges; its value is judged where it is known",
  "secrets.files.*": "the same",
  "backups.*.connect.password": "the same",
  "backups.*.source.secret": "the same",
  "secrets.templates.*": "the same",
  "bootstrap.env_file": "bootstrap.allowed_files judges it; its values are judged where they are known",
  "requires.*.target.node": "the name of a node of this fleet, which orders starts and reaches nobody",
  "requires.*.target.service": "the name of a service, the same",
  "wants.*.node": "the same",
  "wants.*.service": "the same",
  moved_from: "the name of a service, the same",
  owner: "a name for people: it reaches no container and no request",
  "backup.none": "a reason for people, the same",
};

/** Lists the texts of a manifest that are judged. */
export function listTexts(manifest: Manifest): ManifestText[] {
  const found: ManifestText[] = [];
  walk(manifest, [], found);
  return found;
}

function walk(value: unknown, path: readonly (string | number)[], found: ManifestText[]): void {
  if (typeof value === "string") {
    // What is read into parts stands in the file as one text.
    const isWhole = typeof path[0] === "string" && READ_INTO_PARTS.has(path[0]);
    if (!isLeftOut(path)) found.push({ path: isWhole ? path.slice(0, 2) : path, value });
    return;
  }
  if (Array.isArray(value)) {
    for (const [index, entry] of value.entries()) walk(entry, [...path, index], found);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const [key, entry] of Object.entries(value)) {
    const place = [...path, key];
    // A name in a table is as much the author's as what stands behind it; of a key of the schema nothing matches that is not meant.
    if (OPEN_TABLES.has(describeKey(path))) found.push({ path: place, value: key });
    walk(entry, place, found);
  }
}

/** Tables whose keys the manifest's author chooses. */
export const OPEN_TABLES: ReadonlySet<string> = new Set([
  "env",
  "labels",
  "sysctls",
  "ulimits",
  "log.options",
  "secrets.env",
  "secrets.files",
  "secrets.templates",
]);

const READ_INTO_PARTS: ReadonlySet<string> = new Set(["requires", "wants", "ports"]);

function isLeftOut(path: readonly (string | number)[]): boolean {
  return describeKey(path) in NOT_JUDGED;
}

/** The path with `*` for places in lists and for names in open tables. */
function describeKey(path: readonly (string | number)[]): string {
  let text = "";
  for (const part of path) {
    const shown = typeof part === "number" || OPEN_TABLES.has(text) ? "*" : part;
    text += `${text === "" ? "" : "."}${shown}`;
  }
  return text;
}
