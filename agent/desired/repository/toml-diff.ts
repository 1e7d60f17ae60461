// What differs between two TOML files, key by key, as their authors wrote it. Of secrets only the names are ever told. Pure;
// used to show what a commit changes.

import { compareText } from "../../../shared/text/problem.ts";
import { readToml } from "../../../shared/text/read-toml.ts";
import { findShape, hasUrlPassword, isSecretName, isSecretValue } from "../checks/secrets/secret-shapes.ts";

/** One key that differs. `from` and `to` are left out where they may not be shown, or where there is none. */
export interface TomlChange {
  key: string;
  kind: "added" | "removed" | "changed";
  from?: string;
  to?: string;
}

/** Longer values say no more. */
const LONGEST = 120;
/** Tables whose values are not shown, whatever is in them. */
const HIDDEN = /^(?:secrets|bootstrap)(?:\.|$)/;
/** What names an entry of a list of tables. */
const NAMING = ["name", "target", "host", "on"] as const;

/**
 * Compares two texts; one that is missing or is no TOML is empty.
 * @param table shows the keys of one table alone, such as `nodes.vm-edge`
 */
export function compareToml(before: string | undefined, after: string | undefined, table: string[] = []): TomlChange[] {
  const [old, now] = [flatten(pick(read(before), table)), flatten(pick(read(after), table))];
  const keys = [...new Set([...old.keys(), ...now.keys()])].toSorted(compareText);
  return keys.flatMap((key): TomlChange[] => {
    const [from, to] = [old.get(key), now.get(key)];
    if (from === to) return [];
    const kind = from === undefined ? "added" : to === undefined ? "removed" : "changed";
    if (isHidden(key, from) || isHidden(key, to)) return [{ key, kind }];
    return [
      { key, kind, ...(from === undefined ? {} : { from: cut(from) }), ...(to === undefined ? {} : { to: cut(to) }) },
    ];
  });
}

function read(text: string | undefined): unknown {
  const found = readToml(text ?? "");
  return found.ok ? found.raw : {};
}

function pick(value: unknown, table: readonly string[]): unknown {
  return table.reduce<unknown>((at, name) => (isTable(at) && Object.hasOwn(at, name) ? at[name] : {}), value);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** Key → value as JSON. Lists of tables are told apart by what names their entries. */
function flatten(value: unknown): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (at: unknown, path: string): void => {
    if (isTable(at) && (path === "" || Object.keys(at).length > 0)) {
      for (const [name, inner] of Object.entries(at)) walk(inner, path === "" ? name : `${path}.${name}`);
    } else if (Array.isArray(at) && at.length > 0 && at.every(isTable)) {
      for (const [index, entry] of at.entries()) walk(entry, `${path}[${nameEntry(entry, index)}]`);
    } else found.set(path, JSON.stringify(at) ?? "");
  };
  walk(value, "");
  return found;
}

function nameEntry(entry: Record<string, unknown>, index: number): string {
  const key = NAMING.find((name) => typeof entry[name] === "string");
  return key === undefined ? String(index) : String(entry[key]);
}

/** A value that is a secret, or is called one, although none should stand in a manifest. */
function isHidden(key: string, value: string | undefined): boolean {
  if (HIDDEN.test(key)) return true;
  if (value === undefined) return false;
  const name = key.slice(key.lastIndexOf(".") + 1);
  const text = value.replaceAll(/^"|"$/g, "");
  if (findShape(value) !== undefined || hasUrlPassword(value)) return true;
  return isSecretName(name) && isSecretValue(name, text);
}

function cut(text: string): string {
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`;
}
