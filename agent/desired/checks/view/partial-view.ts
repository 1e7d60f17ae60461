// Invalid manifests as far as they can be read, so that one run of lint tells everything: what a schema refuses hides nothing that a
// later check would find. Pure; lint alone asks, the agent goes by whole manifests only.

import { type Manifest, manifestSchema } from "../../../../shared/manifest/manifest.ts";
import { readToml } from "../../../../shared/text/read-toml.ts";
import type { ParsedManifest } from "../../repository/repository.ts";
import { type RepositoryView, viewRepository } from "./repository-view.ts";

type Table = Record<string | number, unknown>;

/** A manifest without what is wrong in it. `isWhole` is false where something had to be taken out that means something. */
interface PartialManifest {
  manifest: Manifest;
  isWhole: boolean;
}

/** What stands in for a part that has to be there; none of it can be the cause of a finding. */
const STAND_INS: Readonly<Record<string, unknown>> = {
  image: "stand-in:1",
  resources: { memory: "6MiB" },
  "resources.memory": "6MiB",
};
const RULE_STAND_INS: Readonly<Record<string, readonly [key: string, value: unknown]>> = {
  "no-health": ["health", { exec: ["true"] }],
  "no-backup": ["backup", { none: "stand-in" }],
};
/** Each round takes out at least one key: a manifest of a page has no more faults within faults. */
const MOST_ROUNDS = 8;

/** Reads what can be read of an invalid manifest; undefined where that is nothing. */
function readPartial(text: string): PartialManifest | undefined {
  const read = readToml(text);
  if (!read.ok) return undefined;
  const { raw } = read;
  let isWhole = true;
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const result = manifestSchema.safeParse(raw);
    if (result.success) return { manifest: result.data, isWhole };
    for (const issue of result.error.issues) {
      const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
      const rule = issue.code === "custom" ? (issue.params as { rule?: string } | undefined)?.rule : undefined;
      const standIn = RULE_STAND_INS[rule ?? ""];
      if (issue.code === "unrecognized_keys") takeKeys(raw, path, issue.keys);
      else if (standIn !== undefined) raw[standIn[0]] = standIn[1];
      else isWhole = mend(raw, path) && isWhole;
    }
  }
  return undefined;
}

/** A key that does not exist means nothing to any check. */
function takeKeys(raw: Table, path: readonly (string | number)[], keys: readonly string[]): void {
  const table = find(raw, path);
  for (const key of keys) if (table !== undefined) delete table[key];
}

/** Puts something in for what is missing, or takes out what is wrong, a list as a whole; answers whether nothing was lost. */
function mend(raw: Table, path: readonly (string | number)[]): boolean {
  const place = path.join(".");
  const parent = find(raw, path.slice(0, -1));
  const key = path.at(-1) ?? "";
  if (Object.hasOwn(STAND_INS, place) && parent !== undefined) {
    const wasThere = Object.hasOwn(parent, key);
    parent[key] = STAND_INS[place];
    return !wasThere;
  }
  const index = path.findIndex((part) => typeof part === "number");
  const isThere = parent !== undefined && Object.hasOwn(parent, key);
  const cut = index !== -1 ? path.slice(0, index) : isThere ? path : path.slice(0, -1);
  const table = find(raw, cut.slice(0, -1));
  if (table !== undefined && cut.length > 0) delete table[cut.at(-1) ?? ""];
  return false;
}

function find(raw: Table, path: readonly (string | number)[]): Table | undefined {
  let value: unknown = raw;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Table)[part];
  }
  return typeof value === "object" && value !== null ? (value as Table) : undefined;
}

/** A repository with its invalid manifests, as far as each kind of check can use them. */
export interface CompletedViews {
  /** With those of which nothing was lost: every check may look at them. */
  whole: RepositoryView;
  /** With the others too: for checks that look at one part of one service. */
  partial: RepositoryView;
  /** The files of those others. */
  partialFiles: ReadonlySet<string>;
}

/** Adds to a view what can be read of its invalid manifests. */
export function completeView(view: RepositoryView): CompletedViews {
  const read = new Map<ParsedManifest, PartialManifest>();
  for (const parsed of view.manifests) {
    const partial = parsed.manifest === undefined ? readPartial(parsed.text) : undefined;
    if (partial !== undefined) read.set(parsed, partial);
  }
  if (read.size === 0) return { whole: view, partial: view, partialFiles: new Set() };
  const complete = (accept: (partial: PartialManifest) => boolean): RepositoryView =>
    viewRepository({
      ...view,
      manifests: view.manifests.map((parsed) => {
        const partial = read.get(parsed);
        return partial !== undefined && accept(partial) ? { ...parsed, manifest: partial.manifest } : parsed;
      }),
    });
  const partialFiles = new Set([...read].flatMap(([{ file }, { isWhole }]) => (isWhole ? [] : [file])));
  return { whole: complete(({ isWhole }) => isWhole), partial: complete(() => true), partialFiles };
}
