// fleet.toml: the nodes, the backup repositories and the alerts (contract, section 1). Git's word on membership.
// Read by desired/, lint and the CLI.

import * as z from "zod";

import { findHostFaults, hostSchema } from "./fleet-host.ts";
import {
  durationBetween,
  durationMs,
  ipAddress,
  ipNetwork,
  isName,
  name,
  positiveDurationMs,
  schedule,
  secretPath,
  sizeBytes,
} from "../text/schema-leaf.ts";

const publicKey = z
  .string()
  .regex(/^ed25519:[A-Za-z0-9+/_=-]{40,64}$/, 'write the line that `orca keygen` prints: "ed25519:…"');

/** A window begins at a time of the calendar: `every 5h` has none. */
const cron = schedule(false).refine((text) => !text.startsWith("every"), {
  message: "a freeze begins at a time of the calendar",
  params: { hint: 'write a UTC cron, such as "0 16 * * 5" for Fridays at four' },
});

const recipient = z.string().regex(/^age1[a-z0-9]{20,}$/, 'write an age recipient: "age1…"');

const hostNetwork = z.strictObject({
  subnet: ipNetwork.optional().describe("The subnet of the node's container network."),
  internal: z.boolean().default(false).describe("No way out for the containers."),
});

const digest = z.string().regex(/^[0-9a-f]{64}$/, "write 64 hex digits, as SHA256SUMS has them");

const agentFields = {
  version: z.string().regex(/^\d+\.\d+\.\d+[A-Za-z0-9.+~-]{0,80}$/, 'write "1.4.2"'),
  sha256: z
    .strictObject({ amd64: digest.optional(), arm64: digest.optional() })
    .refine(({ amd64, arm64 }) => (amd64 ?? arm64) !== undefined, {
      message: "there is no checksum",
      params: { hint: 'write sha256 = { amd64 = "…" }, as SHA256SUMS of the release has it' },
    })
    .describe("Of the package, by architecture."),
};
const agentPin = z.strictObject(agentFields);

const node = z.strictObject({
  address: ipAddress.describe("Private address: peers, published ports."),
  env: name.describe("The realm; realms do not mix."),
  memory: sizeBytes,
  reserve: sizeBytes.default(512 * 2 ** 20).describe("Kept for the system."),
  public_key: publicKey.optional().describe("The node's gossip identity."),
  backup_key: recipient
    .optional()
    .describe("Opens this node's backups for its own verification: what `orca keygen` prints."),
  cpus: z.number().positive().optional(),
  approval: z.enum(["none", "tag"]).default("none"),
  data: z
    .strictObject({
      mount: z.string().startsWith("/", 'write "/mnt/…"'),
      uuid: z
        .string()
        .regex(/^[0-9A-Fa-f-]{4,36}$/, "write what `blkid` prints")
        .optional(),
    })
    .optional()
    .describe("Services with volumes wait until this file system is mounted."),
  network: hostNetwork.prefault({}),
  rollout: z.strictObject({ after: name }).optional(),
  freeze: z
    .array(z.strictObject({ schedule: cron, for: positiveDurationMs }))
    .default([])
    .describe("Windows that hold changes: the UTC cron of their beginning, and their length."),
  agent: agentPin.optional().describe("The version of the agent that this node is to run, in place of the fleet's."),
  standby_for: name.optional().describe("May take that node's place with `orca recover`."),
});

const encryption = {
  recipients: z
    .array(recipient)
    .max(100)
    .default([])
    .describe("Who can open what lies there; nothing is encrypted for nobody."),
  min_recipients: z.int().min(0).max(100).default(0).describe("Fewer recipients than so many are a mistake."),
};

const s3 = z.strictObject({
  kind: z.literal("s3"),
  endpoint: z.url({ protocol: /^https?$/ }).describe("https, or http on loopback."),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "write an S3 bucket's name"),
  region: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "write the region's name"),
  prefix: z
    .string()
    .regex(
      /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/,
      'write a path of plain words: "orca/prod"',
    )
    .max(200)
    .optional(),
  secret: secretPath.describe("Access key and secret key, one after the other: may write, read and list."),
  pruner_secret: secretPath
    .optional()
    .describe("The same for a key that may also delete; `secret` where it is left out."),
  lock_days: z.int().min(1).max(3_650).optional().describe("Nothing that is written can be removed for so many days."),
  ca_file: z
    .string()
    .startsWith("/", "write an absolute path")
    .optional()
    .describe("The CA that its certificate is from."),
  ...encryption,
});

const directory = z.strictObject({
  kind: z.literal("directory"),
  path: z.string().startsWith("/", "write an absolute path").describe("It must be there: Orca does not make it."),
  ...encryption,
});

