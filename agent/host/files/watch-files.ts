// Watches single files of the host. A watcher on a file loses it at the first atomic save, so the directory is watched.

import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";

/** Several changes within this time are one. */
const QUIET_MS = 200;

/**
 * Calls back when one of the files has changed, appeared or gone.
 * @returns a function that ends watching
 */
export function watchFiles(files: readonly string[], onChange: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const watchers: FSWatcher[] = [];
  for (const directory of new Set(files.map((file) => dirname(file)))) {
    const names = new Set(files.filter((file) => dirname(file) === directory).map((file) => basename(file)));
    try {
      watchers.push(
        watch(directory, (_event, name) => {
          if (name !== null && !names.has(name)) return;
          clearTimeout(timer);
          timer = setTimeout(onChange, QUIET_MS);
        }),
      );
    } catch {
      // A directory that is not there has no file to change; SIGHUP reads it when it has come.
    }
  }
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
