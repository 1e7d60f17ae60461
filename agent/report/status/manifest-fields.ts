// What a service's manifest says, field by field, as short texts that can be compared and kept: to name what a commit
// changed. Values stay readable only where everybody may read them; of all others a digest is kept. Pure.

import type { ContainerSpec } from "../../../shared/state/container-spec.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import { canonicalJson, sha256 } from "../../../shared/state/identity.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { nameContent } from "../../../shared/state/file-content.ts";

/** Field as the manifest writes it → what it says, or `#` and a digest. */
export type Fields = Readonly<Record<string, string>>;

/** One field that differs. `from` and `to` are left out where they may not be shown, or where there is none. */
export interface FieldChange {
  field: string;
  from?: string;
  to?: string;
}

/** Fields of a spec that hold maps, whose keys are named one by one. */
const MAPS = { env: "env", secretEnv: "secrets.env", secretFiles: "secrets.files", labels: "labels" } as const;

/** Fields of a spec whose name in a manifest is not the same word in snake case. */
const NAMES: Partial<Record<keyof ContainerSpec, string>> = {
  bootstrapFile: "bootstrap.env_file",
  shmSizeBytes: "shm_size",
  // Mode and owner of delivered files; their content is compared by its own field.
  files: "files",
};

/** Lists the fields of a service. */
export function listFields(desired: DesiredService): Fields {
  const fields: Record<string, string> = { image: desired.spec.image, state: desired.running ? "running" : "stopped" };
  for (const [key, value] of Object.entries(desired.spec)) {
    if (key === "image" || key === "volumes" || key === "fills" || value === undefined) continue;
    const map = MAPS[key as keyof typeof MAPS];
    if (map === undefined) fields[nameField(key)] = digest(value);
    else for (const [name, entry] of Object.entries(value as object)) fields[`${map}.${name}`] = digest(entry);
  }
  for (const file of desired.files) fields[`files.${file.target}`] = digest([nameContent(file.content), file.onChange]);
  return { ...fields, ...listVolumes(desired), ...listCaps(desired), ...listAgentFields(desired) };
}

/** As the manifest has them; which generation of one is in force is no word of a manifest, but a restore's, and what begins empty is told by its new name. */
function listVolumes({ spec: { volumes = [], fills = [] } }: DesiredService): Fields {
  const filled = fills.length === 0 ? {} : { "runs again to fill": fills.join(", ") };
  if (volumes.length === 0) return filled;
  const written = volumes.map(({ of: base, name, ...rest }) => ({ ...rest, ...(name && { name: base ?? name }) }));
  const chosen = volumes.flatMap(({ of: base, name, ephemeral }) => {
    if (base === undefined || name === undefined) return [];
    return [[ephemeral === true ? `data of ${base}, which begins empty` : `restored volume of ${base}`, name] as const];
  });
  return { volumes: digest(written), ...filled, ...Object.fromEntries(chosen) };
}

function listCaps({ caps }: DesiredService): Fields {
  return {
    "resources.memory": describeSize(caps.memoryBytes),
    ...(caps.nanoCpus === 0 ? {} : { "resources.cpus": String(caps.nanoCpus / 1e9) }),
    ...(caps.cpuShares === 0 ? {} : { "resources.cpus_reserved": String(caps.cpuShares / 1024) }),
    "resources.pids": String(caps.pids),
  };
}

/** What only the agent acts on. */
function listAgentFields(desired: DesiredService): Fields {
  const { health, restart, update, requires, wants, wantsTimeoutMs, stopTimeoutMs, owner } = desired;
  return {
    ...(health === undefined ? {} : { health: digest(health) }),
    restart: digest(restart),
    update: digest(update),
    ...(requires.length === 0 ? {} : { requires: digest(requires) }),
    ...(wants.length === 0 ? {} : { wants: digest(wants) }),
    wants_timeout: digest(wantsTimeoutMs),
    stop_timeout: digest(stopTimeoutMs),
    ...(owner === undefined ? {} : { owner }),
  };
}

/** Names what differs, in the order of the names. */
export function compareFields(before: Fields, after: Fields): FieldChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  return names
    .filter((name) => before[name] !== after[name])
    .map((field) => ({ field, ...show("from", before[field]), ...show("to", after[field]) }));
}

function show<K extends "from" | "to">(key: K, value: string | undefined): { [key in K]?: string } {
  return value === undefined || value.startsWith("#") ? {} : ({ [key]: value } as { [key in K]?: string });
}

/** `image: a → b`, `ports`, `env.KC_DB (new)`. */
export function describeFieldChange({
  field,
  from,
  to,
}: {
  field: string;
  from: string | null;
  to: string | null;
}): string {
  if (from === null && to === null) return field;
  return `${field}: ${from ?? "none"} → ${to ?? "none"}`;
}

function nameField(key: string): string {
  return NAMES[key as keyof ContainerSpec] ?? key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function digest(value: unknown): string {
  return `#${sha256(canonicalJson(value)).slice(0, 16)}`;
}
