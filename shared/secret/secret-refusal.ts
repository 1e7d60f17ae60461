// Secrets that a provider does not give: how they are kept, and the same words for them in desired state, status and doctor. Pure.

import { describeDuration } from "../text/duration.ts";
import type { SecretFact, SecretRefusal, SecretTrouble } from "./secret-facts.ts";

/** What is said of secrets that a service was given, and that the provider refuses now. Moments and no ages: the text stays the same. */
export function describeRefusals(refusals: readonly SecretRefusal[]): string {
  return refusals.map(describeRefusal).join("; ");
}

function describeRefusal({ path, kind, reason, sinceMs, readMs, untilMs, ended }: SecretRefusal): string {
  const use = ended
    ? `its value of ${describeSecretTime(readMs)} is gone, and nothing starts with it any more`
    : `its value of ${describeSecretTime(readMs)} is used until ${describeSecretTime(untilMs)} at least, and then gone`;
  return `the secret ${path} ${describeSecretKind(kind)} since ${describeSecretTime(sinceMs)}: ${reason}; ${use}`;
}

/** What is said while the provider gives nothing, with the age of that. */
export function describeSecretTrouble(trouble: SecretTrouble, nowMs: number): string {
  const { location, reason, sinceMs, retryMs } = trouble;
  const next = retryMs === undefined ? "" : `; next try in ${describeDuration(Math.max(0, retryMs - nowMs))}`;
  const age = describeDuration(Math.max(0, nowMs - sinceMs));
  return `secrets: ${location} cannot be asked for ${age}: ${reason}; what was known before is used${next}`;
}

/** A moment in UTC, to the second; one that no calendar has (a damaged record) is the epoch. */
export function describeSecretTime(ms: number): string {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return describeSecretTime(0);
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** An answer that is no value, in words. */
export function describeSecretKind(kind: Extract<SecretFact["kind"], "unavailable" | "denied" | "not-found">): string {
  if (kind === "unavailable") return "cannot be read now";
  return kind === "denied" ? "is denied" : "is not there";
}

/** Reads them from the file of sealed values, where they lie in clear; what does not look like one is left out. */
export function parseRefusals(text: string): SecretRefusal[] {
  const { refusals } = JSON.parse(text) as { refusals?: unknown };
  return Array.isArray(refusals) ? refusals.filter(isRefusal) : [];
}

function isRefusal(entry: unknown): entry is SecretRefusal {
  const { path, kind, reason, sinceMs, readMs, untilMs, ended } = (entry ?? {}) as Record<string, unknown>;
  const isText = typeof path === "string" && typeof reason === "string" && (kind === "denied" || kind === "not-found");
  return isText && [sinceMs, readMs, untilMs].every((at) => typeof at === "number") && typeof ended === "boolean";
}
