// What is known of one backup: its record is the `.manifest.json` beside it, written last, and nothing is a backup without one.
// Pure; made by the pipeline, read by retention, lists, verification and restore.

import * as z from "zod";

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
/** The last moment that a Date can name (ECMAScript, "Time Values"). */
const momentMs = z.int().min(0).max(8.64e15);

const measured = z.object({ bytes: z.int().min(1), sha256: sha256Hex });

/** One file of a backup: a database, the roles of a server, or all there is. */
const backupFile = z.object({
  file: z.string(),
  kind: z.enum(["database", "globals"]),
  /** What is in it, as it is called there. */
  content: z.string(),
  /** As the program wrote it, and as it lies in the repository. */
  plain: measured,
  stored: measured,
});

/** How a restore of it was tried, and what came of it. */
const verification = z.object({
  atMs: momentMs,
  /** `unknown`: it could not be judged, for a reason that is not the backup's (memory, disk, an image that is away). */
  verdict: z.enum(["good", "bad", "unknown"]),
  detail: z.string(),
});

/** The record as it lies in a repository. A field that a later version adds is kept by whoever reads and writes it again. */
export const backupRecordSchema = z.looseObject({
  version: z.literal(1),
  node: z.string(),
  service: z.string(),
  /** The name of the `[[backups]]` table. */
  store: z.string(),
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
  verifications: z.array(verification).default([]),
  pinnedUntilMs: momentMs.optional(),
  /** Kept until then whatever the policy says (`keep` of a backup before an update). */
  keepUntilMs: momentMs.optional(),
  /** When retention decided that it goes; its data goes a day later, its record last. */
  expiringMs: momentMs.optional(),
});

export type BackupRecord = z.infer<typeof backupRecordSchema>;
export type BackupFile = BackupRecord["files"][number];

/** True once a restore of it has succeeded, unless a later one found it bad. */
export function isVerified(record: Pick<BackupRecord, "verifications">): boolean {
  const last = record.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return last?.verdict === "good";
}

/** True for one that a restore may count on: whole, not set aside, and not found bad. */
export function isComplete(record: Pick<BackupRecord, "verifications" | "quarantined" | "expiringMs">): boolean {
  const last = record.verifications.findLast(({ verdict }) => verdict !== "unknown");
  return record.quarantined === undefined && record.expiringMs === undefined && last?.verdict !== "bad";
}
