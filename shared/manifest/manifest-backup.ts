// The `[[backups]]` table of a manifest and `backup = { none = … }`. They validate and lint now; the engines come with
// the backups issue.

import * as z from "zod";

import {
  argv,
  durationBetween,
  imageReference,
  lineOfText,
  name,
  relativePath,
  schedule,
  sizeBytes,
} from "../text/schema-leaf.ts";

const count = z.int().min(0).max(36_500);

const retention = z
  .strictObject({
    days: count.default(14).describe("Every backup of so many days is kept."),
    daily: count.default(14).describe("Then one for each of so many days."),
    weekly: count.default(4).describe("Then one for each of so many weeks."),
    monthly: count.default(0).describe("Then one for each of so many months."),
  })
  .prefault({})
  .describe("What is kept; the newest verified backup always is.");

const texts = z.array(lineOfText(4_096)).max(1_000).default([]);

const verify = z.strictObject({
  schedule: schedule(false).optional().describe("When the newest backup is restored into a throw-away container."),
  image: imageReference.optional().describe("The image it is restored with; the service's own when left out."),
  extensions: texts.describe("Extensions that the restored database must have."),
  schemas: texts.describe("Schemas that the restored database must have."),
  queries: texts.describe("Queries that must answer true on the restored data."),
  fk_allowlist: relativePath.optional().describe("File with foreign keys that may have orphans."),
  max_size: sizeBytes.optional().describe("A larger backup is not restored here."),
  timeout: durationBetween("1s", "7d").prefault("60m").describe("A verification that takes longer has failed."),
});

const backup = z
  .strictObject({
    name: name.describe("The backup's name within the service."),
    engine: z
      .enum(["postgres", "mysql", "redis", "files", "command"])
      .describe("How the data is read; command is any program whose standard output is the backup."),
    command: argv.optional().describe('With engine = "command": the argv whose standard output is the backup.'),
    schedule: schedule(false).describe("`every 5h`, or a cron in UTC; its gaps must hold slo.rpo."),
    repositories: z
      .array(name)
      .min(1)
      .default(["local"])
      .describe("Where it is kept: names from fleet.toml; `local` exists without being named."),
    min_success: z.int().min(1).max(100).default(1).describe("So many repositories must hold it, or it has failed."),
    before_update: z
      .boolean()
      .default(false)
      .describe("A verified backup is made before this service is recreated; none, no rollout."),
    retention,
    verify: verify.optional().describe("Restores the newest backup to prove that it can be."),
  })
  .superRefine((entry, ctx) => {
    if ((entry.engine === "command") !== (entry.command !== undefined)) {
      ctx.addIssue({
        code: "custom",
        path: ["command"],
        message: 'command goes with engine = "command", and only with it',
        params: { hint: 'write command = ["program", "argument"] for that engine, or leave it out' },
      });
    }
    if (entry.min_success > entry.repositories.length) {
      ctx.addIssue({
        code: "custom",
        path: ["min_success"],
        message: `min_success is ${entry.min_success}, with ${entry.repositories.length} repositories`,
        params: { hint: "write at most the number of repositories" },
      });
    }
  });

export const backups = z.array(backup).default([]).describe("Backups of what this service keeps.");

export const backupNone = z.strictObject({
  none: lineOfText(1_000)
    .refine((text) => text.length >= 4, "give the reason in a few words")
    .describe("Why losing these volumes is fine."),
});
