// The names of a backup's files: what it is, and when in UTC its source was read. Nothing is ever overwritten, so two backups of one
// minute have their seconds in the name. Pure.

/** What the backups of each engine are called. */
const STEMS: Readonly<Record<string, string>> = {
  postgres: "pg_dump",
  mysql: "mysql_dump",
  redis: "redis",
  files: "files",
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
