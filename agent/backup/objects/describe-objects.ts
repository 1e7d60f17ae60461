// The stock commands that restore a bucket from its listing: age, gzip, jq and any program that puts objects. Pure. `aws s3 cp` adds a name
// to a key that ends with a slash; `put-object` takes it as it is, from a file.

import type { BackupFile } from "../core/backup-record.ts";
import { quoteShell, readFileBy } from "../engines/restore-lines.ts";

/** Run where the listing lies; `BUCKET` is an empty one. */
export function describeObjectsRestore(store: string, files: readonly BackupFile[], isEncrypted: boolean): string[] {
  const listing = files.filter(({ kind }) => kind === "listing").map(({ file }) => file);
  const [first = ""] = listing;
  const parts = listing.length === 1 ? first : first.replace(/\.\d+\.listing/, ".*.listing");
  const pool = `"../${quoteShell(`${store}.objects`)}/$shard/$file"`;
  const read = readFileBy(pool, isEncrypted);
  return [
    `for part in ${parts}; do ${readFileBy('"$part"', isEncrypted)} | gzip -dc; done > listing.jsonl`,
    `jq -r 'select(.file) | [.file[0:2], .file, (.key | @base64)] | @tsv' listing.jsonl | while read -r shard file key; do name="$(printf %s "$key" | base64 -d)"; case "$name" in */) ${read} > marker && aws s3api put-object --bucket BUCKET --key "$name" --body marker > /dev/null;; *) ${read} | aws s3 cp - "s3://BUCKET/$name";; esac || break; done`,
  ];
}
