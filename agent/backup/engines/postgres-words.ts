// What dump and proof of a PostgreSQL both say to it: how a name is written, and how rows are counted. Pure.

import type { BackupFile } from "../core/backup-record.ts";

/** A name with a `=` would be read as a connection string (libpq, "Connection Strings"). */
export function quoteDatabase(database: string): string {
  return /[=:/\s'\\]/.test(database) ? `dbname='${database.replaceAll(/['\\]/g, String.raw`\$&`)}'` : database;
}

/**
 * The role that a throw-away server is made with: the source's own, since what its roles granted is in that one's name; who reads the
 * source may be nobody of power.
 */
export function findSuperuser(user: string, files: readonly BackupFile[]): string {
  return files.find(({ facts }) => facts?.superuser !== undefined)?.facts?.superuser ?? user;
}

/** A text inside SQL. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Counted at most: a record is a small file. */
const MOST_TABLES = 2_000;
/** Compared with one statement: it is one argument, which the kernel bounds. */
const MOST_AT_ONCE = 200;

/**
 * The rows of each table that a dump has the rows of: no parts of extensions, no views, nothing of other servers. One statement counts
 * them all, so that nothing has to be run twice (query_to_xml, PostgreSQL "XML Functions").
 */
const COUNT = `
select n.nspname || '.' || c.relname as name, (xpath('/row/rows/text()',
  query_to_xml(format('select count(*) as rows from only %s', c.oid::regclass), false, true, '')))[1]::text::bigint as rows
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
`.replaceAll(/\s+/g, " ");

/** The smallest tables first. */
export const COUNT_ROWS = `${COUNT} order by c.relpages, 1 limit ${MOST_TABLES}`;

/**
 * Statements that each answer a line `name<TAB>had<TAB>has` for the first table that has not so many rows as it had, and none where all
 * have.
 */
export function* compareRows(rows: Readonly<Record<string, number>>): Iterable<string> {
  const entries = Object.entries(rows);
  for (let at = 0; at < entries.length; at += MOST_AT_ONCE) {
    const part = entries.slice(at, at + MOST_AT_ONCE);
    const names = part.map(([table]) => quoteLiteral(table)).join(",");
    const wanted = part.map(([table, count]) => `(${quoteLiteral(table)},${count})`).join(",");
    yield [
      `with found as (${COUNT} and n.nspname || '.' || c.relname in (${names})), wanted(name, rows) as (values ${wanted})`,
      "select wanted.name, wanted.rows, coalesce(found.rows::text, 'no such table') from wanted left join found using (name)",
      "where found.rows is distinct from wanted.rows limit 1",
    ].join(" ");
  }
}
