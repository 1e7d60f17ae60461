// Whether a server can take what another one has dumped: one of the same family, and none that is older. Pure.
// Held by test/unit/backup/server-version.test.ts.

/** A server as it names itself. */
export interface ServerVersion {
  family: string;
  /** As it says it: `15.18`, `10.11.6-MariaDB`. */
  text: string;
}

/** By how many numbers of its version a family says that its dumps are of another form (PostgreSQL "Versioning Policy"). */
const NUMBERS: Readonly<Record<string, number>> = { PostgreSQL: 1 };

/** Says why a server cannot take a dump; undefined where it can, or nobody knows of which server the dump is. */
export function refuseVersion(source: ServerVersion | undefined, server: ServerVersion): string | undefined {
  if (source === undefined) return undefined;
  const words = `the backup is of ${source.family} ${source.text}, and the service's image has ${server.family} ${server.text}`;
  if (source.family !== server.family) return `${words}: give the service the image that the backup was made with`;
  const most = NUMBERS[source.family] ?? 2;
  const [from, to] = [readNumbers(source.text, most), readNumbers(server.text, most)];
  const at = from.findIndex((number, index) => number !== (to[index] ?? 0));
  if (at === -1 || (from[at] ?? 0) < (to[at] ?? 0)) return undefined;
  return `${words}, which is older: give the service the image that the backup was made with, or a newer one`;
}

function readNumbers(text: string, most: number): number[] {
  return (/^\d+(?:\.\d+)*/.exec(text)?.[0] ?? "").split(".").slice(0, most).map(Number);
}

/** Of a MariaDB or MySQL, by what it answers to `select version()`. */
export function nameMysqlVersion(text: string): ServerVersion {
  return { family: text.includes("MariaDB") ? "MariaDB" : "MySQL", text };
}

/** The server in the head of a dump: its program writes it as a comment (mysqldump.c, write_header). */
export function readMysqlVersion(head: Buffer): ServerVersion | undefined {
  const text = /^-- Server version\t(\S+)/m.exec(head.toString("latin1"))?.[1];
  return text === undefined ? undefined : nameMysqlVersion(text);
}

/** The server in the head of a snapshot: the first of its auxiliary fields (redis rdb.c, rdbSaveInfoAuxFields). */
export function readRedisVersion(head: Buffer): ServerVersion | undefined {
  const text = /redis-ver[\0-\x3f](\d+\.\d+\.\d+)/.exec(head.toString("latin1"))?.[1];
  return text === undefined ? undefined : { family: "Redis", text };
}
