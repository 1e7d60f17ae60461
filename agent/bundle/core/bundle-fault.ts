// Why a bundle is refused: codes with fields, made by who reads one, and one place that makes a sentence of each. Pure.

import { describeCount } from "../../../shared/text/count.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import { type BundleManifest, listBundleFiles, MANIFEST_NAME, SIGNATURE_NAME } from "./bundle-manifest.ts";

/** What something in a bundle's directory is, when it is no file and no directory. */
type StrangeKind = "link" | "special";

/** One reason. `path` is relative to the bundle. */
export type BundleFault =
  | { code: "no-keys"; policy: string }
  | { code: "unsigned" }
  | { code: "signature-form" }
  | { code: "signature-bad"; fingerprints: readonly string[] }
  | { code: "manifest-missing" }
  | { code: "manifest-invalid"; why: string }
  | { code: "wrong-kind"; kind: string }
  | { code: "missing"; path: string }
  | { code: "unlisted"; path: string }
  | { code: "strange"; path: string; kind: StrangeKind }
  | { code: "unreadable"; path: string; cause: string }
  | { code: "size"; path: string; listed: number; found: number }
  | { code: "content"; path: string }
  | { code: "older"; createdAt: string; installed: string }
  | { code: "not-for-node"; node: string; nodes: readonly string[] };

/** The sentence for one: where, what, and what to do instead. */
export function describeBundleFault(fault: BundleFault): string {
  switch (fault.code) {
    case "no-keys":
      return `${fault.policy} names no key whose bundles count: write pinned.bundle_keys = ["ssh-ed25519 …"] into it (${nameHelp("bundle")})`;
    case "unsigned":
      return `${SIGNATURE_NAME} is missing: sign the bundle with orca bundle create --key FILE`;
    case "signature-form":
      return `${SIGNATURE_NAME} is not as ssh-keygen writes it: copy the bundle again`;
    case "signature-bad":
      return `${MANIFEST_NAME} or ${SIGNATURE_NAME} was changed, or neither is by a key of pinned.bundle_keys (${fault.fingerprints.join(", ")}): copy the bundle again, and ask who made it`;
    case "manifest-missing":
      return `${MANIFEST_NAME} is missing: this is no bundle, or it was not copied whole`;
    case "manifest-invalid":
      return `${MANIFEST_NAME}: ${fault.why}: it was made by another version of Orca, or by none`;
    case "wrong-kind":
      return `${MANIFEST_NAME}: this is an ${fault.kind} and no bundle: nothing is installed from it`;
    case "missing":
      return `${fault.path} is missing: copy the bundle again`;
    case "unlisted":
      return `${fault.path} is not in the bundle's list: remove it, or find out who put it there`;
    case "strange":
      return `${fault.path} is ${fault.kind === "link" ? "a link" : "no plain file"}: a bundle holds plain files alone`;
    case "unreadable":
      return `${fault.path} cannot be read: ${fault.cause}`;
    case "size":
      return `${fault.path} has ${describeCount(fault.found, "byte")} and should have ${fault.listed}: copy the bundle again`;
    case "content":
      return `${fault.path} was changed: its SHA-256 is not the listed one; copy the bundle again`;
    case "older":
      return `this bundle is from ${fault.createdAt}, and one from ${fault.installed} is installed: make a newer bundle of the commit that you want`;
    case "not-for-node":
      return `this bundle is for ${fault.nodes.join(", ")}, and this node is ${fault.node}`;
    default:
      return fault satisfies never;
  }
}

/** One entry of a bundle's directory, as found. */
export interface FoundEntry {
  path: string;
  kind: "file" | StrangeKind;
  /** In bytes. */
  size: number;
}

/** Compares what lies there with what is listed, before any content is read. */
export function judgeListing(manifest: BundleManifest, found: readonly FoundEntry[]): BundleFault[] {
  const faults: BundleFault[] = [];
  const byPath = new Map(found.map((entry) => [entry.path, entry]));
  const listed = listBundleFiles(manifest);
  for (const { path, size } of listed) {
    const entry = byPath.get(path);
    if (entry === undefined) faults.push({ code: "missing", path });
    else if (entry.kind === "file" && entry.size !== size)
      faults.push({ code: "size", path, listed: size, found: entry.size });
  }
  const known = new Set([...listed.map(({ path }) => path), MANIFEST_NAME, SIGNATURE_NAME]);
  for (const { path, kind } of found) {
    if (kind !== "file") faults.push({ code: "strange", path, kind });
    else if (!known.has(path)) faults.push({ code: "unlisted", path });
  }
  return faults;
}

/** A bundle that was installed before. */
export interface InstalledMark {
  createdAt: string;
  /** Of its manifest. */
  sha256: string;
}

/** Refuses one that is not newer than what is installed; the same one again is fine. */
export function judgeAge(own: InstalledMark, newest: InstalledMark | undefined): BundleFault[] {
  if (newest === undefined || own.sha256 === newest.sha256 || own.createdAt > newest.createdAt) return [];
  return [{ code: "older", createdAt: own.createdAt, installed: newest.createdAt }];
}
