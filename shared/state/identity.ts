// What makes a thing Orca's: labels, names, and the hash that says "the same". Contract, section 5.
// Everything here is pure; the hash of a spec must never depend on key order, process or Node version.

import { createHash } from "node:crypto";

import canonicalize from "canonicalize";

/** The labels on every container, network and volume that Orca makes. `revision` informs and is never compared. */
export const LABEL = {
  node: "orca.node",
  service: "orca.service",
  spec: "orca.spec",
  revision: "orca.revision",
  /** On a volume that a restore has made: the volume of a manifest that it is a later generation of. */
  volume: "orca.volume",
  /** On a volume that begins empty with each release: the name that manifests give it. */
  ephemeral: "orca.ephemeral",
  /** The front that a container stands behind. */
  front: "orca.front",
  /** On a container whose image its engine knows by an id alone: the reference that its manifest has for it. */
  image: "orca.image",
} as const;

/**
 * The current prefix of spec hashes. A hash with an older prefix is compared by the rules of that prefix; one with a later prefix
 * cannot be compared, and its container stays. A version may write a new prefix only once it is there for good: the one before
 * it, gone back to, would take each such container for one that it cannot judge.
 */
const SPEC_VERSION = 1;

declare const own: unique symbol;

/**
 * The id of a container that carries this node's own label. Only `claimContainer` and the creation of a container give one,
 * so a step cannot name a container that belongs to someone else.
 */
export type OwnContainerId = string & { readonly [own]: true };

/**
 * Claims a container by its labels.
 * @returns the id as this node's own, or undefined when the labels say it is not
 */
export function claimContainer(
  id: string,
  labels: Readonly<Record<string, string>>,
  node: string,
): OwnContainerId | undefined {
  const service = labels[LABEL.service];
  return labels[LABEL.node] === node && service !== undefined && service !== "" ? (id as OwnContainerId) : undefined;
}

/** Canonical JSON (RFC 8785): the same text for the same data, whatever the order of its keys. */
export function canonicalJson(value: unknown): string {
  return canonicalize(value) ?? "null";
}

/** SHA-256 of a text or bytes, in hex. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** The hash of a recreate group, as the label `orca.spec` holds it: `v1:` and 64 hex digits. */
export function hashSpec(recreateGroup: object): string {
  return `v${SPEC_VERSION}:${sha256(canonicalJson(recreateGroup))}`;
}

/** True for the hash of a later version's rules. */
export function isLaterSpec(specHash: string): boolean {
  const [, version] = /^v(\d{1,9}):/.exec(specHash) ?? [];
  return version !== undefined && Number(version) > SPEC_VERSION;
}

/** The name of a container: `orca-<node>-<service>-<first 8 hex digits of the spec hash>`. */
export function nameContainer(node: string, service: string, specHash: string): string {
  return `orca-${node}-${service}-${specHash.replace(/^v\d+:/, "").slice(0, 8)}`;
}

/** The name of a node's container network. */
export function nameNetwork(node: string): string {
  return `orca-${node}`;
}

/**
 * A fraction in [0, 1) that is always the same for the same key: jitter that needs no random source, so that a plan stays
 * a pure function and two services still do not move in step.
 */
export function jitterFraction(key: string): number {
  return Number.parseInt(sha256(key).slice(0, 12), 16) / 2 ** 48;
}

/** The volume that one release has of an ephemeral volume. The digest is of hex digits, and names the release. */
export function nameReleaseVolume(base: string, digest: string): string {
  return `${base}.e-${digest}`;
}

/** Whether a volume is what some release has, or had, of that ephemeral volume. */
export function isReleaseVolume(name: string, base: string): boolean {
  return name.startsWith(`${base}.e-`) && /^[0-9a-f]+$/.test(name.slice(base.length + 3));
}
