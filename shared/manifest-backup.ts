// The `[[backups]]` table of a manifest and `backup = { none = … }`. They validate and lint now; the engines come with
// the backups issue.

import { z } from "zod";

import { argv, imageReference, name, positiveDurationMs, relativePath, schedule, sizeBytes } from "./schema-leaf.ts";

const retention = z
  .strictObject({
    days: z.int().min(0).default(14),
    daily: z.int().min(0).default(14),
    weekly: z.int().min(0).default(4),
    monthly: z.int().min(0).default(0),
  })
  .prefault({});

const verify = z.strictObject({
  schedule: schedule(false).optional(),
  image: imageReference.optional(),
  extensions: z.array(z.string().min(1)).default([]),
  schemas: z.array(z.string().min(1)).default([]),
  queries: z.array(z.string().min(1)).default([]),
  fk_allowlist: relativePath.optional(),
  max_size: sizeBytes.optional(),
  timeout: positiveDurationMs.default(3_600_000),
});

const backup = z
  .strictObject({
    name: name.describe("The backup's name within the service."),
    engine: z.enum(["postgres", "mysql", "redis", "files", "command"]),
    command: argv.optional().describe('With engine = "command": the argv whose standard output is the backup.'),
    schedule: schedule(false),
    repositories: z.array(name).default(["local"]),
    min_success: z.int().min(1).default(1),
    before_update: z.boolean().default(false),
    retention,
    verify: verify.optional(),
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

export const backups = z.array(backup).default([]);

export const backupNone = z.strictObject({
  none: z.string().min(4, "give the reason in a few words").describe("Why losing these volumes is fine."),
});
