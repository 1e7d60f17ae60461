// Whether a backup is about as large as those before it. A dump of an empty database has exit code 0 and the right beginning, and is no
// backup: one that is much smaller or larger than usual is set aside until a person has looked. Pure.

import { describeCount } from "../../../shared/text/count.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { type BackupRecord, isComplete, isVerified } from "./backup-record.ts";

/** So many backups are made before any is judged. */
const LEARNING = 3;
/** The median is taken of so many. */
const LOOKED_AT = 7;
const SMALLEST_SHARE = 0.5;
const LARGEST_SHARE = 3;

/** What is compared of a backup. */
type Sized = Pick<BackupRecord, "files" | "verifications" | "quarantined" | "expiringMs" | "acceptedMs">;

/**
 * Says why a backup is set aside; undefined where its size is as usual, or nobody knows yet what that is.
 * @param before the store's records, the newest first
 */
export function judgeSize(bytes: number, before: readonly Sized[]): string | undefined {
  return judgeAmount(bytes, before, { read: sumPlain, describe: describeSize });
}

/** The same by how many objects a bucket has. */
export function judgeCount(objects: number, before: readonly Sized[]): string | undefined {
  const read = ({ files }: Sized): number => files.reduce((sum, { facts }) => sum + (facts?.objects ?? 0), 0);
  return judgeAmount(objects, before, { read, describe: (count) => describeCount(count, "object") });
}

function judgeAmount(
  found: number,
  before: readonly Sized[],
  { read, describe }: { read: (record: Sized) => number; describe: (value: number) => string },
): string | undefined {
  const every = before.filter(isComplete);
  const accepted = every.findIndex(({ acceptedMs }) => acceptedMs !== undefined);
  if (accepted === -1 && every.length < LEARNING) return undefined;
  // What was usual before a person accepted another size says nothing any more.
  const complete = accepted === -1 ? every : every.slice(0, accepted + 1);
  const verified = complete.filter(isVerified);
  // Where nothing is proved, what was made is all that there is to compare with.
  const known = (verified.length >= LEARNING ? verified : complete).slice(0, LOOKED_AT);
  const usual = median(known.map(read));
  if (found >= usual * SMALLEST_SHARE && found <= usual * LARGEST_SHARE) return undefined;
  const percent = Math.round((found / usual) * 100);
  return `it has ${describe(found)}, ${percent} % of what is usual (${describe(usual)})`;
}

/** What the programs wrote, of all files; of a bucket all of its objects. */
export function sumPlain({ files }: Pick<BackupRecord, "files">): number {
  const objects = files.find(({ facts }) => facts?.objectBytes !== undefined);
  return objects?.facts?.objectBytes ?? files.reduce((sum, { plain }) => sum + plain.bytes, 0);
}

/** What lies in the repository, of all files; of a bucket what this one has added to it. */
export function sumStored({ files }: Pick<BackupRecord, "files">): number {
  return files.reduce((sum, { stored, facts }) => sum + stored.bytes + (facts?.addedBytes ?? 0), 0);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
