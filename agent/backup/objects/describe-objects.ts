// The stock commands that restore a bucket from its listing: age, gzip, jq and any program that puts objects. Pure.

import type { BackupFile } from "../core/backup-record.ts";
import { quoteShell, readFileBy } from "../engines/restore-lines.ts";

/** Run where the listing lies; `BUCKET` is an empty one. */
export function describeObjectsRestore(store: string, files: readonly BackupFile[], isEncrypted: boolean): string[] {
  const listing = files.filter(({ kind }) => kind === "listing").map(({ file }) => file);
  const [first = ""] = listing;
  const parts = listing.length === 1 ? first : first.replace(/\.\d+\.listing/, ".*.listing");
  const pool = `"../${quoteShell(`${store}.objects`)}/$shard/$file"`;
  return [
    `for part in ${parts}; do ${readFileBy('"$part"', isEncrypted)} | gzip -dc; done > listing.jsonl`,
    `jq -r 'select(.file) | [.file[0:2], .file, (.key | @base64)] | @tsv' listing.jsonl | while read -r shard file key; do ${readFileBy(pool, isEncrypted)} | aws s3 cp - "s3://BUCKET/$(printf %s "$key" | base64 -d)" || break; done`,
  ];
}
