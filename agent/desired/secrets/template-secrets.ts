// The secrets that a template names, and where its manifest says that they are: a name that is not there is refused with its
// place and what to write. For the agent and for lint. Pure; knows no value.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { cutText, quoteText } from "../../../shared/text/problem.ts";
import type { SecretUse } from "../../../shared/text/template.ts";

/** A name in a template that cannot be used. */
interface SecretUseFault {
  line: number;
  column: number;
  message: string;
  hint: string;
}

/** The secrets of one template: name → path, or what is wrong with the names. */
export interface TemplateSecrets {
  paths: Readonly<Record<string, string>>;
  faults: readonly SecretUseFault[];
}

/** Looks up every name that a template uses. */
export function findTemplateSecrets(uses: readonly SecretUse[], { secrets }: Manifest): TemplateSecrets {
  const paths: Record<string, string> = {};
  const faults: SecretUseFault[] = [];
  for (const { name, line, column } of uses) {
    const found = name === undefined ? DYNAMIC : lookUp(name, secrets);
    if (typeof found === "string") paths[name ?? ""] = found;
    else faults.push({ line, column, ...found });
  }
  return { paths, faults };
}

type Names = Manifest["secrets"];

const DYNAMIC = {
  message: "a template names each secret by itself",
  hint: 'write {{ secrets.NAME }} or {{ secrets["name"] }}',
};

function lookUp(name: string, secrets: Names): string | Pick<SecretUseFault, "message" | "hint"> {
  const own = find(secrets?.templates, name);
  if (own !== undefined) return own;
  const [fromFile, fromEnv] = [find(secrets?.files, name), find(secrets?.env, name)];
  if (fromFile !== undefined && fromEnv !== undefined && fromFile !== fromEnv) {
    const message = `${describeName(name)} is one secret in [secrets.files] and another in [secrets.env]`;
    return { message, hint: `say which is meant under [secrets.templates]: ${describeKey(name)} = "${fromFile}"` };
  }
  const path = fromFile ?? fromEnv;
  if (path !== undefined) return path;
  const message = `the manifest names no secret ${quoteText(name)}`;
  return { message, hint: `add it under [secrets.templates]: ${describeKey(name)} = "/path/of/the/secret"` };
}

function find(table: Readonly<Record<string, string>> | undefined, name: string): string | undefined {
  return table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
}

function describeName(name: string): string {
  return cutText(/^[A-Za-z_]\w*$/.test(name) ? `secrets.${name}` : `secrets["${name}"]`);
}

function describeKey(name: string): string {
  return cutText(/^[\w-]+$/.test(name) ? name : JSON.stringify(name));
}

/** The names under `[secrets.templates]` that no template of the service uses. */
export function listUnusedTemplateSecrets({ secrets }: Manifest, used: ReadonlySet<string>): string[] {
  return Object.keys(secrets?.templates ?? {}).filter((name) => !used.has(name));
}
