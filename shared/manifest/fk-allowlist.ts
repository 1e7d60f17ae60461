// The file that `verify.fk_allowlist` names: foreign keys of which rows without a parent are no finding, each with somebody who answers
// for it and a day on which it ends. Read by desired/ into a plan, and by lint.

import * as z from "zod";

import { lineOfText } from "../text/schema-leaf.ts";
import { describePath } from "../text/problem.ts";
import { readToml } from "../text/read-toml.ts";
import type { AllowedOrphan } from "../state/backup.ts";

const column = z
  .string()
  .regex(/^[^.,\s]{1,63}\.[^.,\s]{1,63}\.[^.,\s]{1,63}(?:,[^.,\s]{1,63})*$/, 'write "schema.table.column"')
  .max(500);

const DAY_MS = 86_400_000;
const day = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}$/, 'write a day in quotes: "2027-06-30"')
  .refine(
    (text) => !Number.isNaN(Date.parse(text)) && new Date(text).toISOString().startsWith(text),
    "there is no such day",
  );

const schema = z.strictObject({
  allow: z
    .array(
      z.strictObject({
        from: column.describe("The column that points; commas between several."),
        to: column.describe("The column that it points to."),
        owner: lineOfText(200).describe("Who answers for it."),
        expires: day.describe("The last day on which it counts, in UTC."),
        reason: lineOfText(1_000).optional().describe("Why it is so."),
      }),
    )
    .max(1_000)
    .default([]),
});

const BOUNDS = { depth: 8, values: 10_000 };

/** What the file allows, or what is wrong with it. Never throws. */
export function readAllowlist(text: string): AllowedOrphan[] | string {
  const read = readToml(text, BOUNDS);
  if (!read.ok) return `line ${read.fault.line}: ${read.fault.message}`;
  const parsed = schema.safeParse(read.raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return issue === undefined
      ? "it cannot be read"
      : `${describePath(issue.path.map((part) => (typeof part === "number" ? part : String(part))))}: ${issue.message}`;
  }
  return parsed.data.allow.map(({ from, to, owner, expires }) => ({
    from,
    to,
    owner,
    expiresMs: Date.parse(expires) + DAY_MS,
  }));
}
