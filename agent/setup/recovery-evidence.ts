// What the audit log says of an escrow that was made and of a spare that took a place. Pure. Made by the commands; where an agent runs, it
// writes the line, since a log has one writer. No key and no content of a file is in it.

import * as z from "zod";

import { name } from "../../shared/text/schema-leaf.ts";

const text = z.string().max(1_000);

/** As it goes over the socket. */
export const recoveryEvidenceSchema = z.discriminatedUnion("action", [
  z.strictObject({
    action: z.literal("escrow-create"),
    what: z.strictObject({
      node: name,
      /** The file that was made. */
      file: text,
      /** Whose keys open it. */
      recipients: z.array(text).max(100),
      files: z.int().min(0),
      term: z.int().min(0),
    }),
    result: z.literal("ok"),
  }),
  z.strictObject({
    action: z.literal("recover"),
    what: z.strictObject({
      node: name,
      spare: name,
      address: text,
      term: z.int().min(1),
      /** The escrow, and where the manifests came from. */
      escrow: text,
      origin: z.enum(["bundle", "manifests"]),
      from: text,
    }),
    result: z.literal("ok"),
  }),
]);

/** One line's worth. */
export type RecoveryEvidence = z.output<typeof recoveryEvidenceSchema>;
