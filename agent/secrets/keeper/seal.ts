// The sealed last-known-good secrets on disk: AES-256-GCM, each value bound to its node, provider, path and version, the
// file replaced as a whole. What does not open (another key, another node, a changed byte) is as if it were not there.

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

import { makeDirectory } from "../../host/files/make-directory.ts";
import { canonicalJson } from "../../../shared/state/identity.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import type { SecretRefusal } from "../../../shared/secret/secret-facts.ts";
import { parseRefusals } from "../../../shared/secret/secret-refusal.ts";
import type { HostKey } from "./host-key.ts";

/** One value that a provider once gave. */
export interface KeptSecret {
  path: string;
  version: string;
  /** When the provider last confirmed it, in milliseconds since the epoch. */
  readMs: number;
  /** Since when this version is known here, as far as that was kept. */
  sinceMs?: number;
  value: Secret;
}

/** What a sealed value belongs to: opened elsewhere, it does not open. */
export interface SealPlace {
  node: string;
  provider: string;
}

interface SealedEntry {
  path: string;
  version: string;
  readMs: number;
  /** For people alone: not bound to the value. */
  sinceMs?: number;
  /** Nonce, ciphertext and tag, in base64. */
  sealed: string;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const FORMAT = 1;

/** The sealed file of one agent. */
export class SealedFile {
  readonly #path: string;
  readonly #key: Buffer;
  readonly #place: SealPlace;

  constructor(path: string, key: HostKey, place: SealPlace) {
    this.#path = path;
    this.#key = key.derive("secret cache");
    this.#place = place;
  }

  /** Opens every entry that is this node's; `lost` counts those that do not open. Refusals hold no value, and lie beside them as they are. */
  async load(): Promise<{ kept: KeptSecret[]; lost: number; refusals?: SecretRefusal[] }> {
    const text = await readFile(this.#path, "utf8").catch(() => undefined);
    if (text === undefined) return { kept: [], lost: 0 };
    const entries = parseEntries(text);
    if (entries === undefined) return { kept: [], lost: 1 };
    const kept = entries.map((entry) => this.#open(entry)).filter((entry) => entry !== undefined);
    const refusals = parseRefusals(text);
    return { kept, lost: entries.length - kept.length, ...(refusals.length === 0 ? {} : { refusals }) };
  }

  /** Replaces the file; returns only when it is on disk. */
  async save(kept: readonly KeptSecret[], refusals: readonly SecretRefusal[] = []): Promise<void> {
    const entries = kept.map((entry) => this.#seal(entry));
    const text = JSON.stringify({ format: FORMAT, entries, ...(refusals.length === 0 ? {} : { refusals }) });
    await makeDirectory(dirname(this.#path), 0o700);
    const file = await open(`${this.#path}.new`, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.new`, this.#path);
  }

  #seal({ path, version, readMs, sinceMs, value }: KeptSecret): SealedEntry {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce).setAAD(this.#bind({ path, version, readMs }));
    const body = Buffer.concat([cipher.update(value.expose(), "utf8"), cipher.final()]);
    const sealed = Buffer.concat([nonce, body, cipher.getAuthTag()]).toString("base64");
    return { path, version, readMs, ...(sinceMs === undefined ? {} : { sinceMs }), sealed };
  }

  #open(entry: SealedEntry): KeptSecret | undefined {
    const { path, version, readMs, sinceMs, sealed } = entry;
    const bytes = Buffer.from(sealed, "base64");
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    try {
      const decipher = createDecipheriv("aes-256-gcm", this.#key, bytes.subarray(0, NONCE_BYTES))
        .setAAD(this.#bind(entry))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      const body = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
      const value = new Secret(Buffer.concat([decipher.update(body), decipher.final()]).toString("utf8"));
      return { path, version, readMs, ...(typeof sinceMs === "number" ? { sinceMs } : {}), value };
    } catch {
      return undefined;
    }
  }

  #bind({ path, version, readMs }: Omit<SealedEntry, "sealed">): Buffer {
    return Buffer.from(canonicalJson({ format: FORMAT, ...this.#place, path, version, readMs }));
  }
}

function parseEntries(text: string): SealedEntry[] | undefined {
  try {
    const { format, entries } = JSON.parse(text) as { format?: unknown; entries?: unknown };
    return format === FORMAT && Array.isArray(entries) ? entries.filter(isEntry) : undefined;
  } catch {
    return undefined;
  }
}

function isEntry(entry: unknown): entry is SealedEntry {
  if (typeof entry !== "object" || entry === null) return false;
  const { path, version, readMs, sealed } = entry as Record<string, unknown>;
  const texts = [path, version, sealed].every((text) => typeof text === "string");
  return texts && typeof readMs === "number";
}
