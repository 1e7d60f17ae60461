// From a key path to its line and column in TOML text. Loaded only when a file has something wrong in it.
// The places are a tree, like the document: a list of many entries deep down must not cost its depth for each entry.

import { type AST, getStaticTOMLValue, parseTOML } from "toml-eslint-parser";

/** A place in a file; both count from 1. */
export interface Place {
  line: number;
  column: number;
}

/** A look-up from a key path to the place of its key, or of the nearest enclosing key that is written down. */
export type Places = (path: readonly (string | number)[]) => Place;

interface Spot {
  place: Place;
  inner: Map<string | number, Spot> | undefined;
}

const START: Place = { line: 1, column: 1 };

/**
 * Reads where each key of a TOML text stands.
 * @param text TOML that has parsed before; for any other text every key is at 1:1
 */
export function buildPlaces(text: string): Places {
  const root: Spot = { place: START, inner: undefined };
  try {
    for (const node of parseTOML(text, { tomlVersion: "1.1.0" }).body[0].body) addTopLevel(root, node);
  } catch {
    return () => START;
  }
  return (path) => {
    let spot = root;
    let place = START;
    for (const part of path) {
      const next = spot.inner?.get(part);
      if (next === undefined) break;
      spot = next;
      place = spot.place;
    }
    return place;
  };
}

function addTopLevel(root: Spot, node: AST.TOMLTable | AST.TOMLKeyValue): void {
  if (node.type === "TOMLKeyValue") return addKeyValue(root, node);
  const table = addTable(root, node);
  for (const entry of node.body) addKeyValue(table, entry);
}

/** The header `[a.b]` is the place of `a` too where nothing has named `a` before; a list's entry has a number in its path. */
function addTable(root: Spot, node: AST.TOMLTable): Spot {
  const names = node.key.keys;
  let spot = root;
  let named = 0;
  for (const part of node.resolvedKey) {
    const key = names[typeof part === "number" ? Math.max(0, named - 1) : named];
    if (typeof part !== "number") named += 1;
    spot = enter(spot, part, key ?? node);
  }
  // A header of its own is a better place than the header of a table inside, which may stand before it.
  if (spot.inner !== undefined) spot.place = placeOf(names.at(-1) ?? node);
  return spot;
}

function addKeyValue(base: Spot, node: AST.TOMLKeyValue): void {
  let spot = base;
  for (const key of node.key.keys) spot = enter(spot, getStaticTOMLValue(key), key);
  addValue(spot, node.value);
}

function addValue(spot: Spot, node: AST.TOMLContentNode): void {
  if (node.type === "TOMLArray") {
    for (const [index, element] of node.elements.entries()) addValue(enter(spot, index, element), element);
  } else if (node.type === "TOMLInlineTable") {
    for (const entry of node.body) addKeyValue(spot, entry);
  }
}

/** Goes one step down; what is met first is the place. */
function enter(spot: Spot, part: string | number, node: { loc: AST.SourceLocation }): Spot {
  const inner = (spot.inner ??= new Map());
  const known = inner.get(part);
  if (known !== undefined) return known;
  const made: Spot = { place: placeOf(node), inner: undefined };
  inner.set(part, made);
  return made;
}

function placeOf(node: { loc: AST.SourceLocation }): Place {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}
