// What the audit log says of a bundle: who looked at which one, by which key it is, and what came of it. Pure. Made by the commands; where an
// agent runs, it writes the line, since a log has one writer.

import * as z from "zod";

import type { SignedBundleFacts } from "./bundle-manifest.ts";

const text = z.string().max(2_000);

/** As it goes over the socket. */
export const evidenceSchema = z.strictObject({
  action: z.enum(["bundle-verify", "bundle-install", "bundle-undo", "bundle-export"]),
  what: z.strictObject({
    directory: text,
    bundle: text.optional(),
    createdAt: text.optional(),
    revision: text.optional(),
    /** The SHA-256 of the manifest, which holds those of all files. */
    manifest: text.optional(),
    /** The fingerprint of the key that signed it. */
    key: text.optional(),
    files: z.int().min(0).optional(),
    bytes: z.int().min(0).optional(),
  }),
  result: z.enum(["ok", "failed"]),
  message: text.optional(),
});

/** One line's worth. */
export type BundleEvidence = z.output<typeof evidenceSchema>;

/** Builds it from what was found. */
export function buildEvidence(
  action: BundleEvidence["action"],
  found: { directory: string; signed: SignedBundleFacts | undefined; faults: readonly string[] },
): BundleEvidence {
  const { directory, signed, faults } = found;
  const facts =
    signed === undefined
      ? {}
      : {
          bundle: signed.manifest.bundle_id,
          createdAt: signed.manifest.created_at,
          revision: signed.manifest.revision,
          manifest: signed.mark.sha256,
          key: signed.key.fingerprint,
        };
  const what = { directory: directory.slice(0, 1_000), ...facts };
  if (faults.length === 0) return { action, what, result: "ok" };
  return { action, what, result: "failed", message: faults.join("; ").slice(0, 2_000).toWellFormed() };
}
