// The tables inside a manifest, but for backups. Only manifest.ts uses them.

import { z } from "zod";

import {
  absolutePath,
  argv,
  durationMs,
  envName,
  ipNetwork,
  portNumber,
  positiveDurationMs,
  rate,
  refuse,
  relativePath,
  secretPath,
  signal,
  sizeBytes,
} from "./schema-leaf.ts";

/** The least memory Docker takes for a container (6 MiB, daemon/daemon_unix.go of moby). */
const LEAST_MEMORY_BYTES = 6 * 2 ** 20;

export const resources = z.strictObject({
  memory: sizeBytes
    .superRefine((value, ctx) => {
      if (value < LEAST_MEMORY_BYTES) refuse(ctx, "Docker takes no cap below 6MiB", 'write "6MiB" or more');
    })
    .describe("Hard cap on memory, swap off."),
  cpus: z.number().positive().max(1024).optional().describe("Hard cap on CPU, in cores."),
  cpus_reserved: z.number().positive().max(256).optional().describe("CPU kept for this service under load, as shares."),
  pids: z.int().min(1).max(4_194_304).default(512).describe("Most processes and threads."),
});

export const restart = z
  .strictObject({
    policy: z.enum(["always", "on-failure", "never"]).default("always"),
    backoff: z
      .strictObject({
        initial: positiveDurationMs.default(1_000),
        max: positiveDurationMs.default(300_000),
        reset_after: positiveDurationMs.default(600_000),
      })
      .superRefine((backoff, ctx) => {
        if (backoff.max < backoff.initial)
          refuse(ctx, "max is shorter than initial", "write max as the longer of the two");
      })
      .prefault({}),
  })
  .prefault({});

const httpProbe = z.strictObject({
  port: portNumber,
  path: z.string().startsWith("/", 'begin the path with "/"').default("/"),
  scheme: z.enum(["http", "https"]).default("http"),
  status: z.array(z.int().min(100).max(599)).min(1).default([200]),
});

export const health = z
  .strictObject({
    http: httpProbe.optional(),
    tcp: z.strictObject({ port: portNumber }).optional(),
    exec: argv.optional(),
    interval: positiveDurationMs.default(10_000),
    timeout: positiveDurationMs.default(5_000),
    retries: z.int().min(1).max(1_000).default(3),
    start_period: durationMs.default(0),
  })
  .superRefine((check, ctx) => {
    const kinds = [check.http, check.tcp, check.exec].filter((kind) => kind !== undefined).length;
    if (kinds === 1) return;
    refuse(
      ctx,
      kinds === 0 ? "the health check says not what to check" : "the health check has more than one kind",
      "write exactly one of http, tcp and exec",
    );
  });

export const secrets = z.strictObject({
  env: z.record(envName, secretPath).default({}).describe("Variable = secret's path."),
  files: z
    .record(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/, "write a plain file name"), secretPath)
    .default({})
    .describe("File under /run/secrets = secret's path."),
  on_rotate: z.union([z.literal("restart"), z.strictObject({ signal })]).default("restart"),
});

export const volumes = z
  .array(
    z
      .strictObject({
        name: z
          .string()
          .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, "use letters, digits and _ . -")
          .optional()
          .describe("A named volume."),
        source: absolutePath.optional().describe("A host directory, inside the prefixes the host's policy allows."),
        target: absolutePath.describe("Where the container sees it."),
        read_only: z.boolean().default(false),
        ephemeral: z
          .boolean()
          .default(false)
          .describe("May be removed with the service, where the host's policy allows it."),
      })
      .superRefine((volume, ctx) => {
        if ((volume.name === undefined) === (volume.source === undefined)) {
          refuse(ctx, "a volume has either a name or a source", 'write name = "…" or source = "/mnt/…"');
        }
        if (volume.ephemeral && volume.name === undefined) {
          refuse(ctx, "only a named volume can be ephemeral", "leave ephemeral out");
        }
      }),
  )
  .default([]);

const onChange = z.union([z.literal("restart"), z.strictObject({ signal }), z.strictObject({ exec: argv })]);

export const files = z
  .array(
    z.strictObject({
      source: relativePath.describe("Relative to the node's directory."),
      target: absolutePath,
      template: z.boolean().default(false).describe("Rendered with LiquidJS."),
      mode: z
        .string()
        .regex(/^0?[0-7]{3}$/, 'write it as "0444"')
        .default("0444"),
      owner: z
        .string()
        .regex(/^\d{1,10}(:\d{1,10})?$/, 'write "uid" or "uid:gid" in numbers')
        .optional(),
      on_change: onChange.default("restart"),
    }),
  )
  .default([]);

export const routes = z
  .array(
    z.strictObject({
      host: z.string().regex(/^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'write "app.example.com" or "*.example.com"'),
      path: z.string().startsWith("/", 'begin the path with "/"').optional(),
      port: portNumber.describe("The container's port."),
      allow: z.array(ipNetwork).optional(),
      rate: rate.optional(),
      timeout: positiveDurationMs.optional(),
    }),
  )
  .default([]);

export const update = z
  .strictObject({
    order: z.enum(["stop-first", "start-first"]).default("stop-first"),
    healthy_within: positiveDurationMs.default(120_000),
    settle: durationMs.default(30_000),
    rollback: z.boolean().default(true),
  })
  .prefault({});

export const slo = z.strictObject({
  availability: z.number().gt(0).lt(100).optional().describe("Per cent, rolling 30 days."),
  rto: positiveDurationMs.optional(),
  rpo: positiveDurationMs.optional(),
});

export const network = z.enum(["orca", "host", "none"]).default("orca");

export const log = z.strictObject({
  driver: z.enum(["local", "json-file", "journald", "syslog", "none"]).default("local"),
  options: z.record(z.string(), z.string()).default({}),
});
