// The port behind which secrets are kept: a file, a server, or random values in a trial. Its answers are a closed set,
// because what the agent does hangs on the kind: unavailable is survived, denied and not found fail closed.

import type { Secret } from "./secret.ts";

/** What a provider answers for one path. */
export type SecretAnswer =
  | { kind: "value"; value: Secret }
  /** It could not be asked. `waitMs` is what it wants to be left alone for; `refused`: it is well, and a person must let this host in. */
  | { kind: "unavailable"; reason: string; waitMs?: number; refused?: boolean }
  | SecretRefused;

/** It says no: to this path, or to everything, which one answer alone does not tell. */
export interface SecretRefused {
  kind: "denied" | "not-found";
  reason: string;
  /** A listing of its folder was answered to the same login: the refusal is not one of everything. */
  listed?: boolean;
}

/** Where secret values come from. */
export interface SecretProvider {
  readonly kind: "file" | "infisical";
  /** For people, and what a sealed value is bound to: a path or URL with project and environment. */
  readonly location: string;
  /** How often it is asked, in milliseconds; undefined where it says itself when something has changed. */
  readonly pollMs: number | undefined;
  /** What people should know of how it is set up. */
  readonly notes: readonly string[];
  /**
   * One answer for each path asked for. Never throws, and always ends.
   * @param within folders outside of which nothing may be asked for, not even to spare a request; undefined: none are set
   */
  read(paths: readonly string[], within?: readonly string[]): Promise<ReadonlyMap<string, SecretAnswer>>;
  /** Begins to watch; calls back when a reading may give something new. */
  watch(onHint: () => void): void;
  close(): void;
}
