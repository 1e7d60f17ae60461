// Fields of the node's memory that this version does not know: a later version wrote them, and finds them again after this one
// has run in between. Used by the store alone.

import { NODE_KEYS, SERVICE_KEYS } from "../../../shared/state/kept/memory-schema.ts";
import type { StoredNode } from "../../../shared/state/kept/service-parts.ts";

/** What is kept for a later version. */
export interface Foreign {
  node: Readonly<Record<string, unknown>>;
  services: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

/** Finds what this version does not know; undefined where there is nothing of the kind. */
export function findForeign(memory: Partial<StoredNode>): Foreign | undefined {
  const node = selectUnknown(memory, NODE_KEYS);
  const services = Object.entries(memory.services ?? {})
    .map(([name, service]) => [name, selectUnknown(service, SERVICE_KEYS)] as const)
    .filter(([, fields]) => Object.keys(fields).length > 0);
  return Object.keys(node).length + services.length === 0 ? undefined : { node, services: new Map(services) };
}

/** Puts it back into what is about to be written; a service that is gone takes its own with it. */
export function addForeign(memory: StoredNode, foreign: Foreign | undefined): StoredNode {
  if (foreign === undefined) return memory;
  const services = Object.entries(memory.services).map(
    ([name, service]) => [name, { ...foreign.services.get(name), ...service }] as const,
  );
  return { ...foreign.node, ...memory, services: Object.fromEntries(services) };
}

function selectUnknown(from: object, known: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from).filter(([key]) => !known.has(key)));
}
