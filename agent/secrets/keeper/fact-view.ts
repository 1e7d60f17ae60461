// From what the keeper knows to what the rest of the agent may know of it: kinds, versions and ages, never a value. Only the keeper uses it.

import { describeSecretTime } from "../../../shared/secret/secret-refusal.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { SecretFact, SecretFacts, SecretRefusal } from "../../../shared/secret/secret-facts.ts";
import type { SecretAnswer, SecretProvider } from "../../../shared/secret/secret-provider.ts";
import { isBootstrap, readBootstrapVariables } from "../bootstrap-file.ts";
import { tryTemplate } from "./template-trial.ts";

/** An answer without its value. */
export type Known = Exclude<SecretAnswer, { kind: "value" }> | { kind: "value"; version: string };

/** What is known of one path. */
export interface KnownPath {
  /** Undefined where it was not asked for since the agent started. */
  answer: Known | undefined;
  /** The newest value that is at hand. */
  newest: { version: string; readMs: number } | undefined;
  refusal: SecretRefusal | undefined;
}

/** What ages are judged by. */
interface Ages {
  nowMs: number;
  maxStaleMs: number;
}

/** Builds the facts; they stay as they are while the keeper goes on. */
export function buildFacts(
  provider: SecretProvider | undefined,
  known: ReadonlyMap<string, SecretFact>,
  find: (path: string, version: string) => Secret | undefined,
): SecretFacts {
  return {
    provider: describeProvider(provider),
    look: (path) => known.get(path),
    holds: (path, version) => find(path, version) !== undefined,
    matches: ({ path, version, variable }, pattern) => {
      const value = find(path, version);
      if (value === undefined) return undefined;
      if (variable === undefined) return pattern.test(value.expose());
      return pattern.test(readBootstrapVariables(value)[variable] ?? "");
    },
    listVariables: (path, version) => {
      const value = isBootstrap(path) ? find(path, version) : undefined;
      return value === undefined ? [] : Object.keys(readBootstrapVariables(value));
    },
    tryTemplate: (trial) => tryTemplate(trial, find),
  };
}

function describeProvider(provider: SecretProvider | undefined): SecretFacts["provider"] {
  if (provider === undefined) return "none";
  return provider.kind === "infisical" ? "server" : "file";
}

/** Describes one path. */
export function describeFact({ answer, newest, refusal }: KnownPath, ages: Ages): SecretFact {
  const refused = refusal === undefined ? {} : { refusal };
  if (answer === undefined) return { kind: "pending", ...refused };
  if (answer.kind === "value") return { ...answer, readMs: newest?.readMs ?? 0 };
  if (refusal?.ended === true) return { kind: refusal.kind, reason: refusal.reason, refusal };
  const reason = refusal?.reason ?? answer.reason;
  if (newest === undefined || (answer.kind !== "unavailable" && refusal === undefined))
    return { kind: answer.kind, reason: answer.reason, ...refused };
  const ageMs = ages.nowMs - newest.readMs;
  if (ageMs <= ages.maxStaleMs)
    return { kind: "cached", version: newest.version, readMs: newest.readMs, reason, ...refused };
  const limit = describeDuration(ages.maxStaleMs);
  // A moment and no age: the text stays the same.
  const since = describeSecretTime(newest.readMs);
  const old = `${reason}; its last value was read at ${since}, longer ago than the ${limit} allowed`;
  return { kind: "unavailable", reason: old, ...refused };
}
