// What a delivered file holds, and the one name that this has wherever content is only compared: in the memory of a run, in the marks
// beside delivered files, in specs, in the audit log and in stored releases. Equal names are equal content. Pure.

import { nameVersion, splitVersion } from "../secret/secret-facts.ts";

/** What a delivered file holds. */
export type FileContent =
  /** Bytes, kept by their hash. */
  | { kind: "plain"; hash: string }
  /** The value of one secret, which the plan never has. */
  | { kind: "secret"; path: string; version: string }
  /** A text with secrets in it: the hash that its recipe is kept by, and the secrets with their versions (`nameVersion`). */
  | { kind: "rendered"; recipe: string; secrets: readonly string[] };

const SECRET = "secret:";
const RENDERED = "rendered:";

/** Names a content. Stored, and part of the label of some specs: a name stays as it is over versions. */
export function nameContent(content: FileContent): string {
  switch (content.kind) {
    case "plain":
      return content.hash;
    case "secret":
      return `${SECRET}${nameVersion(content.path, content.version)}`;
    case "rendered":
      return `${RENDERED}${[content.recipe, ...content.secrets].join("+")}`;
    default:
      return content satisfies never;
  }
}

/** Reads a name that was stored. */
export function readContentName(name: string): FileContent {
  if (name.startsWith(SECRET)) return { kind: "secret", ...splitVersion(name.slice(SECRET.length)) };
  if (!name.startsWith(RENDERED)) return { kind: "plain", hash: name };
  const [recipe = "", ...secrets] = name.slice(RENDERED.length).split("+");
  return { kind: "rendered", recipe, secrets };
}

/** True where a value of a secret is in it: it lies in memory only. */
export function holdsSecret({ kind }: FileContent): boolean {
  return kind !== "plain";
}

/** The secrets in it with their versions, as `nameVersion` writes them. */
export function listContentVersions(content: FileContent): readonly string[] {
  if (content.kind === "plain") return [];
  return content.kind === "secret" ? [nameVersion(content.path, content.version)] : content.secrets;
}

/** The hash that its bytes, or its recipe, are kept by; undefined for a secret, of which nothing is kept. */
export function findKeptHash(content: FileContent): string | undefined {
  if (content.kind === "secret") return undefined;
  return content.kind === "plain" ? content.hash : content.recipe;
}
