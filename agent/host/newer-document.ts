// A document of the state directory that a later version of the agent wrote, as after a downgrade: it is set aside whole, never read as empty and
// written over. Each reader of such a document asks here first.

import { existsSync, readFileSync, renameSync } from "node:fs";
import { basename } from "node:path";

/**
 * Sets a document aside whose `version` is above the one that is known. What cannot be read is left to its reader.
 * @returns what is to be said of it; undefined where there is nothing to say
 */
export function setNewerAside(path: string, known: number): string | undefined {
  const version = readVersion(path);
  if (version === undefined || version <= known) return undefined;
  const beside = findFree(`${path}.version-${version}`);
  renameSync(path, beside);
  const [name, kept] = [basename(path), basename(beside)];
  return `${name} was written by a later version of Orca (version ${version}, and this one knows ${known}): it is kept as ${kept}, and this agent begins without it; with the later agent, put it back`;
}

/**
 * Sets a document aside that its reader cannot use, before another is written in its place.
 * @returns what is to be said of it; undefined where there is none
 */
export function setDamagedAside(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const beside = findFree(`${path}.damaged`);
  renameSync(path, beside);
  return `${basename(path)} cannot be read: it is kept as ${basename(beside)}, and this agent begins without it`;
}

function readVersion(path: string): number | undefined {
  try {
    const { version } = JSON.parse(readFileSync(path, "utf8")) as { version?: unknown };
    return typeof version === "number" ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Of two downgrades neither overwrites what the other has kept. */
function findFree(path: string): string {
  for (let count = 1; ; count += 1) {
    const name = count === 1 ? path : `${path}-${count}`;
    if (!existsSync(name)) return name;
  }
}
