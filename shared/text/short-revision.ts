// A revision for people. Pure.

/** A revision as short as people write it: a commit by its first 12 digits. */
export function shortRevision(revision: string | null): string {
  if (revision === null) return "-";
  return /^[0-9a-f]{40,64}$/.test(revision) ? revision.slice(0, 12) : revision;
}
