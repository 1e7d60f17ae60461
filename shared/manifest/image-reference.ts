// Image references in Docker's grammar: `[registry/]repository[:tag][@sha256:digest]`.
// Used by the manifest schema, policy and the pull step.

import { quoteText } from "../text/problem.ts";

/** The parts of an image reference; `registry` is `docker.io` where the text names none. */
export interface ImageReference {
  registry: string;
  repository: string;
  tag: string | undefined;
  digest: string | undefined;
}

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const REGISTRY =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::\d+)?$/;

/**
 * Parses an image reference after the distribution project's grammar
 * (https://github.com/distribution/reference: the first part is a registry when it holds `.` or `:` or is `localhost`).
 * @returns the parts, or a text that says what is wrong
 */
export function parseImageReference(text: string): ImageReference | string {
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) return "the digest is not sha256: and 64 hex digits";
  const named = at === -1 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) return `${quoteText(tag)} is not a tag`;
  const path = hasTag ? named.slice(0, colon) : named;
  const slash = path.indexOf("/");
  const first = slash === -1 ? "" : path.slice(0, slash);
  const hasRegistry = first.includes(".") || first.includes(":") || first === "localhost";
  const registry = hasRegistry ? first : "docker.io";
  if (!REGISTRY.test(registry)) return `${quoteText(registry)} is not a registry's host`;
  const rest = hasRegistry ? path.slice(slash + 1) : path;
  if (!NAME.test(rest))
    return rest === "" ? "it names no image" : "the name may hold lower-case letters, digits, and . _ - / between them";
  const repository = registry === "docker.io" && !rest.includes("/") ? `library/${rest}` : rest;
  return { registry, repository, tag, digest };
}

/** True when a reference can never name another image tomorrow. */
export function isPinned(reference: ImageReference): boolean {
  return reference.digest !== undefined;
}
