// Goes through what lies below a node's directory, on disk or in a commit, those at the top first, so that a deep or endless
// tree keeps no file at the top from being read. Bounded in depth and number. Used by every reader of a repository.

/** Deeper directories hold no config file of anybody's. */
const DEEPEST = 32;
/** So many entries are looked at. */
const MOST_ENTRIES = 20_000;
/** Of another node's manifests so many are read: they are read for their names, routes and waits alone. */
export const MOST_MANIFESTS = 5_000;

/** What any reader knows of an entry. */
export interface WalkedEntry {
  kind: string;
  name: string;
}

/**
 * Every entry below a directory that is no directory, with its path.
 * @param list the entries of a directory, in order; none where it cannot be read
 */
export async function* walkEntries<E extends WalkedEntry>(
  root: E,
  list: (directory: E) => Promise<readonly E[]>,
): AsyncIterable<{ path: string; entry: E }> {
  let left = MOST_ENTRIES;
  let level: [path: string, directory: E][] = [["", root]];
  for (let depth = 0; depth < DEEPEST && level.length > 0; depth += 1) {
    const next: [string, E][] = [];
    for (const [prefix, directory] of level) {
      for (const entry of await list(directory)) {
        if (left === 0) return;
        left -= 1;
        const path = `${prefix}${entry.name}`;
        if (entry.kind === "directory") next.push([`${path}/`, entry]);
        else yield { path, entry };
      }
    }
    level = next;
  }
}
