// The path of a backup's file in any repository: the folder of its store, and its name. Pure.

import { type PlaceTerm, RepositoryError, type StoreFolder } from "./repository-port.ts";

/** Names come from manifests, which keep to a closed set of characters; here nothing leads elsewhere all the same. */
export function checkName(name: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name))
    throw new RepositoryError(`${JSON.stringify(name)} is no name of a backup`);
  return name;
}

/** What the folder of a term is called after the store's name: the term, and when it began, in UTC. */
const TERM = /^t([1-9]\d{0,6})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** A spare's time in a node's place, as its folders are called: `t2-20261201T073112Z`. */
export function nameTerm({ number, beganMs }: PlaceTerm): string {
  return `t${number}-${new Date(beganMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

/** Reads such a name; undefined for any other. */
export function parseTerm(text: string): PlaceTerm | undefined {
  const [, number, year, month, day, hour, minute, second] = TERM.exec(text) ?? [];
  const beganMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(beganMs) ? undefined : { number: Number(number), beganMs };
}

/** The terms among the names of folders of a store: `db.t2-20261201T073112Z`, also with `.wal` or `.objects`. Each once. */
export function listTermNames(store: string, folders: readonly string[]): string[] {
  const found = folders.flatMap((folder) => {
    const [name, term = ""] = folder.split(".");
    return name === store && parseTerm(term) !== undefined ? [term] : [];
  });
  return [...new Set(found)];
}

const LOG_FOLDER = "_log";

/** Where copies of a node's audit log lie, in every term: each log has names of its own. */
export function findLogFolder(node: string): StoreFolder {
  return { node, service: LOG_FOLDER, store: "" };
}

/**
 * `NODE/SERVICE/STORE`, of a term `NODE/SERVICE/STORE.tN-TIME`; `NODE/SERVICE/STORE.objects/SHARD` for stored objects, and `NODE/SERVICE/STORE.wal/AREA` for bases and the log: no
 * store has a name with a dot. `NODE/_log` for copies of the audit log: no service has such a name.
 */
export function joinFolder({ node, service, store, shard, area, term }: StoreFolder): string {
  if (service === LOG_FOLDER && store === "") return `${checkName(node)}/${LOG_FOLDER}`;
  const plain = [node, service, store].map(checkName).join("/");
  if (term !== undefined && parseTerm(term) === undefined)
    throw new RepositoryError(`${JSON.stringify(term)} is no name of a term`);
  const folder = term === undefined ? plain : `${plain}.${term}`;
  if (area !== undefined) return `${folder}.wal/${area.split("/").map(checkName).join("/")}`;
  if (shard === undefined) return folder;
  return shard === "" ? `${folder}.objects` : `${folder}.objects/${checkName(shard)}`;
}
