// What of a node's inputs a commit may change by whose key: the node's directory, the guarded part of fleet.toml, and each
// node's own entry in it. Pure; used by the child that judges signatures. Values are compared, never shown.

import { canonicalJson, sha256 } from "../../../../shared/state/identity.ts";
import { readToml } from "../../../../shared/text/read-toml.ts";
import { mayChangeNode, type TrustedKey } from "../../../../shared/config/trusted-key.ts";

/** One part: a node's directory, what is guarded of fleet.toml, or the rest of a node's entry in it. */
export type Scope = `directory ${string}` | "fleet" | `entry ${string}`;

/** What each part holds, as a digest. A part that is not there has no entry. */
export type ScopeValues = ReadonlyMap<Scope, string>;

/**
 * The keys of a node's entry that a key of that node may change: its machine. All else of fleet.toml is guarded, membership,
 * realms, gates, keys, repositories and alerts above all; a key that a later version adds is guarded until it is named here.
 */
const OWN_KEYS: ReadonlySet<string> = new Set(["address", "memory", "reserve", "cpus", "data"]);

/** A text that is longer is not parsed: no agent takes it. */
const LONGEST_FLEET = 1024 ** 2;

/** Reads what fleet.toml holds. One that is no TOML is guarded as a whole. */
export function readFleetValues(text: string | undefined): ScopeValues {
  if (text === undefined) return new Map();
  const read = text.length > LONGEST_FLEET ? undefined : readToml(text);
  if (read?.ok !== true) return new Map([["fleet", `unreadable ${sha256(text)}`]]);
  const values = new Map<Scope, string>();
  const { nodes, ...others } = read.raw;
  const guarded: [string, unknown][] = [];
  for (const [node, entry] of Object.entries(isTable(nodes) ? nodes : {})) {
    const fields = isTable(entry) ? Object.entries(entry) : [["", entry] as const];
    guarded.push([node, Object.fromEntries(fields.filter(([key]) => !OWN_KEYS.has(key)))]);
    values.set(`entry ${node}`, digest(Object.fromEntries(fields.filter(([key]) => OWN_KEYS.has(key)))));
  }
  values.set(
    "fleet",
    digest([isTable(nodes) || nodes, guarded.toSorted(([left], [right]) => (left < right ? -1 : 1)), others]),
  );
  return values;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** TOML has values that JSON has not; each becomes a text that no other value becomes. */
function digest(value: unknown): string {
  return sha256(canonicalJson(JSON.parse(JSON.stringify(value, describeValue) ?? "null")));
}

function describeValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) return `number ${value}`;
  return value;
}

/** The parts in which two values differ; what is guarded comes first, since a node that comes or goes is more than its entry. */
export function listChanged(before: ScopeValues, after: ScopeValues): Scope[] {
  const scopes = new Set<Scope>(["fleet", ...before.keys(), ...after.keys()]);
  return [...scopes].filter((scope) => before.get(scope) !== after.get(scope));
}

/** True where a key may change a part. */
export function mayChange(key: TrustedKey, scope: Scope): boolean {
  if (scope === "fleet") return key.fleet;
  return mayChangeNode(key, nodeOf(scope)) || (scope.startsWith("entry ") && key.fleet);
}

/** What a key must be allowed for. */
export function describeScope(scope: Scope): { what: string; needs: string } {
  if (scope === "fleet") return { what: "what is guarded of fleet.toml", needs: "fleet = true" };
  const node = nodeOf(scope);
  const what = scope.startsWith("entry ") ? `[nodes.${node}] of fleet.toml` : `manifests/${node}`;
  return { what, needs: `nodes = ["${node}"]` };
}

function nodeOf(scope: Scope): string {
  return scope.slice(scope.indexOf(" ") + 1);
}
