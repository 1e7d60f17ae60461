// The names of a backup's files: what it is, and when in UTC its source was read. Nothing is ever overwritten, so two backups of one
// minute have their seconds in the name. Pure.

/** What the backups of each engine are called. */
const STEMS: Readonly<Record<string, string>> = {
  postgres: "pg_dump",
  "postgres-base": "pg_base",
  mysql: "mysql_dump",
  redis: "redis",
  files: "files",
  objects: "objects",
  command: "backup",
};

/** What a record is called: the backup's name and this. */
export const RECORD_ENDING = ".manifest.json";

/** How precise the time in a name is. */
type Precision = "minute" | "second";

/** `20261120_0217`, in UTC. */
function stampTime(ms: number, precision: Precision): string {
  const digits = new Date(ms).toISOString().replaceAll(/[-:]/g, "");
  return `${digits.slice(0, 8)}_${digits.slice(9, precision === "minute" ? 13 : 15)}`;
}

/**
 * Names a backup.
 * @param taken every name that the repository has: a backup of a minute that has one already gets its seconds
 */
export function nameBackup(engine: string, startedMs: number, taken: readonly string[]): string {
  const stem = STEMS[engine] ?? "backup";
  const isTaken = (name: string): boolean => taken.some((entry) => entry.startsWith(`${name}.`));
  const plain = `${stem}_${stampTime(startedMs, "minute")}`;
  if (!isTaken(plain)) return plain;
  for (let ms = startedMs; ; ms += 1_000) {
    const name = `${stem}_${stampTime(ms, "second")}`;
    if (!isTaken(name)) return name;
  }
}

/** True for a name that such an engine's backups have: `pg_dump_20261120_0217`, with a day and a minute that there are, in UTC. */
export function isBackupName(engine: string, name: string): boolean {
  const stem = STEMS[engine] ?? "backup";
  const stamp = name.startsWith(`${stem}_`) ? name.slice(stem.length + 1) : "";
  const found = /^(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})(\d{2})?$/.exec(stamp);
  if (found === null) return false;
  const [, year, month, day, hour, minute, second] = found;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second ?? "00"}Z`);
  return !Number.isNaN(ms) && stampTime(ms, second === undefined ? "minute" : "second") === stamp;
}

/**
 * Names one file of a backup: `pg_dump_20261120_0217.dump.age`, or with its label where there are several.
 * @param taken the files that this backup has already: of two labels that look alike the second gets a number
 */
export function nameFile(
  backup: string,
  { label, ending }: { label: string; ending: string },
  { encrypted, taken }: { encrypted: boolean; taken: readonly string[] },
): string {
  // A database may be called anything; its record has the name as it is.
  const safe = label.replaceAll(/[^A-Za-z0-9_-]/g, "_");
  const build = (middle: string): string => `${backup}${middle}${ending}${encrypted ? ".age" : ""}`;
  const first = build(safe === "" ? "" : `.${safe}`);
  for (let at = 2, name = first; ; at += 1) {
    if (!taken.includes(name)) return name;
    name = build(`.${safe}.${at}`);
  }
}

/** When a file's backup began, by its name; undefined for one that no run has named. */
export function readStamp(file: string): number | undefined {
  const match = /^[a-z_]+_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)?\./.exec(file);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second = "00"] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}
