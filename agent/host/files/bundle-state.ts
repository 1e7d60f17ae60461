// What is kept of bundles on a node: which were installed, and which image each digest is that came with one. Written by `orca bundle install`
// alone; the agent looks ids up here, since an engine forgets the digests of images that it loads.

import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import * as z from "zod";

import { parseImageReference } from "../../../shared/manifest/image-reference.ts";
import { makeDirectorySync } from "./make-directory.ts";

const installed = z.strictObject({
  bundleId: z.string(),
  createdAt: z.string(),
  /** Of its manifest. */
  sha256: z.string(),
  revision: z.string(),
  /** The fingerprint of the key that signed it. */
  key: z.string(),
  installedAt: z.string(),
});

/** Of the document as this version reads and writes it. */
const BUNDLES_VERSION = 1;
const schema = z.strictObject({
  version: z.literal(BUNDLES_VERSION),
  /** Oldest first. */
  installed: z.array(installed).readonly(),
  /** A registry's digest, or a reference without one → the engine's id. */
  images: z.record(z.string(), z.string()).readonly(),
});

/** What is kept. */
export type BundleState = z.output<typeof schema>;

/** So many installations are remembered. */
const MOST_INSTALLED = 50;

/** Reads it; nothing was installed where there is no file. Throws where it cannot be read: an age that is not known is none. */
export function readBundleState(path: string): BundleState {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      return { version: BUNDLES_VERSION, installed: [], images: {} };
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `${path} is not as this version of Orca writes it: restore it, or move it away and install the newest bundle again`,
      { cause: error },
    );
  }
}

/** Keeps it, whole or not at all. */
export function writeBundleState(path: string, state: BundleState): void {
  makeDirectorySync(dirname(path), 0o700);
  const kept = { ...state, installed: state.installed.slice(-MOST_INSTALLED) };
  writeFileSync(`${path}.new`, `${JSON.stringify(kept)}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

/** Under which name an image's id is kept: its digest where the reference has one. */
export function nameBundledImage(reference: string): string {
  const parsed = parseImageReference(reference);
  return typeof parsed === "string" ? reference : (parsed.digest ?? reference);
}

/**
 * Builds what finds the id of an image that came with a bundle. The file is read again once it has changed; while it cannot be read,
 * what was known stays.
 */
export function createImageIds(path: string): (reference: string) => string | undefined {
  let known: { mark: string; images: Readonly<Record<string, string>> } = { mark: "", images: {} };
  return (reference) => {
    const info = statSync(path, { throwIfNoEntry: false });
    const mark = info === undefined ? "" : `${info.ino} ${info.size} ${info.mtimeMs}`;
    if (mark !== known.mark) {
      try {
        known = { mark, images: readBundleState(path).images };
      } catch {
        known = { ...known, mark };
      }
    }
    const name = nameBundledImage(reference);
    return Object.hasOwn(known.images, name) ? known.images[name] : undefined;
  };
}
