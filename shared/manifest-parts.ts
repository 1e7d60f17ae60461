// The tables inside a manifest, but for backups. Only manifest.ts uses them.

import * as z from "zod";

import { isPlainWord } from "./plain-word.ts";
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
  routePath,
  secretPath,
  signal,
  sizeBytes,
  urlPath,
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
    policy: z.enum(["always", "on-failure", "never"]).default("always").describe("When it is started again."),
    backoff: z
      .strictObject({
        initial: positiveDurationMs.prefault("1s").describe("The first wait; each next one is about twice as long."),
        max: positiveDurationMs.prefault("5m").describe("The longest wait."),
        reset_after: positiveDurationMs.prefault("10m").describe("Healthy so long, and the waits begin anew."),
      })
      .superRefine((backoff, ctx) => {
        if (backoff.max < backoff.initial)
          refuse(ctx, "max is shorter than initial", "write max as the longer of the two");
      })
      .prefault({})
      .describe("Waits between restarts: exponential, with jitter."),
  })
  .prefault({})
  .describe("What happens when it ends or is unhealthy.");

const probePort = portNumber.describe("The container's port.");

const httpProbe = z
  .strictObject({
    port: probePort,
    path: urlPath.default("/").describe("What is asked for."),
    scheme: z.enum(["http", "https"]).default("http").describe("With https the certificate is not checked."),
    status: z
      .array(z.int().min(100).max(599))
      .min(1)
      .default([200])
      .describe("Answers that count as healthy; redirects are not followed."),
  })
  .describe("Healthy when this port answers a GET with one of these statuses.");

export const health = z
  .strictObject({
    http: httpProbe.optional(),
    tcp: z.strictObject({ port: probePort }).optional().describe("Healthy when this port takes a connection."),
    exec: argv.optional().describe("Healthy when this program, run inside the container, ends with 0."),
    interval: positiveDurationMs.prefault("10s").describe("Time between two checks."),
    timeout: positiveDurationMs.prefault("5s").describe("A check that takes longer has failed."),
    retries: z.int().min(1).max(1_000).default(3).describe("So many failures in a row are unhealthy."),
    start_period: durationMs.prefault("0s").describe("Failures do not count for so long after the start."),
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

const signalWord = z.strictObject({ signal: signal.describe("Sent to the container's first process.") });

export const secrets = z.strictObject({
  env: z.record(envName, secretPath).default({}).describe("Variable = secret's path."),
  files: z
    .record(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/, "write a plain file name"), secretPath)
    .default({})
    .describe("File under /run/secrets = secret's path."),
  templates: z
    .record(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/, "write a plain name"), secretPath)
    // Without a default, so that manifests from before it keep their fingerprint.
    .optional()
    .describe("Name in this service's templates = secret's path; those of env and files have their names there too."),
  on_rotate: z
    .union([z.literal("restart"), signalWord])
    .default("restart")
    .describe('What happens when a secret changes: "restart", or { signal = "SIGHUP" }.'),
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
        read_only: z.boolean().default(false).describe("The container cannot write to it."),
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
  .default([])
  .describe("Named volumes and bind mounts; they need [[backups]] or backup = { none = … }.");

const onChange = z.union([
  z.literal("restart"),
  signalWord,
  z.strictObject({ exec: argv.describe("Run inside the container.") }),
]);

export const files = z
  .array(
    z.strictObject({
      source: relativePath.describe("Relative to the node's directory."),
      target: absolutePath.describe("Where the container sees it."),
      template: z.boolean().default(false).describe("Rendered with LiquidJS."),
      mode: z
        .string()
        .regex(/^0?[0-7]{3}$/, 'write it as "0444"')
        .optional()
        .describe("Permissions, in octal; 0444, and 0400 for a file with a secret in it, when left out."),
      owner: z
        .string()
        .regex(/^\d{1,10}(:\d{1,10})?$/, 'write "uid" or "uid:gid" in numbers')
        .optional()
        .describe("Owner inside the container, in numbers: uid or uid:gid."),
      on_change: onChange
        .optional()
        .describe(
          'What happens when its content changes: "restart", { signal = … } or { exec = […] }; restart when left out, and ' +
            "for a file with a secret in it what on_rotate says.",
        ),
    }),
  )
  .default([])
  .describe("Config files that this service mounts, read-only.");

export const routes = z
  .array(
    z.strictObject({
      host: z
        .string()
        .max(255)
        .refine((text) => isPlainWord("host", text), 'write "app.example.com" or "*.example.com"')
        .describe("Host name; *.example.com too, and the most specific wins."),
      path: routePath.optional().describe("Narrows the route to paths that begin so."),
      port: probePort,
      allow: z.array(ipNetwork).optional().describe("Networks that may call; all when left out."),
      rate: rate.optional().describe("Most requests of one client, such as 60/s."),
      timeout: positiveDurationMs.optional().describe("Longest silence of a request."),
    }),
  )
  .default([])
  .describe("Host names that a proxy of this realm serves from this service.");

export const update = z
  .strictObject({
    order: z
      .enum(["stop-first", "start-first"])
      .default("stop-first")
      .describe("Whether the old container ends before the new one starts, or after it is healthy."),
    healthy_within: positiveDurationMs
      .optional()
      .describe(
        "A new release that is not healthy so long after its start has failed; when left out 2m, or start_period and settle where these take longer.",
      ),
    drain: positiveDurationMs
      .optional()
      .describe("start-first: open connections may stay with the old container so long; 30s when left out."),
    settle: durationMs.prefault("30s").describe("Healthy so long, and it is recorded as good."),
    rollback: z.boolean().default(true).describe("A release that fails gives way to the last good one."),
  })
  .prefault({})
  .describe("How a new release replaces the old one.");

export const slo = z.strictObject({
  availability: z.number().gt(0).lt(100).optional().describe("Per cent, rolling 30 days."),
  rto: positiveDurationMs.optional().describe("Longest time until it is back."),
  rpo: positiveDurationMs.optional().describe("Most data that may be lost, as time."),
});

export const network = z
  .enum(["orca", "host", "none"])
  .default("orca")
  .describe("The node's container network, the host's own, or none.");

export const log = z.strictObject({
  driver: z
    .enum(["local", "json-file", "journald", "syslog", "none"])
    .default("local")
    .describe("Docker's log driver; local and json-file are capped."),
  options: z.record(z.string(), z.string()).default({}).describe("The driver's options, as Docker names them."),
});
