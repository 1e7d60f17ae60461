// What is known of secrets without a single value: kinds, versions, ages. Made by agent/secrets, read by desired/.

import type { Templates } from "../text/template.ts";

/** A secret that the provider refuses, although services of this node were given it. */
export interface SecretRefusal {
  path: string;
  kind: "denied" | "not-found";
  reason: string;
  /** Since when, in milliseconds since the epoch. */
  sinceMs: number;
  /** When the provider last confirmed the value that is in use. */
  readMs: number;
  /** Until then its last value starts what ran with it, at least; then it is gone. */
  untilMs: number;
  /** Its last value is gone: nothing starts with it any more. */
  ended: boolean;
}

/**
 * What is known of one path. A version is a digest that only this host can compute: it tells that a value has changed,
 * and nothing of the value.
 */
export type SecretFact =
  /** The provider said so at the last reading. */
  | { kind: "value"; version: string; readMs: number }
  /** The provider cannot be asked, or refuses it for a short time only; this is what it said last. */
  | { kind: "cached"; version: string; readMs: number; reason: string; refusal?: SecretRefusal }
  /** It is being asked for the first time since the agent started. */
  | { kind: "pending"; refusal?: SecretRefusal }
  | { kind: "unavailable" | "denied" | "not-found"; reason: string; refusal?: SecretRefusal };

/** Why the provider of secrets gives none. */
export interface SecretTrouble {
  /** The provider, for people. */
  location: string;
  reason: string;
  sinceMs: number;
  /** It answers, and refuses the login or everything: only a person can change that. */
  refused: boolean;
  /** When it is asked again; left out where only a change of what is wanted leads to that. */
  retryMs?: number;
}

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
  /** Renders a file with the values that belong into it, and judges what comes out. */
  tryTemplate(trial: TemplateTrial): TemplateVerdict;
}

/** Everything that a file with secrets in it is rendered from, but the values; kept as the file's content. */
export interface TemplateRecipe {
  text: string;
  /** What the template sees besides secrets. */
  context: object;
  /** The template's name for a secret → its path. */
  secrets: Readonly<Record<string, string>>;
}

/** A file to be rendered where the values are. */
export interface TemplateTrial {
  recipe: TemplateRecipe;
  /** Path → version. */
  versions: Readonly<Record<string, string>>;
  templates: Pick<Templates, "render">;
  /** What must not be in it. */
  forbidden: readonly RegExp[];
}

/** What is said of it; nothing of a value. */
export type TemplateVerdict =
  /** A value is not at hand. */
  | { kind: "unknown" }
  | { kind: "fails"; reason: string }
  /** The first of the forbidden patterns that it matches, where it does. */
  | { kind: "renders"; matched?: RegExp };

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
  tryTemplate: () => ({ kind: "unknown" }),
};

/** Where a container sees its secret files. */
export const SECRETS_DIRECTORY = "/run/secrets";

/** In place of an owner: whoever the container runs as, which only the engine can tell. */
export const CONTAINER_USER = "container";
/** In place of a mode: its owner alone may read, and where that is root, every process of the container. */
export const PRIVATE_MODE = "private";
