// A manifest's text to its value or to what is wrong with it: one door for agent, lint and plan, so that all of them take
// and refuse the same texts. Never throws.

import { type Manifest, manifestSchema } from "./manifest.ts";
import { type Parsed, parseToml, readValid } from "../text/parse-toml.ts";

/** A manifest is a page or two; other nodes' agents read it too, and must not pay for more. */
const MANIFEST_BOUNDS = { depth: 32, values: 5_000 };

/** Parses a manifest; `file` is its name, for the problems. */
export function parseManifest(text: string, file: string): Promise<Parsed<Manifest>> {
  return parseToml(manifestSchema, text, file, MANIFEST_BOUNDS);
}

/** The value of a valid manifest; undefined where it is not one, without looking for what is wrong. */
export function readManifest(text: string): Manifest | undefined {
  return readValid(manifestSchema, text, MANIFEST_BOUNDS);
}