const repository = z.discriminatedUnion("kind", [s3, directory]).superRefine((entry, ctx) => {
  const blame = (key: string, message: string, hint: string): void =>
    ctx.addIssue({ code: "custom", path: [key], message, params: { hint } });
  if (entry.recipients.length < entry.min_recipients) {
    const { length } = entry.recipients;
    blame("recipients", `min_recipients is ${entry.min_recipients}, and there are ${length}`, "write more recipients");
  }
  if (entry.kind !== "s3") return;
  const { protocol, hostname } = new URL(entry.endpoint);
  if (protocol === "http:" && !isLoopback(hostname))
    blame(
      "endpoint",
      "http goes to loopback alone: everybody on the way could read it",
      "write https://…, with ca_file",
    );
});

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

const severity = z.enum(["info", "warning", "critical"]);

const webhook = z
  .strictObject({
    url_secret: secretPath.optional(),
    gitea_issues: z.boolean().optional(),
    min: severity.default("warning"),
  })
  .superRefine((entry, ctx) => {
    if ((entry.url_secret === undefined) !== (entry.gitea_issues === undefined)) return;
    ctx.addIssue({
      code: "custom",
      message: "an alert goes to either a webhook or Gitea's issues",
      params: { hint: 'write url_secret = "/prod/alerts/…" or gitea_issues = true' },
    });
  });

/** The repository that every node has without naming it. */
const LOCAL = "local";

function nodeNames(ctx: z.core.$RefinementCtx, names: string[]): void {
  for (const key of names.filter((entry) => !isName(entry))) {
    ctx.addIssue({
      code: "custom",
      path: ["nodes", key],
      message: `${JSON.stringify(key)} is not a node's name`,
      params: { hint: "use up to 63 lower-case letters, digits and inner hyphens" },
    });
  }
}

/** The schema of fleet.toml. */
export const fleetSchema = z
  .strictObject({
    nodes: z.record(z.string(), node),
    repositories: z.record(name, repository).default({}),
    agent: z
      .strictObject({
        ...agentFields,
        canaries: z
          .array(name)
          .default([])
          .describe("Nodes that take a new version first, one for each realm; else the first of a realm by name."),
      })
      .optional()
      .describe("The version of the agent that every node is to run."),
    alerts: z
      .strictObject({
        webhooks: z
          .array(webhook)
          .max(10)
          .default([])
          .describe("Where alerts go: to the first of these that takes a message and whose `min` it reaches."),
        repeat: durationMs.default(21_600_000).describe("The same is told again after so long while it lasts."),
        heartbeat: z
          .strictObject({ url_secret: secretPath, every: durationBetween("30s", "1d").prefault("5m") })
          .optional()
          .describe("An address outside that each node calls while its loop turns: it tells when the calls stop."),
      })
      .optional()
      .describe("Whom all nodes tell of trouble."),
    host: hostSchema.optional().describe("What a VM is set up with; a person brings it there."),
  })
  .superRefine((fleet, ctx) => {
    const names = Object.keys(fleet.nodes);
    nodeNames(ctx, names);
    for (const { path, message, hint } of fleet.host === undefined ? [] : findHostFaults(fleet.host, fleet.nodes))
      ctx.addIssue({ code: "custom", path: ["host", ...path], message, params: { hint } });
    if (Object.hasOwn(fleet.repositories, LOCAL)) {
      ctx.addIssue({
        code: "custom",
        path: ["repositories", LOCAL],
        message: "every node has the repository local already",
        params: { hint: "give this one another name; local's directory stands in agent.toml" },
      });
    }
    for (const [index, canary] of (fleet.agent?.canaries ?? []).entries()) {
      if (names.includes(canary)) continue;
      ctx.addIssue({
        code: "custom",
        path: ["agent", "canaries", index],
        message: `there is no node ${JSON.stringify(canary)}`,
        params: { hint: `name one of ${names.join(", ")}` },
      });
    }
    const addresses = new Map<string, string>();
    for (const [key, entry] of Object.entries(fleet.nodes)) {
      const holder = addresses.get(entry.address);
      if (holder !== undefined) {
        ctx.addIssue({
          code: "custom",
          path: ["nodes", key, "address"],
          message: `${entry.address} is ${holder}'s address already`,
          params: { hint: "give each node an address of its own" },
        });
      }
      addresses.set(entry.address, key);
      for (const [field, target] of [
        ["standby_for", entry.standby_for],
        ["rollout", entry.rollout?.after],
      ] as const) {
        if (target === undefined || names.includes(target)) continue;
        ctx.addIssue({
          code: "custom",
          path: ["nodes", key, field],
          message: `there is no node ${JSON.stringify(target)}`,
          params: { hint: `name one of ${names.join(", ")}` },
        });
      }
      if (entry.reserve >= entry.memory) {
        ctx.addIssue({
          code: "custom",
          path: ["nodes", key, "reserve"],
          message: "the reserve leaves no memory for services",
          params: { hint: "write a reserve below the node's memory" },
        });
      }
    }
  })
  .meta({ title: "Orca fleet" });

/** A validated fleet.toml. */
export type Fleet = z.output<typeof fleetSchema>;

/** One repository of it. */
export type FleetRepository = Fleet["repositories"][string];

/** One node of it. */
export type FleetNode = Fleet["nodes"][string];
