// What a service waits for: a service on this node, a service on another node, or an endpoint that this node probes.
// Used by the manifest schema, lint, the dependency graph and the start gate.

import * as z from "zod";

import { quoteText } from "../text/problem.ts";
import { durationBetween, isName, refuseValue } from "../text/schema-leaf.ts";

/** What is waited for. `node` is undefined for a service of the same node. */
export type RequirementTarget =
  | { kind: "service"; node: string | undefined; service: string }
  | { kind: "endpoint"; url: string };

/** One entry of `requires`: after `expiresMs` of waiting, `then` decides. */
export interface Requirement {
  target: RequirementTarget;
  expiresMs: number | undefined;
  then: "start" | "fail";
}

/**
 * Parses what a requirement names: `service`, `node/service`, `https://host/path`, `http://…` or `tcp://host:port`.
 * @returns the target, or a text that says what is wrong
 */
function parseRequirementTarget(text: string): RequirementTarget | string {
  if (text.includes("://")) return parseEndpoint(text);
  const parts = text.split("/");
  if (parts.length > 2 || !parts.every(isName)) return `${quoteText(text)} names no service, node/service or endpoint`;
  const [first = "", second] = parts;
  return second === undefined
    ? { kind: "service", node: undefined, service: first }
    : { kind: "service", node: first, service: second };
}

function parseEndpoint(text: string): RequirementTarget | string {
  // Before anything is shown: what stands before an @ may be a password.
  if (text.includes("@")) return "an endpoint holds no user and no password";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === "") return `${quoteText(text)} is not an endpoint`;
  if (url.protocol === "tcp:") {
    return url.port === "" ? `${quoteText(text)} names no port` : { kind: "endpoint", url: text };
  }
  return url.protocol === "http:" || url.protocol === "https:"
    ? { kind: "endpoint", url: text }
    : `${quoteText(url.protocol)} cannot be probed`;
}

/** The text a target is written as. */
export function describeTarget(target: RequirementTarget): string {
  if (target.kind === "endpoint") return target.url;
  return target.node === undefined ? target.service : `${target.node}/${target.service}`;
}

const targetText = z.string().transform((text, ctx): RequirementTarget => {
  const target = parseRequirementTarget(text);
  if (typeof target === "string") {
    refuseValue(ctx, target, 'write "service", "node/service", "https://host/path" or "tcp://host:port"');
    return z.NEVER;
  }
  return target;
});

const requirementTable = z.strictObject({
  on: targetText.describe("What is waited for, as in the short form."),
  expires: durationBetween("0s", "365d").optional().describe("How long this start waits before `then` decides."),
  // eslint-disable-next-line unicorn/no-thenable -- `then` is the contract's name; the parsed value has it as plain data
  then: z.enum(["start", "fail"]).default("fail").describe("What happens when it expires."),
});

/** One entry of `requires`. */
export const requirement = z
  .union([targetText, requirementTable])
  .transform((entry): Requirement =>
    "kind" in entry
      ? { target: entry, expiresMs: undefined, then: "fail" }
      : { target: entry.on, expiresMs: entry.expires, then: entry.then },
  );

/** One entry of `wants`. */
export const want = targetText;
