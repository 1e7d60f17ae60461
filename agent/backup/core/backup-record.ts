// What is known of one backup: its record is the `.manifest.json` beside it, written last, and nothing is a backup without one.
// Pure; made by the pipeline, read by retention, lists, verification and restore.

import * as z from "zod";

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
/** The last moment that a Date can name (ECMAScript, "Time Values"). */
const momentMs = z.int().min(0).max(8.64e15);

const measured = z.object({ bytes: z.int().min(1), sha256: sha256Hex });

const count = z.int().min(0);

/** What the source said of itself at the moment that the file shows; compared when a restore proves it. */
const sourceFacts = z.looseObject({
  /** Entries of its table of contents, or of the archive. */
  entries: count.optional(),
  /** Rows by table, as `schema.table`. */
  rows: z.record(z.string(), count).optional(),
  /** Keys, and those of them that never expire. */
  keys: count.optional(),
  lastingKeys: count.optional(),
  /** Objects of a bucket and their bytes, and what of them this run has stored anew. */
  objects: count.optional(),
  objectBytes: count.optional(),
  copied: count.optional(),
  addedBytes: count.optional(),
  /** A few of its files. */
  samples: z.array(z.object({ path: z.string(), bytes: count, sha256: sha256Hex })).optional(),
  /** The role that the server was made with, and how the database keeps its texts. */
  superuser: z.string().optional(),
  encoding: z.object({ name: z.string(), collate: z.string(), ctype: z.string() }).optional(),
  /** The program that reads it back, where there are several that are not the same. */
  client: z.string().optional(),
  /** Settings of the server without which what is in it cannot be used. */
  settings: z.record(z.string(), z.string()).optional(),
  /** Of a base: the log that it needs, as positions of the server: all between, at most. */
  wal: z
    .object({ systemId: z.string(), timeline: count, segmentBytes: count, start: z.string(), stop: z.string() })
    .optional(),
});

/** One file of a backup: a database, the roles of a server, or all there is. */
const backupFile = z.object({
  file: z.string(),
  kind: z.enum(["database", "globals", "keys", "files", "stream", "base", "listing", "references"]),
  /** What is in it, as it is called there. */
  content: z.string(),
  /** As the program wrote it, and as it lies in the repository. */
  plain: measured,
  stored: measured,
  facts: sourceFacts.optional(),
  /** It was taken although its program said something: an exit code that is a warning. */
  warning: z.string().optional(),
});

/** How a restore of it was tried, and what came of it. */
const verification = z.object({
  atMs: momentMs,
  /** `unknown`: it could not be judged, for a reason that is not the backup's (memory, disk, an image that is away). */
  verdict: z.enum(["good", "bad", "unknown"]),
  detail: z.string(),
  /** `copy`: what lies in this repository was damaged there; left out where it is about what was dumped, wherever that lies. */
  about: z.literal("copy").optional(),
  /** Of a base: up to where its log could be replayed, as a position of the server; left out where the base itself is at fault. */
  reach: z.string().optional(),
});

/** The record as it lies in a repository. A field that a later version adds is kept by whoever reads and writes it again. */
export const backupRecordSchema = z.looseObject({
  version: z.literal(1),
  node: z.string(),
  /** The public backup key of the node that made it: two VMs may have one node's name. */
  maker: z.string().optional(),
  service: z.string(),
  /** The name of the `[[backups]]` table. */
  store: z.string(),
  /** Where in the store's folder it lies; left out for a dump. */
  area: z.string().optional(),
  engine: z.string(),
  /** Its own name, which is the record's without its ending. */
  name: z.string(),
  /** The data, beside the record. */
  files: z.array(backupFile).min(1),
  trigger: z.enum(["schedule", "catch-up", "asked", "before-update"]),
  /** When reading the source began: what the backup holds is at least as new. */
  startedMs: momentMs,
  endedMs: momentMs,
  image: z.string(),
  /** The age recipients that it is encrypted for; empty for one that is not. */
  recipients: z.array(z.string()),
  /** How a person restores it with stock programs alone. */
  restoreWith: z.array(z.string()),
  quarantined: z.string().optional(),
  /** When a person has accepted one that was set aside: its size is what is usual from then on. */
  acceptedMs: momentMs.optional(),
  /** Stored objects that a proof has found damaged or missing: the next run copies them again. */
  damaged: z.array(z.string()).optional(),
  verifications: z.array(verification).default([]),
  pinnedUntilMs: momentMs.optional(),
  /** Kept until then whatever the policy says (`keep` of a backup before an update). */
  keepUntilMs: momentMs.optional(),
  /** When retention decided that it goes; its data goes a day later, its record last. */
  expiringMs: momentMs.optional(),
});

