// The host's law over what a service is given to read: variables, arguments, secrets, delivered files. A value that comes
// from a secret is tested where it is known, which is on the host alone; nothing here shows one. Pure.

import { nameBootstrap } from "../../../shared/secret/bootstrap.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { describePath } from "../../../shared/text/problem.ts";
import type { SecretFacts } from "../../../shared/secret/secret-facts.ts";
import { listTexts, type ManifestText } from "./policy-texts.ts";

/** A refusal before its key is written as text. */
export interface ValueRefusal {
  rule: string;
  path: readonly (string | number)[];
  message: string;
  /** True where only the host can tell: its value is not known here. */
  deferred?: true;
}

/** How the values of a service's secrets are tested; undefined where they are not known, as in lint. */
export interface SecretTests {
  test(name: { path: string; variable?: string }, pattern: RegExp): boolean | undefined;
  listVariables(path: string): readonly string[];
}

/** Tests the values of the chosen versions. */
export function buildSecretTests(facts: SecretFacts, versions: Readonly<Record<string, string>>): SecretTests {
  const find = (path: string): string => versions[path] ?? "";
  return {
    test: ({ path, ...rest }, pattern) => facts.matches({ path, version: find(path), ...rest }, pattern),
    listVariables: (path) => facts.listVariables(path, find(path)),
  };
}

/** One value that a service is given. `test` answers undefined where the value is not known. */
interface Given {
  /** The variable; of a secret file, the name that its variable has without `_FILE`. */
  name: string;
  path: readonly (string | number)[];
  test(pattern: RegExp): boolean | undefined;
}

/** Judges variables and secrets by the rules under `[[env]]` and `[text]`. */
export function checkValues(manifest: Manifest, policy: Policy, secrets: SecretTests | undefined): ValueRefusal[] {
  const given = listGiven(manifest, secrets);
  const fromSecrets = given.filter(({ path }) => path[0] !== "env");
  const texts = policy.text.forbidden.length === 0 ? [] : listTexts(manifest).map(giveText);
  return [
    ...policy.env.flatMap((rule) => checkEnvRule(rule, given, secrets === undefined)),
    ...policy.text.forbidden.flatMap((text) => checkForbidden(text, [...texts, ...fromSecrets])),
  ];
}

/** The patterns that no file may match on this host. */
export function listForbidden({ text }: Policy): RegExp[] {
  return text.forbidden.map((pattern) => new RegExp(pattern, "u"));
}

/** The refusal of a file that matches one. */
export function refuseContent(path: readonly (string | number)[], { source }: RegExp): ValueRefusal {
  return { rule: "text.forbidden", path, message: `the file holds what is forbidden on this host: ${source}` };
}

/** Judges the files of a service as they are delivered; of those with secrets in them only what they are made from. */
export function checkContents(
  files: readonly { path: readonly (string | number)[]; content: Uint8Array }[],
  policy: Policy,
): ValueRefusal[] {
  const forbidden = listForbidden(policy);
  if (forbidden.length === 0) return [];
  return files.flatMap(({ path, content }) => {
    const text = new TextDecoder().decode(content);
    const found = forbidden.find((pattern) => pattern.test(text));
    return found === undefined ? [] : [refuseContent(path, found)];
  });
}

function checkEnvRule(rule: Policy["env"][number], given: readonly Given[], isFar: boolean): ValueRefusal[] {
  const name = `env ${rule.name}`;
  const pattern = new RegExp(`^${rule.name.split("*").map(escapePattern).join(".*")}$`, "u");
  const found = given.filter((entry) => pattern.test(entry.name));
  if (rule.forbidden === true)
    return found.map((entry) => ({ rule: name, path: entry.path, message: `${entry.name} is forbidden on this host` }));
  if (rule.required === true && found.length === 0)
    return [{ rule: name, path: ["env"], message: `${rule.name} is required on this host` }];
  if (rule.must_match === undefined) return [];
  const wanted = new RegExp(rule.must_match, "u");
  return found.flatMap((entry): ValueRefusal[] => {
    const matches = entry.test(wanted);
    if (matches === true || (matches === undefined && !isFar)) return [];
    const message = `the value of ${entry.name} does not match ${rule.must_match}`;
    const far = `the value of ${entry.name} comes from a secret: the host judges it by ${rule.must_match}`;
    const path = entry.path;
    return [matches === undefined ? { rule: name, path, message: far, deferred: true } : { rule: name, path, message }];
  });
}

function checkForbidden(text: string, given: readonly Given[]): ValueRefusal[] {
  const pattern = new RegExp(text, "u");
  // What is not known here is judged where it is.
  const found = given.filter((entry) => entry.test(pattern) === true);
  const message = `holds what is forbidden on this host: ${text}`;
  return found.map(({ name, path }) => ({ rule: "text.forbidden", path, message: `${name} ${message}` }));
}

function escapePattern(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

function listGiven({ env, secrets, bootstrap }: Manifest, tests: SecretTests | undefined): Given[] {
  const given: Given[] = Object.entries(env).map(([name, value]) => ({
    name,
    path: ["env", name],
    test: (pattern) => pattern.test(value),
  }));
  for (const kind of ["env", "files"] as const) {
    for (const [name, path] of Object.entries(secrets?.[kind] ?? {})) {
      const variable = kind === "env" ? name : name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
      given.push({ name: variable, path: ["secrets", kind, name], test: (pattern) => tests?.test({ path }, pattern) });
    }
  }
  if (bootstrap === undefined) return given;
  const path = nameBootstrap(bootstrap.env_file);
  for (const variable of tests?.listVariables(path) ?? []) {
    const test = (pattern: RegExp): boolean | undefined => tests?.test({ path, variable }, pattern);
    given.push({ name: variable, path: ["bootstrap", "env_file"], test });
  }
  return given;
}

function giveText({ path, value }: ManifestText): Given {
  const last = path.at(-1);
  const name = path[0] === "env" && typeof last === "string" ? last : describePath(path);
  return { name, path, test: (pattern) => pattern.test(value) };
}
