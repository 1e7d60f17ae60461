// /etc/orca/policy.toml: the host's law, which no commit can loosen (contract, section 2). Dangerous things are denied
// unless it allows them, so an empty policy is the strict one. Read by plan/ through `checkPolicy` and by lint.

import * as z from "zod";

import { absolutePath, name, secretPath, sizeBytes } from "./schema-leaf.ts";

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
    volumes: z.strictObject({ allow_ephemeral: z.boolean().default(false) }).prefault({}),
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
