// The tables inside a manifest, but for backups. Only manifest.ts uses them.

import * as z from "zod";

import { MOST_ID } from "./manifest-limits.ts";
import { isPlainWord } from "../text/plain-word.ts";
import {
  absolutePath,
  argv,
  durationBetween,
  envName,
  innerPath,
  ipNetwork,
  name,
  portNumber,
  rate,
  refuseValue,
  relativePath,
  routePath,
  secretPath,
  signal,
  sizeBytes,
  urlPath,
} from "../text/schema-leaf.ts";

/** The least memory Docker takes for a container (6 MiB, daemon/daemon_unix.go of moby). */
const LEAST_MEMORY_BYTES = 6 * 2 ** 20;
const MOST_MEMORY_BYTES = 64 * 2 ** 40;

export const resources = z.strictObject({
  memory: sizeBytes
    .superRefine((value, ctx) => {
      if (value < LEAST_MEMORY_BYTES) refuseValue(ctx, "Docker takes no cap below 6MiB", 'write "6MiB" or more');
      if (value > MOST_MEMORY_BYTES) refuseValue(ctx, "no machine has so much memory", 'write "64TiB" or less');
    })
    .describe("Hard cap on memory, swap off."),
  cpus: z.number().min(0.01).max(1024).optional().describe("Hard cap on CPU, in cores."),
  cpus_reserved: z.number().min(0.002).max(256).optional().describe("CPU kept for this service under load, as shares."),
  pids: z.int().min(1).max(4_194_304).default(512).describe("Most processes and threads."),
});

export const restart = z
  .strictObject({
    policy: z.enum(["always", "on-failure", "never"]).default("always").describe("When it is started again."),
    backoff: z
      .strictObject({
        initial: durationBetween("100ms", "1h")
          .prefault("1s")
          .describe("The first wait; each next one is about twice as long."),
        max: durationBetween("100ms", "1d").prefault("5m").describe("The longest wait."),
        reset_after: durationBetween("1s", "30d")
          .prefault("10m")
          .describe("Healthy so long, and the waits begin anew."),
      })
      .superRefine((backoff, ctx) => {
        if (backoff.max < backoff.initial)
          refuseValue(ctx, "max is shorter than initial", "write max as the longer of the two");
      })
      .prefault({})
      .describe("Waits between restarts: exponential, with jitter."),
  })
  .prefault({})
  .describe("What happens when it ends or is unhealthy.");

const LEAST_EXEC_INTERVAL_MS = 1_000;

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
    interval: durationBetween("100ms", "1h").prefault("10s").describe("Time between two checks."),
    timeout: durationBetween("10ms", "10m").prefault("5s").describe("A check that takes longer has failed."),
    retries: z.int().min(1).max(1_000).default(3).describe("So many failures in a row are unhealthy."),
    start_period: durationBetween("0s", "1d")
      .prefault("0s")
      .describe("Failures do not count for so long after the start."),
  })
  .superRefine((check, ctx) => {
    if (check.exec !== undefined && check.interval < LEAST_EXEC_INTERVAL_MS) {
      const params = { hint: 'write at least "1s"' };
      const message = "each check starts a program in the container: so often is too often";
      ctx.addIssue({ code: "custom", path: ["interval"], message, params });
    }
    const kinds = [check.http, check.tcp, check.exec].filter((kind) => kind !== undefined).length;
    if (kinds === 1) return;
    refuseValue(
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
        target: innerPath.describe("Where the container sees it."),
        read_only: z.boolean().default(false).describe("The container cannot write to it."),
        ephemeral: z
          .boolean()
          .default(false)
          .describe(
            "Each release begins with an empty one, where the host's policy allows it; @once jobs fill it again.",
          ),
      })
      .superRefine((volume, ctx) => {
        if ((volume.name === undefined) === (volume.source === undefined)) {
          refuseValue(ctx, "a volume has either a name or a source", 'write name = "…" or source = "/mnt/…"');
        }
        if (volume.ephemeral && volume.name === undefined) {
          refuseValue(ctx, "only a named volume can be ephemeral", "leave ephemeral out");
        }
      }),
  )
  .max(100)
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
      target: innerPath.describe("Where the container sees it."),
      template: z.boolean().default(false).describe("Rendered with LiquidJS."),
      mode: z
        .string()
        .regex(/^0?[0-7]{3}$/, 'write it as "0444"')
        .optional()
        .describe("Permissions, in octal; 0444, and 0400 for a file with a secret in it, when left out."),
      owner: z
        .string()
        .regex(/^\d{1,10}(:\d{1,10})?$/, 'write "uid" or "uid:gid" in numbers')
        .refine((text) => text.split(":").every((id) => Number(id) <= MOST_ID), "ids end at 4294967294")
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
  .max(500)
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
      timeout: durationBetween("1s", "7d").optional().describe("Longest silence of a request."),
    }),
  )
  .max(200)
  .default([])
  .describe("Host names that a proxy of this realm serves from this service.");

export const update = z
  .strictObject({
    order: z
      .enum(["stop-first", "start-first"])
      .default("stop-first")
      .describe("Whether the old container ends before the new one starts, or after it is healthy."),
    healthy_within: durationBetween("1s", "7d")
      .optional()
      .describe(
        "A new release that is not healthy so long after its start has failed; when left out 2m, or start_period and settle where these take longer.",
      ),
    drain: durationBetween("1ms", "1h")
      .optional()
      .describe("start-first: open connections may stay with the old container so long; 30s when left out."),
    settle: durationBetween("0s", "1d").prefault("30s").describe("Healthy so long, and it is recorded as good."),
    rollback: z.boolean().default(true).describe("A release that fails gives way to the last good one."),
    backup_first: z
      .array(name)
      .min(1)
      .max(20)
      .optional()
      .describe("Services of this node of which there is a verified backup before this one gets a new container."),
  })
  .prefault({})
  .describe("How a new release replaces the old one.");

export const slo = z.strictObject({
  availability: z.number().gt(0).lt(100).optional().describe("Per cent, rolling 30 days."),
  rto: durationBetween("1s", "3660d").optional().describe("Longest time until it is back."),
  rpo: durationBetween("1s", "3660d").optional().describe("Most data that may be lost, as time."),
  freeze: z
    .boolean()
    .optional()
    .describe("Changes of this service wait while its error budget is used up or its rpo is broken; healing goes on."),
});

export const network = z
  .enum(["orca", "host", "none"])
  .default("orca")
  .describe("The node's container network, the host's own, or none.");