export type BackupRecord = z.infer<typeof backupRecordSchema>;

/** A record has five levels; what has many more could be read, and not be written again. */
const DEEPEST = 20;

/** Reads a record; undefined for a text that is none. */
export function parseRecord(text: string): BackupRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isDeeper(value, DEEPEST) ? undefined : backupRecordSchema.parse(value);
  } catch {
    return undefined;
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
export type SourceFacts = z.infer<typeof sourceFacts>;
export type BackupFile = BackupRecord["files"][number];

/** Larger ones are read by nobody (1 MiB, repository/): some room is left for what is noted in it later. */
const LARGEST_RECORD_BYTES = 768 * 1024;
const LONGEST_DETAIL = 4_000;
/** So many verdicts are kept in a record. */
const KEPT_VERDICTS = 20;

/**
 * The record as it is written. Where it would be too large to be read again, it goes without the rows of its largest lists of tables:
 * they are compared where they are there, and a backup without them is one all the same.
 */
export function writeRecordText(record: BackupRecord): string {
  const write = (files: BackupFile[]): string => `${JSON.stringify({ ...record, files }, undefined, 2)}\n`;
  let { files } = record;
  for (;;) {
    const text = write(files);
    const largest = files.toSorted((one, other) => countRows(other) - countRows(one))[0];
    if (Buffer.byteLength(text) <= LARGEST_RECORD_BYTES || largest === undefined || countRows(largest) === 0)
      return text;
    files = files.map((file) => (file === largest ? leaveRows(file) : file));
  }
}

function countRows({ facts }: BackupFile): number {
  return Object.keys(facts?.rows ?? {}).length;
}

function leaveRows({ facts: { rows: _rows, ...facts } = {}, ...file }: BackupFile): BackupFile {
  return { ...file, facts };
}

/** The record as lists have it: the rows of its tables are compared by a restore alone, which reads it itself, and may be most of it. */
export function leaveAllRows(record: BackupRecord): BackupRecord {
  return { ...record, files: record.files.map((file) => (file.facts?.rows === undefined ? file : leaveRows(file))) };
}

/** The record with one more verdict; the oldest go. */
export function addVerdict(record: BackupRecord, verdict: BackupRecord["verifications"][number]): BackupRecord {
  const noted = { ...verdict, detail: verdict.detail.slice(0, LONGEST_DETAIL) };
  return { ...record, verifications: [...record.verifications, noted].slice(-KEPT_VERDICTS) };
}

/** So many names of bad backups are remembered of a store. */
const KEPT_BAD = 50;

/**
 * The names of backups that a restore has found bad for what was dumped: the same bytes are bad in every repository, also where nobody has
 * looked yet. What the newest verdict says counts; a name of which these records say nothing stays as it was known.
 */
export function listBad(known: readonly string[], records: readonly BackupRecord[]): string[] {
  const last = new Map<string, BackupRecord["verifications"][number]>();
  for (const { name, verifications } of records) {
    const verdict = verifications.findLast((entry) => entry.verdict !== "unknown" && entry.about === undefined);
    const before = last.get(name);
    if (verdict !== undefined && (before === undefined || verdict.atMs > before.atMs)) last.set(name, verdict);
  }
  const names = new Set([...known, ...last.keys()]);
  return [...names].filter((name) => (last.get(name)?.verdict ?? "bad") === "bad").slice(-KEPT_BAD);
}

/** A backup dated further ahead means that a clock is or was wrong. */
const AHEAD_MS = 600_000;

/** True for one that is dated in the future: nobody knows how old it is. */
export function isAhead({ startedMs }: Pick<BackupRecord, "startedMs">, nowMs: number): boolean {
  return startedMs > nowMs + AHEAD_MS;
}

/** True once a restore of it has succeeded, unless a later one found it bad. */
export function isVerified(record: Pick<BackupRecord, "verifications">): boolean {
  const last = record.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return last?.verdict === "good";
}

/** What the last proof that said anything has found at fault; undefined where that is nothing, or where there was none. */
export function findFault(
  record: Pick<BackupRecord, "verifications"> | undefined,
): BackupRecord["verifications"][number] | undefined {
  const last = record?.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return last?.verdict === "bad" ? last : undefined;
}

/** True for one that a restore may count on: whole, not set aside, and not found bad. */
export function isComplete(record: Pick<BackupRecord, "verifications" | "quarantined" | "expiringMs">): boolean {
  const last = record.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return record.quarantined === undefined && record.expiringMs === undefined && last?.verdict !== "bad";
}
