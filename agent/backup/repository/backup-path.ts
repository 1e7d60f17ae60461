// The path of a backup's file in any repository: the folder of its store, and its name. Pure.

import { RepositoryError, type StoreFolder } from "./repository-port.ts";

/** Names come from manifests, which keep to a closed set of characters; here nothing leads elsewhere all the same. */
export function checkName(name: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name))
    throw new RepositoryError(`${JSON.stringify(name)} is no name of a backup`);
  return name;
}

/**
 * `NODE/SERVICE/STORE`; `NODE/SERVICE/STORE.objects/SHARD` for stored objects, and `NODE/SERVICE/STORE.wal/AREA` for bases and the log: no
 * store has a name with a dot.
 */
export function joinFolder({ node, service, store, shard, area }: StoreFolder): string {
  const folder = [node, service, store].map(checkName).join("/");
  if (area !== undefined) return `${folder}.wal/${area.split("/").map(checkName).join("/")}`;
  if (shard === undefined) return folder;
  return shard === "" ? `${folder}.objects` : `${folder}.objects/${checkName(shard)}`;
}
