// Which services have moved: what is said with `moved_from`, and what can be seen, since a service with data that was on
// another node is gone there and is new here. Pure.

import type { InForce } from "../../../shared/state/in-force.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";
import type { RemoteService } from "../build/constraints.ts";

/** A service of this node, parsed or not. */
interface OwnService {
  service: string;
  manifest: Pick<Manifest, "moved_from"> | undefined;
}

/**
 * The services of this node that have another name or another node now: they are no removals.
 * @param own this node's newest manifests
 */
export function listMoved(
  node: string,
  own: readonly OwnService[],
  others: readonly RemoteService[],
): ReadonlySet<string> {
  const here = own.map(({ manifest }) => manifest?.moved_from).map((from) => parseOrigin(from, node));
  const there = others.map((entry) => parseOrigin(entry.manifest.moved_from, entry.node));
  return new Set([...here, ...there].flatMap((from) => (from?.node === node ? [from.service] : [])));
}

/** `old-node/old-name`, or an old name on the same node. */
export function parseOrigin(text: string | undefined, node: string): { node: string; service: string } | undefined {
  if (text === undefined) return undefined;
  const [first = "", second] = text.split("/");
  return second === undefined ? { node, service: first } : { node: first, service: second };
}

/** What is gone from another node counts as moved when it turns up here within this time. */
const REMEMBERED_MS = 30 * 24 * 3_600_000;

/**
 * The services with volumes of other nodes: what is compared with when one of them turns up here.
 * @param before what was known of them; a commit may take one away there, and a later one add it here
 */
export function listStateful(
  others: readonly RemoteService[],
  before: InForce["stateful"],
  nowMs: number,
): NonNullable<InForce["stateful"]> {
  const there = others.filter(({ manifest }) => manifest.volumes.length > 0);
  const stateful = Object.fromEntries(there.map(({ node, service }) => [`${node}/${service}`, 0]));
  for (const [name, goneMs] of Object.entries(before ?? {})) {
    if (stateful[name] !== undefined || (goneMs > 0 && nowMs - goneMs > REMEMBERED_MS)) continue;
    stateful[name] = goneMs === 0 ? nowMs : goneMs;
  }
  return stateful;
}

/**
 * Where a service that is new here was until now, as `node/service`; undefined where it is not new, or was nowhere.
 * What was found once stays with the service.
 */
export function findOrigin(
  service: string,
  inForce: InForce | undefined,
  others: readonly RemoteService[],
): string | undefined {
  const known = inForce?.services[service];
  if (known !== undefined) return known.movedFrom;
  return Object.keys(inForce?.stateful ?? {}).find((name) => {
    const [node = "", was] = name.split("/");
    return was === service && !others.some((entry) => entry.node === node && entry.service === service);
  });
}
