// The signature over a bundle's manifest. The keys come from the host's policy, never from the bundle.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { SshKey } from "../../shared/fleet/ssh-key.ts";
import { SignatureCheck } from "../host/os/ssh-keygen.ts";
import { BUNDLE_NAMESPACE } from "./core/bundle-manifest.ts";

/** As ssh-keygen wraps its base64. */
const LINE_LENGTH = 70;
const [BEGIN, END] = ["-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"];

/** True for exactly what ssh-keygen writes: its reader also takes other spaces, bits and lines, which then nobody has signed. */
export function isPlainArmor(text: string): boolean {
  const base64 = text.slice(BEGIN.length, -END.length).replaceAll("\n", "");
  const lines =
    Buffer.from(base64, "base64")
      .toString("base64")
      .match(new RegExp(`.{1,${LINE_LENGTH}}`, "g")) ?? [];
  return text === `${[BEGIN, ...lines, END].join("\n")}\n`;
}

/**
 * Finds which of the keys has signed.
 * @returns undefined where none has; throws where ssh-keygen cannot be asked
 */
export async function findSigner(
  keys: readonly SshKey[],
  { payload, armored }: { payload: Uint8Array; armored: string },
): Promise<SshKey | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "orca-bundle-keys-"));
  try {
    const check = await SignatureCheck.open(directory);
    for (const key of keys)
      if (await check.verify({ key: key.line, namespace: BUNDLE_NAMESPACE, armored, payload })) return key;
    return undefined;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
