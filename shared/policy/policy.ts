// /etc/orca/policy.toml: the host's law, which no commit can loosen (contract, section 2). Dangerous things are denied
// unless it allows them, so an empty policy is the strict one. Read by plan/ through `checkPolicy` and by lint.

import * as z from "zod";

import { isIP } from "node:net";

import { publicSshKey } from "../config/trusted-key.ts";
import { GUARDED_ULIMITS } from "../manifest/manifest-limits.ts";
import { absolutePath, name, secretPath, sizeBytes } from "../text/schema-leaf.ts";

/** A pattern that the host's administrator writes. */
const pattern = z.string().superRefine((text, ctx) => {
  try {
    RegExp(text, "u");
  } catch {
    ctx.addIssue({
      code: "custom",
      message: "this is no regular expression",
      params: { hint: "write one in JavaScript's syntax" },
    });
  }
});

const volumeName = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, "write a volume's name");

/** A host of an endpoint: `*`, `*.example.com`, `auth.example.com`, an address or a network. */
const endpointHost = z.string().refine((text) => {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if (family !== 0)
    return (
      rest.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)))
    );
  return /^(?:\*|(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)$/.test(text);
}, 'write "auth.example.com", "*.example.com", "10.0.0.5" or "10.0.0.0/16"');

const envRule = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .describe("The variable; * matches any run of characters. A secret file counts by its name."),
    must_match: pattern.optional().describe("A regular expression its value must match, wherever the value is from."),
    forbidden: z.boolean().optional(),
    required: z.boolean().optional(),
  })
  .superRefine((rule, ctx) => {
    if (rule.must_match !== undefined || rule.forbidden !== undefined || rule.required !== undefined) return;
    ctx.addIssue({
      code: "custom",
      message: "the rule says nothing",
      params: { hint: "write must_match, forbidden or required" },
    });
  });

/** The schema of policy.toml. */
export const policySchema = z
  .strictObject({
    realm: name.optional().describe("The env this host belongs to; fleet.toml cannot change it."),
    images: z
      .strictObject({
        registries: z.array(z.string().min(1)).optional().describe("Allowed registries; all when left out."),
        require_digest: z.boolean().default(false),
      })
      .prefault({}),
    mounts: z
      .strictObject({
        allowed_prefixes: z
          .array(absolutePath)
          .default([])
          .describe("Host directories under which bind mounts may lie."),
        docker_socket: z.boolean().default(false),
      })
      .prefault({}),
    volumes: z
      .strictObject({
        allow_ephemeral: z.boolean().default(false),
        foreign: z
          .array(volumeName)
          .default([])
          .describe(
            "Volumes that Orca has not made and services may use all the same, such as one with data from before.",
          ),
      })
      .prefault({}),
    endpoints: z
      .strictObject({
        allowed: z
          .array(endpointHost)
          .optional()
          .describe(
            "Hosts that requires and wants may have this host ask: names, *.names, addresses, networks; all but this host " +
              "itself, its link and cloud metadata when left out.",
          ),
      })
      .prefault({}),
    log: z
      .strictObject({
        syslog: z
          .array(z.string().min(1))
          .default([])
          .describe('Addresses that log.options."syslog-address" may name; "local" for this host\'s own syslog.'),
      })
      .prefault({}),
    ports: z
      .strictObject({
        public: z
          .array(z.int().min(1).max(65_535))
          .default([])
          .describe("Ports that may be published on every address, or on one that the internet may reach."),
      })
      .prefault({}),
    security: z
      .strictObject({
        privileged: z.array(name).default([]).describe("Services that may run privileged."),
        host_network: z.array(name).default([]),
        host_pid: z.array(name).default([]),
        host_ipc: z.array(name).default([]),
        devices: z.array(z.string().startsWith("/dev/", 'write "/dev/…"')).default([]),
        cap_add: z.array(z.string()).default([]),
        ulimits: z
          .array(z.enum(GUARDED_ULIMITS))
          .default([])
          .describe("Limits that services may raise: core writes files on the host, the others take the processor."),
      })
      .prefault({}),
    env: z.array(envRule).default([]),
    text: z
      .strictObject({
        forbidden: z
          .array(pattern)
          .default([])
          .describe(
            "Patterns that nothing a service is given may match: variables, program, files as rendered, secrets.",
          ),
      })
      .prefault({}),
    secrets: z.strictObject({ allowed_prefixes: z.array(secretPath).optional() }).prefault({}),
    bootstrap: z.strictObject({ allowed_files: z.array(absolutePath).default([]) }).prefault({}),
    backups: z
      .strictObject({
        endpoints: z.array(z.string().min(1)).optional(),
        regions: z.array(z.string().min(1)).optional(),
      })
      .prefault({}),
    memory: z
      .strictObject({ max_total: sizeBytes.optional().describe("Most memory all caps may come to.") })
      .prefault({}),
    pinned: z
      .strictObject({
        recipients: z.array(z.string()).default([]),
        repository_endpoints: z.array(z.string()).default([]),
        release_key: z.string().optional(),
        recovery_key: z
          .string()
          .regex(/^ed25519:[A-Za-z0-9_-]{43}$/, 'write "ed25519:…" as `orca keygen` prints it')
          .optional()
          .describe("Whose signature puts a spare in a lost node's place; without it no takeover counts on this host."),
        bundle_keys: z
          .array(publicSshKey)
          .max(16, "list at most 16 keys")
          .default([])
          .describe("Public SSH keys whose offline bundles count; without one no bundle is installed."),
      })
      .prefault({}),
  })
  .meta({ title: "Orca host policy" });

/** A validated policy.toml. */
export type Policy = z.output<typeof policySchema>;

/** The policy of a host that has no policy file: everything dangerous is denied. */
export function buildStrictPolicy(): Policy {
  return policySchema.parse({});
}
