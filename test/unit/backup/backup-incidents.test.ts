// The incidents of other tools that must not happen here, and the test that holds each: what is in this table is looked for in that file.
// Some are of parts that this version has not (write-ahead logs, a proof that decrypts with an escrowed key): they are named, and not held.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

interface Incident {
  issue: string;
  /** What went wrong there. */
  was: string;
  /** File under test/ and a piece of a test's name or of its table. */
  held: readonly [file: string, name: string] | "not in this version";
}

const UNIT = "unit/backup";
const DOCKER = "docker/backup";

const INCIDENTS: readonly Incident[] = [
  {
    issue: "restic#4251",
    was: "a failed dump in a pipe became a snapshot",
    held: [`${UNIT}/backup-pipeline.test.ts`, "ends with 3 after all of it"],
  },
  { issue: "restic#2135", was: "empty input was taken", held: [`${UNIT}/backup-pipeline.test.ts`, "writes nothing"] },
  {
    issue: "DBackup#154",
    was: "a failed dump was a success of 0 bytes, and retention removed a real one",
    held: [`${UNIT}/backup-retention.test.ts`, "after a failed run"],
  },
  {
    issue: "lerd#1324",
    was: "20 bytes of gzip were listed",
    held: [`${UNIT}/backup-pipeline.test.ts`, "writes too little"],
  },
  {
    issue: "charts#159",
    was: "a dump that was cut had the canonical name",
    held: [`${UNIT}/backup-pipeline.test.ts`, "killed between any two steps, what is listed is whole"],
  },
  {
    issue: "charts#223",
    was: "a check in a pipe failed on a good dump",
    held: [`${DOCKER}/backup.test.ts`, "a good backup is proved by a restore"],
  },
  {
    issue: "floci#1894",
    was: "standard error was in the dump",
    held: [`${UNIT}/backup-pipeline.test.ts`, "is noisy and good makes one"],
  },
  {
    issue: "tidb#71162",
    was: "a lost part was published",
    held: ["scenario/backup/repository-s3.test.ts", "the first error is the last: what comes after it is not taken"],
  },
  {
    issue: "scylladb#20425",
    was: "parts of aborted uploads stayed",
    held: ["scenario/backup/repository-s3.test.ts", "an upload whose beginning was not heard is not left behind"],
  },
  {
    issue: "mysql-cron-backup#56",
    was: "a failed dump led to the removal of all old ones",
    held: [`${UNIT}/backup-retention.test.ts`, "after a failed run"],
  },
  {
    issue: "docker-volume-backup#631",
    was: "days off left one backup",
    held: [`${UNIT}/backup-retention.test.ts`, "a node that was off for a month comes back to all that it had"],
  },
  {
    issue: "kubeblocks#8881",
    was: "the last good one was removed by its age",
    held: [`${UNIT}/backup-retention.test.ts`, "the newest verified, the newest complete and three verified ones stay"],
  },
  {
    issue: "restic#4764",
    was: "an empty policy removed everything",
    held: [`${UNIT}/backup-retention.test.ts`, "with a policy that keeps nothing"],
  },
  {
    issue: "restic#3416",
    was: "a backup dated ahead removed the real ones",
    held: [`${UNIT}/backup-retention.test.ts`, "with a clock a year back"],
  },
  {
    issue: "pgbackrest#1226",
    was: "names in local time ran backwards",
    held: [`${UNIT}/engine-parts.test.ts`, "of %s the name %s is one"],
  },
  {
    issue: "kopia#3197",
    was: "a host that was off at the time had none",
    held: [`${UNIT}/backup-due.test.ts`, "whatever was missed is made up once"],
  },
  {
    issue: "backrest#1386",
    was: "what was missed ran twice",
    held: [`${UNIT}/backup-due.test.ts`, "whatever was missed is made up once"],
  },
  {
    issue: "xibo#2136",
    was: "dumps longer than their interval piled up",
    held: [`${UNIT}/backup-keeper.test.ts`, "no run begins before"],
  },
  {
    issue: "restic#4262",
    was: "a stale lock blocked every night",
    held: [`${DOCKER}/backup.test.ts`, "the next run sweeps what is left"],
  },
  {
    issue: "borg#7959",
    was: "one lost key lost all",
    held: [`${UNIT}/backup-pipeline.test.ts`, "each recipient opens it alone"],
  },
  {
    issue: "Containarium#1159",
    was: "a digest was taken for a proof",
    held: [`${DOCKER}/backup.test.ts`, "is found out, although its digest is right"],
  },
  {
    issue: "ovumcy-web#349",
    was: "the documented restore never failed",
    held: [`${UNIT}/engine-parts.test.ts`, "ends at the first error, and decrypts where it has to"],
  },
  {
    issue: "dokploy#3392",
    was: "cleaning up removed a container that was stopped for its backup",
    held: [`${UNIT}/standing-still.test.ts`, "the loop keeps which service is copied until that is over"],
  },
  {
    issue: "mc#2048",
    was: "a mirror of an absent source emptied its target",
    held: [
      "scenario/backup/objects.test.ts",
      "of a source that is gone, refuses, is empty or lists by halves makes none",
    ],
  },
  {
    issue: "coolify#9035",
    was: "a repository that was gone was passed over",
    held: ["unit/lint/lint-references.test.ts", "unknown-repository"],
  },
  {
    issue: "dokploy#4896",
    was: "another dump was checked than was stored",
    held: [`${UNIT}/backup-pipeline.test.ts`, "a repository that gives back something else is found out"],
  },
  {
    issue: "velero#6212",
    was: "complete, with parts that had failed",
    held: [`${UNIT}/backup-pipeline.test.ts`, "of several parts a bad one takes the good ones with it"],
  },
  { issue: "databasus#643", was: "a base without its log was green", held: "not in this version" },
  { issue: "cloudnative-pg#9824", was: "a log that could not be shipped filled the disk", held: "not in this version" },
  {
    issue: "litestream#1164",
    was: "restores were corrupt, and nobody had tried one",
    held: [`${DOCKER}/engines.test.ts`, "is found out, although its digest is right"],
  },
  {
    issue: "databasus#732",
    was: "false alarm: an extension that the image lacks",
    held: [
      `${DOCKER}/postgres-proof.test.ts`,
      "an extension that the image lacks is a finding of its own and no bad backup",
    ],
  },
  {
    issue: "databasus#726",
    was: "false alarm: the schema public exists",
    held: [`${DOCKER}/postgres-proof.test.ts`, "a schema public in the dump"],
  },
  {
    issue: "databasus#721",
    was: "false alarm: a job's role is absent",
    held: [`${DOCKER}/postgres-proof.test.ts`, "a job's role"],
  },
  {
    issue: "Yuzu#4135",
    was: "86 bytes of the wrong volume were a backup",
    held: [`${DOCKER}/engines.test.ts`, "volumes become one tar with owners and links"],
  },
  {
    issue: "coolify#7779",
    was: "copies to a bucket failed for two months, and each mail said success",
    held: [
      `${UNIT}/store-standing.test.ts`,
      "each repository stands for itself: a copy that is missing breaks the promise although the first has one",
    ],
  },
  {
    issue: "ragflow#18354",
    was: "a restore over a live volume mixed old files and new ones",
    held: ["scenario/backup/restore.test.ts", "the service gets the new volume, and the old one is kept and named"],
  },
  {
    issue: "kopia#5509",
    was: "under a bucket's own lock no backup was ever finished",
    held: [
      "scenario/backup/repository-s3.test.ts",
      "under a bucket's own lock backups are made, proved and listed all the same",
    ],
  },
  { issue: "Infisical#2487", was: "what was restored could not be decrypted", held: "not in this version" },
];

function readTest(file: string): string {
  return readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");
}

test("each incident has one place in the table", () => {
  const issues = INCIDENTS.map(({ issue }) => issue);
  expect(new Set(issues).size).toBe(issues.length);
  expect(issues.length).toBeGreaterThanOrEqual(38);
});

test.each(
  INCIDENTS.flatMap(({ issue, was, held }) =>
    typeof held === "string" ? [] : [[issue, was, held[0], held[1]] as const],
  ),
)("%s (%s) is held by %s: %s", (_issue, _was, file, name) => expect(readTest(file)).toContain(name));
