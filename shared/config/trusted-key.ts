// A key whose signatures on commits and tags count, and for what: `source.git.trusted_keys` of agent.toml. Pure.

import * as z from "zod";

import { isName } from "../text/schema-leaf.ts";
import { parseSshKey } from "../fleet/ssh-key.ts";

/** Every node; for the forge's own merge key. */
const EVERY_NODE = "*";

/** A key that is trusted. */
export interface TrustedKey {
  /** Type and base64. */
  line: string;
  fingerprint: string;
  /** Whose it is, for people. */
  name: string | undefined;
  /** The nodes whose directories it may change. */
  nodes: readonly string[];
  /** True where it may change what is guarded of fleet.toml. */
  fleet: boolean;
}

/** Reads the keys whose signatures count; undefined where none are asked for. Throws where that cannot be told. */
export type ReadKeys = () => Promise<readonly TrustedKey[] | undefined>;

/** A public key's line in a file of the host. */
export const publicSshKey = z.string().transform((text, ctx) => {
  const parsed = parseSshKey(text);
  if (typeof parsed !== "string") return parsed;
  const hint = 'write the line of the .pub file: "ssh-ed25519 AAAA…"';
  ctx.addIssue({ code: "custom", message: `this is not a public SSH key: ${parsed}`, params: { hint } });
  return z.NEVER;
});

const nodeName = z.string().superRefine((text, ctx) => {
  if (text === EVERY_NODE || isName(text)) return;
  const hint = 'write the directory below manifests/, such as "vm-edge", or "*" for all';
  ctx.addIssue({ code: "custom", message: `${JSON.stringify(text)} is not a node's name`, params: { hint } });
});

const trustedKey = z
  .strictObject({
    key: publicSshKey.describe("The public key's line, as in its .pub file."),
    name: z.string().min(1).max(80).optional().describe("Whose it is, shown beside the fingerprint."),
    nodes: z.array(nodeName).default([]).describe('The nodes whose directories it may change; "*" for all.'),
    fleet: z.boolean().default(false).describe("It may change what is guarded of fleet.toml."),
  })
  .superRefine(({ nodes, fleet }, ctx) => {
    if (nodes.length > 0 || fleet) return;
    const hint = 'write nodes = ["vm-edge"], or fleet = true';
    ctx.addIssue({ code: "custom", message: "this key is allowed nothing", params: { hint } });
  })
  .transform(({ key, name, nodes, fleet }): TrustedKey => ({ ...key, name, nodes, fleet }));

/** The list in agent.toml; a key stands in it once. */
export const trustedKeysSchema = z
  .array(trustedKey)
  .min(1, "list the keys whose signatures count, or leave trusted_keys out")
  .superRefine((keys, ctx) => {
    const seen = new Set<string>();
    for (const [index, { fingerprint }] of keys.entries()) {
      if (seen.has(fingerprint)) {
        const hint = "give it all its nodes in one entry";
        ctx.addIssue({
          code: "custom",
          path: [index, "key"],
          params: { hint },
          message: `${fingerprint} is listed already`,
        });
      }
      seen.add(fingerprint);
    }
  });

/** How people are told of a key. */
export function describeKey({ fingerprint, name }: Pick<TrustedKey, "fingerprint" | "name">): string {
  return name === undefined ? fingerprint : `${fingerprint} (${name})`;
}

/** True for a key that may change a node's directory. */
export function mayChangeNode({ nodes }: TrustedKey, node: string): boolean {
  return nodes.includes(node) || nodes.includes(EVERY_NODE);
}
