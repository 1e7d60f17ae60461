// Who a container runs as, in numbers: its user by name is looked up in its own passwd and group files, as the engine does
// when it starts it. Only handlers.ts asks, for the files that this user alone may read.

import type { DockerReader } from "../docker/reader.ts";

/** A user in numbers. */
export interface ContainerUser {
  uid: number;
  gid: number;
}

const ROOT: ContainerUser = { uid: 0, gid: 0 };

/**
 * Looks it up; the container need not run.
 * @returns undefined for a name that the container does not know: the engine will not start it then, and says so
 */
export async function findContainerUser(
  reader: Pick<DockerReader, "inspectContainer" | "readFile">,
  id: string,
): Promise<ContainerUser | undefined> {
  const detail = await reader.inspectContainer(id);
  if (detail === undefined) throw new Error(`look up the user of ${id}: there is no such container`);
  const { user } = detail;
  if (user === "" || user === "0" || user === "0:0") return ROOT;
  const read = async (path: string): Promise<string> => (await reader.readFile(id, path))?.toString("utf8") ?? "";
  const passwd = await read("/etc/passwd");
  return resolveUser(user, passwd, user.includes(":") ? await read("/etc/group") : "");
}

/**
 * Resolves `user[:group]` as the engine does: an entry by name or number, else the number itself; a number without an
 * entry has the group 0.
 */
export function resolveUser(user: string, passwd: string, group: string): ContainerUser | undefined {
  const colon = user.indexOf(":");
  const [name, groupName] = colon === -1 ? [user, ""] : [user.slice(0, colon), user.slice(colon + 1)];
  const known = name === "" ? ROOT : findUser(name, passwd);
  if (known === undefined || groupName === "") return known;
  const gid = findEntry(groupName, group)?.id ?? readNumber(groupName);
  return gid === undefined ? undefined : { uid: known.uid, gid };
}

function findUser(name: string, passwd: string): ContainerUser | undefined {
  const entry = findEntry(name, passwd);
  if (entry !== undefined) return { uid: entry.id, gid: readNumber(entry.fields[3] ?? "") ?? 0 };
  const uid = readNumber(name);
  return uid === undefined ? undefined : { uid, gid: 0 };
}

/** A line of passwd or group: the name is its first field, the number its third. */
function findEntry(name: string, text: string): { id: number; fields: readonly string[] } | undefined {
  for (const line of text.split("\n")) {
    const fields = line.trim().split(":");
    const id = readNumber(fields[2] ?? "");
    if (id !== undefined && fields[0] !== "" && (fields[0] === name || fields[2] === name)) return { id, fields };
  }
  return undefined;
}

const LARGEST_ID = 2 ** 32 - 2;

function readNumber(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= LARGEST_ID ? Number(text) : undefined;
}
