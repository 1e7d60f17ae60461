// The values that are at hand, by path and version, and those that are gone but may still be printed by what runs with them. Only the
// keeper has one.

import { createHmac } from "node:crypto";

import type { Secret } from "../../../shared/secret/secret.ts";
import { nameVersion } from "../../../shared/secret/secret-facts.ts";
import { isBootstrap, readBootstrapVariables } from "../bootstrap-file.ts";
import type { KeptSecret } from "./seal.ts";

/** Older values of one path that are kept although nothing names them: a change may be taken back. */
const KEPT_VERSIONS = 3;

/** What a program could print of a value: of a bootstrap file its single variables. */
function listShowable({ path, value }: KeptSecret): string[] {
  return isBootstrap(path) ? Object.values(readBootstrapVariables(value)) : [value.expose()];
}

const DIGEST_DIGITS = 16;

/** The version of a value: a keyed digest, which says nothing of it. */
export function digestValue(key: Buffer, path: string, value: Secret): string {
  return createHmac("sha256", key).update(`${path}\0${value.expose()}`).digest("hex").slice(0, DIGEST_DIGITS);
}

/** The values of one node. */
export class KeptValues {
  /** Path → values, newest first. */
  #kept = new Map<string, KeptSecret[]>();
  /** Those that were read since this agent began; what was sealed before has its time from another clock. */
  readonly #readHere = new WeakSet<KeptSecret>();
  readonly #spent = new Map<string, readonly string[]>();

  /** Takes over what was sealed. */
  load(kept: readonly KeptSecret[]): void {
    this.#kept = Map.groupBy(kept, (entry) => entry.path);
  }

  /** True where there is none. */
  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  find(path: string, version: string): Secret | undefined {
    return this.#kept.get(path)?.find((entry) => entry.version === version)?.value;
  }

  /** The newest value of a path. */
  findNewest(path: string): KeptSecret | undefined {
    return this.#kept.get(path)?.[0];
  }

  /** Takes a value that was read; older ones stay where something runs with them, and a few besides. */
  put(entry: KeptSecret, inUse: ReadonlySet<string>): void {
    const { path, version, readMs } = entry;
    const known = this.#kept.get(path) ?? [];
    const same = known.find((other) => other.version === version);
    const dated = { ...entry, sinceMs: same?.sinceMs ?? same?.readMs ?? readMs };
    const others = known.filter((other) => other.version !== version);
    const kept = others.filter(
      (other, index) => index < KEPT_VERSIONS - 1 || inUse.has(nameVersion(path, other.version)),
    );
    this.#kept.set(path, [dated, ...kept]);
    this.#readHere.add(dated);
    this.#spent.delete(path);
  }

  /** What was read is as old as it was, also where the wall clock was set since: its time moves along. */
  move(stepMs: number): void {
    for (const [path, entries] of this.#kept) {
      const moved = entries.map((entry) =>
        this.#readHere.has(entry) ? { ...entry, readMs: entry.readMs + stepMs } : entry,
      );
      for (const [index, entry] of entries.entries())
        if (this.#readHere.has(entry)) this.#readHere.add(moved[index] ?? entry);
      this.#kept.set(path, moved);
    }
  }

  /** Its values are gone: what was revoked must not come back. */
  end(path: string): void {
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    this.#spent.set(path, kept.flatMap(listShowable));
    this.#kept.delete(path);
  }

  /** What nothing wants and nothing runs with is not kept. */
  forget(wanted: ReadonlySet<string>, inUse: ReadonlySet<string>): void {
    for (const [path, entries] of this.#kept) {
      if (wanted.has(path) || entries.some((entry) => inUse.has(nameVersion(path, entry.version)))) continue;
      this.#kept.delete(path);
    }
    for (const path of this.#spent.keys()) if (!wanted.has(path)) this.#spent.delete(path);
  }

  /** What is to be sealed: a bootstrap file lies on this host anyway. */
  listSealed(): KeptSecret[] {
    return [...this.#kept.values()].flat().filter((entry) => !isBootstrap(entry.path));
  }

  /** Every text that must not be shown. */
  listHidden(): string[] {
    return [...[...this.#kept.values()].flat().flatMap(listShowable), ...[...this.#spent.values()].flat()];
  }
}
