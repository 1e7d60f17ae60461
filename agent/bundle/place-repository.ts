// Puts a bundle's manifests where the agent reads them: written beside, and then there by name. What was there before lies beside it.

import { existsSync } from "node:fs";
import { readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { makeDirectory } from "../host/files/make-directory.ts";
import { openPlain, writeStream } from "./copy-stream.ts";
import type { BundleFile } from "./core/bundle-manifest.ts";
import type { UndoList } from "./undo-list.ts";

/** The manifests in a bundle. */
export const REPOSITORY = "repository/";
const ORCA = "orca/";

/** What is put where. */
export interface RepositoryMove {
  /** The bundle's. */
  directory: string;
  /** Those of the bundle that are the repository. */
  files: readonly BundleFile[];
  /** `source.dir` of agent.toml. */
  target: string;
  undo: UndoList;
}

/** Where what was there before lies afterwards. */
export function nameBefore(target: string): string {
  return join(dirname(target), `.${basename(target)}.before-bundle`);
}

/** Puts it there; throws where that is not possible. */
export async function placeRepository({ directory, files, target, undo }: RepositoryMove): Promise<void> {
  if (existsSync(join(target, ".git")))
    throw new Error(
      `${target} is a Git work tree, which an installation does not replace: name another directory as source.dir`,
    );
  const [beside, before] = [join(dirname(target), `.${basename(target)}.new-bundle`), nameBefore(target)];
  const isInner = (await list(target)).includes("manifests");
  await rm(beside, { recursive: true, force: true });
  await makeDirectory(beside, 0o755);
  undo.add(beside, () => rm(beside, { recursive: true, force: true }));
  for (const { path, sha256 } of files) {
    const below = path.slice(REPOSITORY.length);
    const place = join(beside, isInner && below.startsWith(ORCA) ? below.slice(ORCA.length) : below);
    await makeDirectory(dirname(place), 0o755);
    const sum = await writeStream(place, await openPlain(join(directory, path)));
    if (sum.sha256 !== sha256) throw new Error(`${path} has changed since it was checked`);
  }
  if (existsSync(target)) {
    await rm(before, { recursive: true, force: true });
    await rename(target, before);
    undo.add(target, () => rename(before, target));
  }
  await rename(beside, target);
  undo.add(target, () => rename(target, beside));
}

async function list(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
