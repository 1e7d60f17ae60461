// No object is made for nothing but to be spread into the next one: that only packs fields into fewer lines, and hides which there are.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
/** A constant that is an object literal, as the formatter leaves it. */
const DECLARED = /^( +)const (\w+)(?:: [^=\n]+)? = \{(?:[^{}]|\{[^{}]*\})*\}(?: as const)?;$/gm;

/** The names of objects whose only use in their block is to be spread once. */
function listPacked(text: string): string[] {
  return [...text.matchAll(DECLARED)].flatMap(({ 0: whole, 1: indent = "", 2: name = "", index }) => {
    const rest = text.slice(index + whole.length);
    const end = new RegExp(String.raw`^${indent.slice(2)}\}`, "m").exec(rest)?.index;
    const uses = rest.slice(0, end).matchAll(new RegExp(String.raw`(?<![\w.#"'])(\.\.\.)?${name}\b(?!:)`, "g"));
    const spread = [...uses].map((use) => use[1] === "...");
    return spread.length === 1 && spread[0] === true ? [name] : [];
  });
}

test("no object of the program is only spread, and once", () => {
  const files = ["agent", "shared"].flatMap((room) =>
    readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => join(room, path)),
  );
  const found = files.flatMap((path) =>
    listPacked(readFileSync(join(ROOT, path), "utf8")).map((name) => `${path}: ${name}`),
  );
  expect(files.length).toBeGreaterThan(350);
  expect(found).toEqual([]);
});

test.each([
  ["  const rest = { a, b: 1 };\n  return { c, ...rest };\n}\n", ["rest"]],
  ["  const rest = {\n    a: { b },\n  } as const;\n  const c = 1;\n  return [{ ...rest, c }];\n}\n", ["rest"]],
  ["  const rest = { a };\n  return d ? { ...rest, d } : rest;\n}\n", []],
  ["  const rest = { a };\n  return make(rest);\n}\n", []],
])("a planted one is found, and what is used otherwise is not: %j", (text, names) => {
  expect(listPacked(`function f() {\n${text}`)).toEqual(names);
});
