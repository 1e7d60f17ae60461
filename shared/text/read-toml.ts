// The one door to the TOML parser: from any text to plain data, or to what is wrong with it and where. Everything that
// comes out of a repository is read through here. Never throws, whatever the text is; bounded in depth, stack and time.

import { parse, TomlError } from "smol-toml";

import { isLfsPointer, LFS_POINTER } from "../manifest/lfs-pointer.ts";
import { type BoundsFault, findBoundsFault, placeOf, type TomlBounds } from "./toml-bounds.ts";
import { readMessage } from "./read-message.ts";

/** What is wrong with a text as TOML. Line and column count from 1; the source line is never quoted. */
export interface TomlFault {
  code: "syntax" | "depth" | "length";
  line: number;
  column: number;
  message: string;
  hint: string;
}

/** Plain data, or why there is none. */
export type ReadToml = { ok: true; raw: Record<string, unknown> } | { ok: false; fault: TomlFault };

/** No file of Orca's needs a tenth of this depth; a fleet of a thousand nodes has about half of these values. */
export const BOUNDS: TomlBounds = { depth: 32, values: 30_000 };

/**
 * Reads one TOML text.
 * @param text a byte order mark at its start is passed over, as TOML 1.1 says
 */
export function readToml(text: string, bounds: TomlBounds = BOUNDS): ReadToml {
  const plain = stripMark(text);
  // No decoder of UTF-8 lets one through; whoever hashes what was read cannot write it down.
  if (!plain.isWellFormed()) return { ok: false, fault: { ...HALF, ...placeOf(plain, plain.search(LONE)) } };
  const beyond = findBoundsFault(plain, bounds);
  if (beyond !== undefined) return { ok: false, fault: describeBounds(beyond, bounds) };
  try {
    return { ok: true, raw: parse(plain, { maxDepth: bounds.depth }) };
  } catch (error) {
    const fault = isLfsPointer(plain) ? POINTER : (describeForeign(plain) ?? describeSyntax(error));
    return { ok: false, fault };
  }
}

/** The text without the byte order mark that some editors put at its start. */
export function stripMark(text: string): string {
  return text.startsWith("\uFEFF") ? text.slice(1) : text;
}

/** Half of a surrogate pair without its other half. */
const LONE = /\p{Surrogate}/u;

const HALF: TomlFault = {
  code: "syntax",
  line: 1,
  column: 1,
  message: "this is no UTF-8: half of a character stands here",
  hint: "save the file as UTF-8",
};

const POINTER: TomlFault = {
  code: "syntax",
  line: 1,
  column: 1,
  message: `this file ${LFS_POINTER.message}`,
  hint: LFS_POINTER.hint,
};

function describeBounds({ bound, line, column }: BoundsFault, bounds: TomlBounds): TomlFault {
  if (bound === "depth") {
    const message = `tables and lists are inside one another more than ${bounds.depth} deep`;
    return { code: "depth", line, column, message, hint: "no key of Orca's is deeper than five: write it flat" };
  }
  const message = `it holds more than ${bounds.values} names and values`;
  return { code: "length", line, column, message, hint: "a file of this kind is a page or two" };
}

/** The first line that says something tells YAML and JSON from TOML. */
function describeForeign(text: string): TomlFault | undefined {
  const lines = text.slice(0, LONGEST_HEAD).split("\n");
  const at = lines.findIndex((line) => !/^\s*(#.*)?$/.test(line));
  const first = lines[at] ?? "";
  const fault = { code: "syntax", line: at + 1, column: 1 } as const;
  if (/^\s*\{/.test(first))
    return { ...fault, message: "this is JSON, not TOML", hint: 'write lines such as image = "registry/name:tag"' };
  if (!/^(---(\s|$)|\s*(- )?[\w.-]+:(\s|$))/.test(first)) return undefined;
  return {
    ...fault,
    message: "this is YAML, not TOML",
    hint: 'write key = "value" and [table]; a Compose service is a file of its own here',
  };
}

const LONGEST_HEAD = 4_096;

function describeSyntax(error: unknown): TomlFault {
  // smol-toml quotes the source line after the first line of its message: a line may hold a secret, so it is cut off.
  const first = readMessage(error).split("\n", 1)[0] ?? "";
  const [line, column] = error instanceof TomlError ? [error.line, error.column] : [1, 1];
  const message = first.replace(/^Invalid TOML document:\s*/i, "this is not TOML: ");
  return { code: "syntax", line, column, message, hint: "see https://toml.io for the syntax" };
}
