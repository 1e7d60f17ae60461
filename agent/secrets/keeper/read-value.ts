// The value of one secret for the agent's own use, such as the password that a dump connects with: what the provider said last.

import { describeSecretKind } from "../../../shared/secret/secret-refusal.ts";
import type { SecretKeeper } from "./keeper.ts";

/** The value, or why there is none. Asked when it is needed: it may have changed since. */
export function readSecretValue(
  keeper: Pick<SecretKeeper, "facts" | "find">,
  path: string,
): { value: string } | { reason: string } {
  if (keeper.facts.provider === "none") return { reason: "no provider of secrets is configured" };
  const fact = keeper.facts.look(path);
  if (fact === undefined || fact.kind === "pending") return { reason: "it is being read" };
  if (fact.kind !== "value" && fact.kind !== "cached")
    return { reason: `${describeSecretKind(fact.kind)}: ${fact.reason}` };
  const value = keeper.find(path, fact.version)?.expose();
  return value === undefined ? { reason: "its value is not at hand" } : { value };
}
