// Rows without their parent in a restored PostgreSQL: by foreign keys that the restore refused, and by those that were never validated;
// less those that Git allows, each with somebody who answers for it and a day on which it ends. Pure.

import type { AllowedOrphan } from "../../../shared/state/backup.ts";

/** A foreign key by its columns, as `schema.table.column` with commas between several. */
export interface ForeignKey {
  name: string;
  from: string;
  to: string;
}

/** The list of one proof: what of it counts, and what is to be said. */
export class Allowlist {
  readonly #entries: readonly AllowedOrphan[];
  readonly #notes: string[] = [];
  readonly #used = new Set<string>();

  constructor(allowed: readonly AllowedOrphan[] | string, nowMs: number) {
    if (typeof allowed === "string") this.#notes.push(`the list of allowed orphans counts for nothing: ${allowed}`);
    const all = typeof allowed === "string" ? [] : allowed;
    this.#entries = all.filter(({ expiresMs }) => expiresMs > nowMs);
    for (const { from, to, owner, expiresMs } of all) {
      if (expiresMs <= nowMs) this.#notes.push(`${from} → ${to} of ${owner} has expired, and counts no more`);
    }
  }

  /** True where something is allowed at all. */
  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** True where orphans of this key are no finding. */
  allows(key: ForeignKey): boolean {
    const found = this.#entries.find(({ from, to }) => from === key.from && to === key.to);
    if (found === undefined) return false;
    this.#used.add(`orphans of ${found.from} → ${found.to} are allowed by ${found.owner}`);
    return true;
  }

  /** What a person should know beside the verdict. */
  get notes(): string[] {
    return [...this.#used, ...this.#notes];
  }
}

/** What pg_restore said of foreign keys that it could not make, and how many errors it passed over. */
export function readRefusedKeys(output: string): { keys: ForeignKey[]; ignored: number | undefined } {
  const refused =
    /violates foreign key constraint[^\n]*\n(?:[^\n]*\n){0,2}?Command was: ALTER TABLE (?:ONLY )?([^\n]+)\n\s*ADD CONSTRAINT (\S+|"(?:[^"]|"")*") FOREIGN KEY \(([^)]*)\) REFERENCES ([^(\n]+)\(([^)]*)\)/g;
  const keys = [...output.matchAll(refused)].map(
    ([, table = "", name = "", own = "", parent = "", theirs = ""]): ForeignKey => ({
      name: unquote(name),
      from: `${unquoteName(table)}.${unquoteList(own)}`,
      to: `${unquoteName(parent)}.${unquoteList(theirs)}`,
    }),
  );
  const ignored = /errors ignored on restore: (\d+)/.exec(output)?.[1];
  return { keys, ignored: ignored === undefined ? undefined : Number(ignored) };
}

function unquoteName(name: string): string {
  return [...name.trim().matchAll(/"(?:[^"]|"")*"|[^."]+/g)].map(([part]) => unquote(part)).join(".");
}

function unquoteList(list: string): string {
  return [...list.matchAll(/"(?:[^"]|"")*"|[^,\s"]+/g)].map(([part]) => unquote(part)).join(",");
}

function unquote(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}

/**
 * One row for each foreign key that is not validated: its name, its columns, those it points to, and the query that counts its orphans
 * (pg_constraint, PostgreSQL 15).
 */
export const UNCHECKED_KEYS = `
select c.conname,
  format('%s.%s.%s', cn.nspname, cc.relname, string_agg(a.attname, ',' order by k.at)),
  format('%s.%s.%s', pn.nspname, pc.relname, string_agg(f.attname, ',' order by k.at)),
  format('select count(*) from %s c where %s and not exists (select 1 from %s p where %s)',
    c.conrelid::regclass,
    string_agg(format('c.%I is not null', a.attname), ' and '),
    c.confrelid::regclass,
    string_agg(format('p.%I = c.%I', f.attname, a.attname), ' and '))
from pg_constraint c
join pg_class cc on cc.oid = c.conrelid join pg_namespace cn on cn.oid = cc.relnamespace
join pg_class pc on pc.oid = c.confrelid join pg_namespace pn on pn.oid = pc.relnamespace
cross join lateral unnest(c.conkey, c.confkey) with ordinality as k(own, theirs, at)
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own
join pg_attribute f on f.attrelid = c.confrelid and f.attnum = k.theirs
where c.contype = 'f' and not c.convalidated
group by c.oid, c.conname, c.conrelid, c.confrelid, cn.nspname, cc.relname, pn.nspname, pc.relname
order by c.conname, c.oid`.replaceAll(/\s+/g, " ");
