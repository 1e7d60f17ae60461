// The TOML inside a file of secrets: a table for each folder, a key for each secret. Errors name a line and never show it.

import { parse, stringify, TomlError } from "smol-toml";

import { compareText } from "../../../shared/text/problem.ts";
import { secretPath } from "../../../shared/text/schema-leaf.ts";

/** Path → value. */
export type SecretTable = ReadonlyMap<string, string>;

/** Parses the text. Throws an error that shows nothing of it. */
export function parseSecrets(text: string): SecretTable {
  const secrets = new Map<string, string>();
  for (const [folder, table] of Object.entries(parseToml(text))) {
    if (typeof table !== "object" || table === null || Array.isArray(table) || table instanceof Date)
      throw new Error(
        `read secrets: ${describeKey(folder)} is no folder: write ["/prod/app"], and NAME = "value" below it`,
      );
    for (const [name, value] of Object.entries(table)) {
      const path = `${folder === "/" ? "" : folder}/${name}`;
      if (!secretPath.safeParse(path).success)
        throw new Error(
          `read secrets: ${describeKey(path)} is no secret's path: write ["/prod/app"] and NAME = "value"`,
        );
      if (typeof value !== "string") throw new Error(`read secrets: ${path} is no text: write it in quotes`);
      if (value === "") throw new Error(`read secrets: ${path} is empty`);
      secrets.set(path, value);
    }
  }
  return secrets;
}

function parseToml(text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    // The parser's own message quotes the line.
    const place = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : "";
    // oxlint-disable-next-line preserve-caught-error
    throw new Error(`read secrets: this is no TOML${place}`);
  }
}

/** What looks like a path is shown; anything else may be a value in the wrong place. */
function describeKey(key: string): string {
  return /^\/[\w./-]{0,200}$/.test(key) ? key : "a key";
}

/** Writes the text, folders and names in order. */
export function describeSecrets(secrets: SecretTable): string {
  const folders = new Map<string, Record<string, string>>();
  for (const path of [...secrets.keys()].toSorted(compareText)) {
    const at = path.lastIndexOf("/");
    const folder = path.slice(0, at) === "" ? "/" : path.slice(0, at);
    folders.set(folder, { ...folders.get(folder), [path.slice(at + 1)]: secrets.get(path) ?? "" });
  }
  return `${stringify(Object.fromEntries(folders))}\n`;
}
