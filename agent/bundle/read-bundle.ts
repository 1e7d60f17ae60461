// Reads a bundle and refuses it by name: the signature first, then the list, then every byte. Nothing of a bundle is believed before its
// manifest's signature was found good by a key of the host's policy.

import { createHash } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import type { SshKey } from "../../shared/fleet/ssh-key.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import { findSigner, isPlainArmor } from "./bundle-signature.ts";
import { type OnBytes, sumFile } from "./copy-stream.ts";
import { type BundleFault, type FoundEntry, type InstalledMark, judgeListing } from "./core/bundle-fault.ts";
import {
  type BundleManifest,
  LARGEST_MANIFEST_BYTES,
  listBundleFiles,
  MANIFEST_NAME,
  parseBundleManifest,
  SIGNATURE_NAME,
} from "./core/bundle-manifest.ts";

/** What a bundle is judged by. */
export interface TrustedBy {
  keys: readonly SshKey[];
  /** Where the keys are from, for the message. */
  policy: string;
}

/** A bundle whose manifest is by a known key. */
export interface SignedBundle {
  directory: string;
  manifest: BundleManifest;
  key: SshKey;
  mark: InstalledMark;
}

/** What came of reading; `signed` is there where the signature is good, also with faults beside it. */
export interface BundleReading {
  signed: SignedBundle | undefined;
  faults: readonly BundleFault[];
}

const LARGEST_SIGNATURE_BYTES = 65_536;
/** Beyond that a bundle is not worth looking at further. */
const MOST_FAULTS = 100;

/** Reads the manifest and looks who has signed it. */
export async function readSigned(directory: string, { keys, policy }: TrustedBy): Promise<BundleReading> {
  const refuse = (fault: BundleFault): BundleReading => ({ signed: undefined, faults: [fault] });
  const payload = await readSmall(join(directory, MANIFEST_NAME), LARGEST_MANIFEST_BYTES);
  if (payload === undefined) return refuse({ code: "manifest-missing" });
  if (keys.length === 0) return refuse({ code: "no-keys", policy });
  const armored = (await readSmall(join(directory, SIGNATURE_NAME), LARGEST_SIGNATURE_BYTES))?.toString("latin1");
  if (armored === undefined) return refuse({ code: "unsigned" });
  if (!isPlainArmor(armored)) return refuse({ code: "signature-form" });
  const key = await findSigner(keys, { payload, armored });
  if (key === undefined)
    return refuse({ code: "signature-bad", fingerprints: keys.map(({ fingerprint }) => fingerprint) });
  const parsed = parseBundleManifest(payload.toString("utf8"));
  if (!parsed.ok) return refuse({ code: "manifest-invalid", why: parsed.why });
  const { manifest } = parsed;
  const mark = { createdAt: manifest.created_at, sha256: createHash("sha256").update(payload).digest("hex") };
  return { signed: { directory, manifest, key, mark }, faults: [] };
}

/**
 * Reads a whole bundle.
 * @param onBytes told of every piece of a listed file that was read
 */
export async function readBundle(directory: string, trust: TrustedBy, onBytes?: OnBytes): Promise<BundleReading> {
  const { signed, faults } = await readSigned(directory, trust);
  if (signed === undefined) return { signed, faults };
  const found = judgeListing(signed.manifest, await listEntries(directory));
  if (found.length > 0) return { signed, faults: found.slice(0, MOST_FAULTS) };
  const changed: BundleFault[] = [];
  for (const { path, sha256 } of listBundleFiles(signed.manifest)) {
    try {
      const sum = await sumFile(join(directory, path), onBytes);
      if (sum.sha256 !== sha256) changed.push({ code: "content", path });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      changed.push({ code: "unreadable", path, cause: code ?? readMessage(error) });
    }
    if (changed.length >= MOST_FAULTS) break;
  }
  return { signed, faults: changed };
}

/** A plain file within the limit; undefined for anything else. */
async function readSmall(path: string, mostBytes: number): Promise<Buffer | undefined> {
  const info = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  return info?.isFile() === true && info.size <= mostBytes ? readFile(path) : undefined;
}

/** Everything below a directory but directories, by relative path. */
async function listEntries(directory: string): Promise<FoundEntry[]> {
  const entries: FoundEntry[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(directory, below), { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else {
        const kind = entry.isFile() ? "file" : entry.isSymbolicLink() ? "link" : "special";
        const { size } = await lstat(join(directory, path));
        entries.push({ path, kind, size });
      }
    }
  };
  await walk("");
  return entries.toSorted((left, right) => (left.path < right.path ? -1 : 1));
}
