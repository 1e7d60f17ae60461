// What is known of secrets without a single value: kinds, versions, ages. Made by agent/secrets, read by desired/.

/**
 * What is known of one path. A version is a digest that only this host can compute: it tells that a value has changed,
 * and nothing of the value.
 */
export type SecretFact =
  /** The provider said so at the last reading. */
  | { kind: "value"; version: string; readMs: number }
  /** The provider cannot be asked; this is what it said last. */
  | { kind: "cached"; version: string; readMs: number; reason: string }
  /** It is being asked for the first time since the agent started. */
  | { kind: "pending" }
  | { kind: "unavailable" | "denied" | "not-found"; reason: string };

/** Everything that desired state needs to know of secrets. Another object means that something has changed. */
export interface SecretFacts {
  /** What kind of provider there is, if any: what a server holds is not there before the server is. */
  provider: "none" | "file" | "server";
  /** Undefined where a path was never asked for. */
  look(path: string): SecretFact | undefined;
  /** True when the value of this version is at hand. */
  holds(path: string, version: string): boolean;
  /** Whether a value, or one variable of a bootstrap file, matches a pattern; undefined where it is not at hand. */
  matches(name: { path: string; version: string; variable?: string }, pattern: RegExp): boolean | undefined;
  /** The variables of a bootstrap file by name; none where it is not at hand. */
  listVariables(path: string, version: string): readonly string[];
}

/** A path and a version of its value, as steps and specs name it. */
export function nameVersion(path: string, version: string): string {
  return `${path}@${version}`;
}

/** Takes a name apart again. */
export function splitVersion(name: string): { path: string; version: string } {
  const at = name.lastIndexOf("@");
  return at === -1 ? { path: name, version: "" } : { path: name.slice(0, at), version: name.slice(at + 1) };
}

/** The version of every value in a trial: it is random, and its change means nothing. */
export const STAND_IN_VERSION = "stand-in";

/** The facts of a trial: every path has a value. */
export const STAND_IN_FACTS: SecretFacts = {
  provider: "file",
  look: () => ({ kind: "value", version: STAND_IN_VERSION, readMs: 0 }),
  holds: () => true,
  matches: () => undefined,
  listVariables: () => [],
};

/** Where a container sees its secret files. */
export const SECRETS_DIRECTORY = "/run/secrets";

const SECRET_HASH = "secret:";

/** What stands in place of a content hash for a secret file: its path and version. */
export function nameSecretHash(path: string, version: string): string {
  return `${SECRET_HASH}${nameVersion(path, version)}`;
}

/** Takes such a name apart; undefined for the hash of any other file. */
export function readSecretHash(hash: string): { path: string; version: string } | undefined {
  return hash.startsWith(SECRET_HASH) ? splitVersion(hash.slice(SECRET_HASH.length)) : undefined;
}
