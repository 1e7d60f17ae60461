// From a key path to its line and column in TOML text. Loaded only when a file has something wrong in it.

import { type AST, getStaticTOMLValue, parseTOML } from "toml-eslint-parser";

/** A place in a file; both count from 1. */
export interface Place {
  line: number;
  column: number;
}

/** A look-up from a key path to the place of its key, or of the nearest enclosing key that is written down. */
export type Places = (path: readonly (string | number)[]) => Place;

/**
 * Reads where each key of a TOML text stands.
 * @param text TOML that has parsed before; for any other text every key is at 1:1
 */
export function buildPlaces(text: string): Places {
  const places = new Map<string, Place>([["", { line: 1, column: 1 }]]);
  try {
    for (const node of parseTOML(text, {}).body[0].body) addNode(places, node);
  } catch {
    return () => ({ line: 1, column: 1 });
  }
  return (path) => {
    for (let length = path.length; length > 0; length -= 1) {
      const place = places.get(JSON.stringify(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return { line: 1, column: 1 };
  };
}

type Path = readonly (string | number)[];

function addNode(places: Map<string, Place>, node: AST.TOMLTable | AST.TOMLKeyValue): void {
  if (node.type === "TOMLKeyValue") return addKeyValue(places, [], node);
  add(places, node.resolvedKey, node);
  for (const entry of node.body) addKeyValue(places, node.resolvedKey, entry);
}

function addKeyValue(places: Map<string, Place>, base: Path, node: AST.TOMLKeyValue): void {
  const path = [...base, ...node.key.keys.map((key) => getStaticTOMLValue(key))];
  for (let length = base.length + 1; length <= path.length; length += 1) {
    const key = node.key.keys[length - 1 - base.length];
    add(places, path.slice(0, length), key ?? node);
  }
  addValue(places, path, node.value);
}

function addValue(places: Map<string, Place>, path: Path, node: AST.TOMLContentNode): void {
  if (node.type === "TOMLArray") {
    for (const [index, element] of node.elements.entries()) {
      add(places, [...path, index], element);
      addValue(places, [...path, index], element);
    }
  } else if (node.type === "TOMLInlineTable") {
    for (const entry of node.body) addKeyValue(places, path, entry);
  }
}

function add(places: Map<string, Place>, path: Path, node: { loc: AST.SourceLocation }): void {
  const key = JSON.stringify(path);
  if (!places.has(key)) places.set(key, { line: node.loc.start.line, column: node.loc.start.column + 1 });
}
