// What a PostgreSQL that does not trust 127.0.0.1 needs so that it can be dumped: printed for a person, never carried out. Pure.

import type { StoreSettings } from "./store-engine.ts";

/** In the words of libpq and the server. */
const FAULTS =
  /no pg_hba\.conf entry|authentication failed|no password supplied|role ".*" does not exist|permission denied|is not permitted to log in/i;

/** True where the server is there and refuses whoever asks. */
export function isAccessFault(stderr: string): boolean {
  return FAULTS.test(stderr);
}

/** What is to be run and written there. */
export function describePostgresAccess(
  { user, databases, passwordPath }: Pick<StoreSettings, "user" | "databases" | "passwordPath">,
  stderr: string,
): string[] {
  const isWrong = passwordPath !== undefined && /password authentication failed/i.test(stderr);
  // A server says the same where there is no such role.
  const first = `the value of ${passwordPath} is not ${user}'s password: set the one that the server has; where it has no such role yet:`;

  const role = `"${user.replaceAll('"', '""')}"`;
  const places = databases === undefined ? ["all"] : databases.map((name) => `"${name.replaceAll('"', '""')}"`);
  return [
    ...(isWrong ? [first] : []),
    "in the server, as its superuser (the password is the value of connect.password; pg_read_all_data is there since 14):",
    `  create role ${role} login password '…';`,
    `  grant pg_read_all_data to ${role};`,
    "in pg_hba.conf, above the lines that refuse it, then select pg_reload_conf():",
    ...[...new Set([...places, ...(databases === undefined ? [] : ["postgres"])])].map(
      (place) => `  host ${place} ${role} 127.0.0.1/32 scram-sha-256`,
    ),
    'in the manifest: connect = { user = "…", password = "/path/of/the/secret" } under [[backups]]',
  ];
}
