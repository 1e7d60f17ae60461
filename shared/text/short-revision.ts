// Revisions for people, and facts for where there is little room. Pure.

/** A revision as short as people write it: a commit by its first 12 digits. */
export function shortRevision(revision: string | null): string {
  if (revision === null) return "-";
  return /^[0-9a-f]{40,64}$/.test(revision) ? revision.slice(0, 12) : revision;
}

const REVISIONS: ReadonlySet<string> = new Set(["revision", "tried", "commit"]);

/** The same facts for a text with little room: commits by their first 12 digits, and without the address of the source. */
export function shortenFacts<T>(facts: T): T {
  const shorten = (key: string, value: unknown): unknown => {
    if (key === "location") return undefined;
    return REVISIONS.has(key) && typeof value === "string" ? shortRevision(value) : value;
  };
  return JSON.parse(JSON.stringify(facts, shorten)) as T;
}
