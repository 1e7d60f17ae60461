// A node's keys as a change of fleet.toml: the text with the two lines in it, comments and order kept, and the change as a patch that
// `git apply` takes. Pure.

import { parseTOML } from "toml-eslint-parser";
import { parse } from "smol-toml";

/** What a node has made. */
export interface NodeKeys {
  public_key: string;
  backup_key: string;
}

type Table = Record<string, unknown>;

/**
 * Puts a node's keys into the text of a fleet.toml.
 * @returns the text, the same where it has them; undefined where the node is written in a form whose lines a person has to change
 */
export function putNodeKeys(text: string, node: string, keys: NodeKeys): string | undefined {
  const wanted = Object.entries(keys);
  const table = parseTOML(text, { tomlVersion: "1.1.0" })
    .body[0].body.filter((entry) => entry.type === "TOMLTable")
    .find(({ resolvedKey }) => resolvedKey.length === 2 && resolvedKey[0] === "nodes" && resolvedKey[1] === node);
  if (table === undefined) return undefined;
  const edits: { from: number; to: number; text: string }[] = [];
  const lines: string[] = [];
  for (const [key, value] of wanted) {
    const entry = table.body.find(({ key: { keys: names } }) => names.length === 1 && nameOf(names[0]) === key);
    if (entry === undefined) lines.push(`${key} = "${value}"`);
    else edits.push({ from: entry.value.range[0], to: entry.value.range[1], text: `"${value}"` });
  }
  if (lines.length > 0) {
    // Below the last key of the table's own, before the tables inside it and the comments of the next one.
    const last = table.body.at(-1) ?? table.key;
    const end = text.indexOf("\n", last.range[1]);
    const at = end === -1 ? text.length : end;
    edits.push({ from: at, to: at, text: `\n${lines.join("\n")}` });
  }
  let made = text;
  for (const edit of edits.toSorted((left, right) => right.from - left.from))
    made = made.slice(0, edit.from) + edit.text + made.slice(edit.to);
  return isOnly(text, made, { node, keys }) ? made : undefined;
}

function nameOf(key: { type: string } | undefined): string | undefined {
  if (key === undefined) return undefined;
  const { name, value } = key as { name?: string; value?: string };
  return name ?? value;
}

/** True where the new text says what the old one says, but for the node's keys. */
function isOnly(before: string, after: string, { node, keys }: { node: string; keys: NodeKeys }): boolean {
  try {
    const wanted = parse(before);
    const nodes = wanted["nodes"] as Record<string, Table>;
    Object.assign(nodes[node] ?? {}, keys);
    return sortedJson(parse(after)) === sortedJson(wanted);
  } catch {
    return false;
  }
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([left], [right]) => (left < right ? -1 : 1)))
      : inner,
  );
}

const CONTEXT = 3;

/** A change of one file as `git apply` takes it: one hunk, with three lines around it. The texts must differ. */
export function buildPatch(path: string, before: string, after: string): string {
  const [old, made] = [splitLines(before), splitLines(after)];
  let head = 0;
  while (head < Math.min(old.length, made.length) && old[head] === made[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(old.length, made.length) - head && old.at(-1 - tail) === made.at(-1 - tail)) tail += 1;
  const [from, rest] = [Math.max(0, head - CONTEXT), Math.min(tail, CONTEXT)];
  const [oldEnd, newEnd] = [old.length - tail + rest, made.length - tail + rest];
  const mark = (sign: string, lines: readonly string[]): string[] => lines.map((line) => withEnd(sign, line));
  return [
    `diff --git a/${path} b/${path}\n--- a/${path}\n+++ b/${path}\n`,
    `@@ -${from + 1},${oldEnd - from} +${from + 1},${newEnd - from} @@\n`,
    ...mark(" ", old.slice(from, head)),
    ...mark("-", old.slice(head, old.length - tail)),
    ...mark("+", made.slice(head, made.length - tail)),
    ...mark(" ", old.slice(old.length - tail, oldEnd)),
  ].join("");
}

/** Lines with their ends; the last one may have none. */
function splitLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function withEnd(sign: string, line: string): string {
  return line.endsWith("\n") ? `${sign}${line}` : `${sign}${line}\n\\ No newline at end of file\n`;
}
