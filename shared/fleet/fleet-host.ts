// What every VM of a fleet is set up with, the table [host] of fleet.toml: for `orca cloud-init` and `orca firewall`, which a person runs.
// No agent acts on it, so no commit changes a machine by it. Nothing secret stands in it.

import * as z from "zod";

import { parseSshKey } from "./ssh-key.ts";
import { ipAddress, ipNetwork, name, portNumber } from "../text/schema-leaf.ts";

/** Names that `from` and `ssh` may use without their being in `networks`. */
const KNOWN_NETWORKS = ["any", "fleet"] as const;

const hostName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/, 'write "git.example.com"');

/** Curl's words are in a script of the VM's: nothing that a shell or a URL would take for more than a path. */
const packageUrl = z
  .string()
  .max(500)
  .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+\/[A-Za-z0-9._~/+{}-]+\.deb$/, 'write "https://…/orca_{version}_{arch}.deb"')
  .refine(
    (text) => !/[{}]/.test(text.replaceAll(/\{(?:arch|version)\}/g, "")),
    "only {version} and {arch} stand for something",
  );

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "write 64 hex digits");

const sourceUrl = z
  .url({ protocol: /^https?$/ })
  .refine(
    (text) => !/^https?:\/\/[^/]*@|[?#]/.test(text),
    "a repository's URL has no user, password, query or fragment",
  );

/** A network by name, or written out. */
const from = z.union([ipNetwork, name]);

const opening = z.strictObject({
  port: portNumber.describe("As it is called from outside, before Docker's translation."),
  protocol: z.enum(["tcp", "udp"]).default("tcp"),
  from: z.array(from).min(1).describe('Networks by name or written out; "fleet" for the realm, "any" for everybody.'),
  nodes: z.array(name).optional().describe("Only on these; on all when left out."),
});

const adminKey = z.string().refine((text) => typeof parseSshKey(text) !== "string" && /^[\x20-\x7e]+$/.test(text), {
  message: "this is no public SSH key",
  params: { hint: "write the line of the .pub file" },
});

/** The schema of `[host]`. */
export const hostSchema = z.strictObject({
  package: z
    .strictObject({
      url: packageUrl.describe("Where Orca's package is fetched from; {version} and {arch} stand for those of the VM."),
      sha256: z
        .strictObject({ amd64: sha256.optional(), arm64: sha256.optional() })
        .optional()
        .describe("When left out, what `agent` pins counts, with its version."),
    })
    .optional(),
  source: z
    .strictObject({
      url: sourceUrl,
      branch: z
        .string()
        .regex(/^(?![/.-])[\w./+@-]+(?<![/.])$/, 'write "main"')
        .optional(),
      path: z.string().optional(),
      private: z.boolean().default(true).describe("It needs a token, which `orca enroll` brings."),
    })
    .optional()
    .describe("The manifests repository, as the VMs reach it."),
  secrets: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }),
      project: z.string().min(1),
      environment: z.string().min(1).optional().describe("The node's env when left out."),
    })
    .optional()
    .describe("The Infisical server; `orca enroll` brings the credentials."),
  names: z
    .record(hostName, ipAddress)
    .default({})
    .describe("Names that VMs resolve by themselves: Git and secrets, at private addresses."),
  resolvers: z.array(ipAddress).max(3).default([]).describe("DNS servers, none of them one of the fleet's own VMs."),
  admins: z.array(adminKey).max(50).default([]).describe("Public SSH keys of who may log in."),
  networks: z.record(name, z.array(ipNetwork).min(1)).default({}).describe("Networks by name, for ssh and open."),
  ssh: z.array(from).default([]).describe("From where SSH is let in; the firewall is not rendered without it."),
  open: z.array(opening).default([]).describe("What the firewall lets in beside the realm's own VMs."),
});

/** A validated `[host]`. */
export type FleetHost = z.output<typeof hostSchema>;

/** What refers to nothing, or to itself: each a place below `host` and why. */
export function findHostFaults(
  host: FleetHost,
  nodes: Readonly<Record<string, { address: string }>>,
): { path: (string | number)[]; message: string; hint: string }[] {
  const faults: { path: (string | number)[]; message: string; hint: string }[] = [];
  const named = new Set<string>([...KNOWN_NETWORKS, ...Object.keys(host.networks)]);
  const list = [...named].join(", ");
  const judge = (text: string, path: (string | number)[]): void => {
    if (named.has(text) || ipNetwork.safeParse(text).success) return;
    faults.push({
      path,
      message: `there is no network ${JSON.stringify(text)}`,
      hint: `name one of ${list}, or write it out`,
    });
  };
  for (const key of KNOWN_NETWORKS) {
    if (!Object.hasOwn(host.networks, key)) continue;
    faults.push({
      path: ["networks", key],
      message: `${key} is a network already`,
      hint: "give this one another name",
    });
  }
  for (const [at, text] of host.ssh.entries()) judge(text, ["ssh", at]);
  for (const [at, rule] of host.open.entries()) {
    for (const [inner, text] of rule.from.entries()) judge(text, ["open", at, "from", inner]);
    for (const [inner, node] of (rule.nodes ?? []).entries()) {
      if (Object.hasOwn(nodes, node)) continue;
      faults.push({
        path: ["open", at, "nodes", inner],
        message: `there is no node ${JSON.stringify(node)}`,
        hint: `name one of ${Object.keys(nodes).join(", ")}`,
      });
    }
  }
  for (const [at, address] of host.resolvers.entries()) {
    const own = Object.entries(nodes).find(([, entry]) => entry.address === address)?.[0];
    if (own === undefined) continue;
    // A fleet that is down could not resolve the name of what brings it up.
    faults.push({
      path: ["resolvers", at],
      message: `${address} is ${own}, one of the fleet's own`,
      hint: "name a resolver that answers while the whole fleet is down",
    });
  }
  return faults;
}
