// What a MariaDB or MySQL needs so that it can be dumped: printed for a person, never carried out. Pure.

import type { StoreSettings } from "./store-engine.ts";

/** Access denied for a user, to a database, for a statement; a host that may not connect (MariaDB error codes). */
const FAULTS = /\b(?:1044|1045|1130|1142|1227|1698)\b|access denied|is not allowed to connect/i;

/** True where the server is there and refuses whoever asks. */
export function isMysqlAccessFault(stderr: string): boolean {
  return FAULTS.test(stderr);
}

/** What is to be run there. */
export function describeMysqlAccess(
  { user, passwordPath }: Pick<StoreSettings, "user" | "passwordPath">,
  stderr: string,
): string[] {
  const isWrong = passwordPath !== undefined && /\b(?:1045|1698)\b/.test(stderr);
  // A server says the same where there is no such account.
  const first = `the value of ${passwordPath} is not ${user}'s password: set the one that the server has; where it has no such account yet:`;

  const account = `'${user.replaceAll(/['\\]/g, String.raw`\$&`)}'@'127.0.0.1'`;
  return [
    ...(isWrong ? [first] : []),
    "in the server, as root (the password is the value of connect.password):",
    `  create user ${account} identified by '…';`,
    `  grant select, show view, trigger, event, lock tables, process, show create routine, reload on *.* to ${account};`,
    "  (a server older than MariaDB 11.3 has no show create routine: leave it out, and grant select on mysql.proc)",
    'in the manifest: connect = { user = "…", password = "/path/of/the/secret" } under [[backups]]',
  ];
}
