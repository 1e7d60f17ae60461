// Which version of each secret a service runs with, and whether it may start: the table of what a provider's answer means
// for a service that runs, one that starts again, and one that is new (behaviour, section 5). Pure; knows no value.

import { nameBootstrap } from "../../../shared/secret/bootstrap.ts";
import type { Objection } from "../../../shared/state/desired-state.ts";
import type { AcceptedService } from "../../../shared/state/in-force.ts";
import { type Manifest, SECRET_TABLES } from "../../../shared/manifest/manifest.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import { describeSecretTime } from "../../../shared/secret/secret-refusal.ts";
import type { SecretFact, SecretFacts, SecretRefusal } from "../../../shared/secret/secret-facts.ts";

/** What a choice depends on. */
export interface SecretInput {
  manifest: Manifest;
  facts: SecretFacts;
  /** The service as it was accepted before. */
  before: AcceptedService | undefined;
  /** True when its manifest is not the accepted one: then everything it takes must be known for certain. */
  isNew: boolean;
  /** The secrets of which it is this service's turn to take newer versions. */
  mayRotate: ReadonlySet<string>;
}

/** The versions a service runs with, or why it cannot be run as its manifest says. */
export type SecretChoice =
  | {
      kind: "chosen";
      versions: Readonly<Record<string, string>>;
      /** The secrets whose version is newer than the accepted one. */
      rotated: readonly string[];
      /** Why it must not be started; what runs goes on. */
      blocked: Reason | undefined;
      /** Secrets that the provider refuses although the service was given them. */
      refusals: readonly SecretRefusal[];
      notes: readonly string[];
    }
  | { kind: "objected"; objection: Objection };

/** Every secret that a manifest takes, a bootstrap file among them, each once and sorted. */
export function listSecretPaths({ secrets, bootstrap }: Manifest): string[] {
  const paths = SECRET_TABLES.flatMap((table) => Object.values(secrets?.[table] ?? {}));
  const files = bootstrap === undefined ? [] : [nameBootstrap(bootstrap.env_file)];
  return [...new Set([...paths, ...files])].toSorted(compareText);
}

type PathChoice = { version: string; blocked?: Reason; note?: string; refusal?: SecretRefusal } | Objection;

/** Chooses the versions for one service. */
export function chooseSecrets(input: SecretInput): SecretChoice {
  const { manifest, facts, before } = input;
  if (manifest.secrets !== undefined && facts.provider === "none") {
    return { kind: "objected", objection: { state: "refused", why: { code: "no-provider" }, problems: [] } };
  }
  const versions: Record<string, string> = {};
  const [blocks, notes]: [Reason[], string[]] = [[], []];
  const refusals: SecretRefusal[] = [];
  for (const path of listSecretPaths(manifest)) {
    const choice = choosePath(path, input);
    if ("state" in choice) return { kind: "objected", objection: choice };
    versions[path] = choice.version;
    if (choice.blocked !== undefined) blocks.push(choice.blocked);
    if (choice.note !== undefined) notes.push(choice.note);
    if (choice.refusal !== undefined) refusals.push(choice.refusal);
  }
  const rotated = Object.entries(versions).flatMap(([path, version]) => {
    const known = before?.secrets?.[path];
    return !input.isNew && known !== undefined && known !== version ? [path] : [];
  });
  return { kind: "chosen", versions, rotated, blocked: blocks[0], refusals, notes: [...new Set(notes)] };
}

function choosePath(path: string, input: SecretInput): PathChoice {
  const fact = input.facts.look(path) ?? { kind: "pending" };
  const version = input.before?.secrets?.[path];
  const isHeld = version !== undefined && input.facts.holds(path, version);
  if (fact.kind === "value") {
    const keeps = isHeld && !input.isNew && !input.mayRotate.has(path);
    return { version: keeps ? version : fact.version };
  }
  const { refusal } = fact;
  const refused = refusal === undefined ? {} : { refusal };
  if (fact.kind === "cached") {
    // What is refused is for what ran with it, and for a short time only.
    if (refusal !== undefined && (version === undefined || input.isNew))
      return objectForSecret(path, { kind: refusal.kind, reason: fact.reason });
    return { ...chooseCached(path, fact, { ...input, version, isHeld }), ...refused };
  }
  if (version === undefined || input.isNew) return objectForSecret(path, fact);
  // It is known: what runs goes on, and nothing is started.
  return { version, blocked: { code: "not-started", why: explainSecret(path, fact) }, ...refused };
}

/** The provider is down: a service that had this secret keeps it, one that had it not must wait. */
function chooseCached(
  path: string,
  fact: Extract<SecretFact, { kind: "cached" }>,
  { before, version, isHeld }: SecretInput & { version: string | undefined; isHeld: boolean },
): PathChoice {
  const note = `its secrets are as they were at ${describeSecretTime(fact.readMs)}: ${fact.reason}`;
  if (version !== undefined) return { version: isHeld ? version : fact.version, note };
  // Of a service that was accepted by an agent that did not keep versions, the last known ones are taken.
  if (before !== undefined && before.secrets === undefined) return { version: fact.version, note };
  return objectForSecret(path, { kind: "unavailable", reason: fact.reason });
}

function objectForSecret(path: string, fact: Exclude<SecretFact, { kind: "value" | "cached" }>): Objection {
  const mayCome = fact.kind === "pending" || fact.kind === "unavailable";
  return { state: mayCome ? "waiting" : "refused", why: explainSecret(path, fact), problems: [] };
}

function explainSecret(path: string, fact: Exclude<SecretFact, { kind: "value" | "cached" }>): Reason {
  return fact.kind === "pending"
    ? { code: "secret-pending", path }
    : { code: "secret-missing", path, kind: fact.kind, message: fact.reason };
}
