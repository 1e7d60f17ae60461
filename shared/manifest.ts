// The service manifest: one TOML file, one service or job (contract, section 1). Every key that exists is here; parts that
// a later version brings to life parse and validate already. Read by desired/, lint, plan and `orca schema`.

import { z } from "zod";

import { backupNone, backups } from "./manifest-backup.ts";
import {
  files,
  health,
  log,
  network,
  resources,
  restart,
  routes,
  secrets,
  slo,
  update,
  volumes,
} from "./manifest-parts.ts";
import { requirement, want } from "./requirement.ts";
import {
  absolutePath,
  argv,
  durationMs,
  envName,
  envValue,
  imageReference,
  ipAddress,
  publishedPort,
  schedule,
  signal,
  sizeBytes,
} from "./schema-leaf.ts";

const ulimit = z.union([z.int().min(-1), z.strictObject({ soft: z.int().min(-1), hard: z.int().min(-1) })]);

const movedFrom = z
  .string()
  .regex(/^([a-z0-9-]{1,63}\/)?[a-z0-9-]{1,63}$/, 'write "old-name" or "old-node/old-name"')
  .describe("Where this service was before it moved or was renamed.");

/** The schema of a manifest file; the input side is what people write, the output side what the agent works with. */
export const manifestSchema = z
  .strictObject({
    image: imageReference.describe("The image, by tag or digest."),
    command: argv.optional().describe("Arguments in place of the image's command."),
    entrypoint: argv.optional().describe("Program in place of the image's entrypoint."),
    user: z.string().min(1).optional().describe("User, or user:group, by name or number."),
    working_dir: absolutePath.optional(),
    stop_signal: signal.optional().describe("Signal that asks the service to end; the image's own, or SIGTERM."),
    stop_timeout: durationMs.default(10_000).describe("How long it may take to end before it is killed."),
    owner: z.string().min(1).optional().describe("Who is told, and who restores."),
    requires: z.array(requirement).default([]).describe("What must be healthy before this starts."),
    wants: z.array(want).default([]).describe("What this waits for up to wants_timeout."),
    wants_timeout: durationMs.default(60_000),
    ports: z.array(publishedPort).default([]).describe("Published ports, in Docker's form."),
    state: z.enum(["running", "stopped"]).default("running"),
    schedule: schedule(true).optional().describe("Makes this a job: a UTC cron, `every …` or @once."),
    moved_from: movedFrom.optional(),
    resources: resources.describe("Caps; memory is mandatory."),
    restart,
    health: health.optional(),
    env: z.record(envName, envValue).default({}),
    secrets: secrets.optional(),
    bootstrap: z.strictObject({ env_file: absolutePath }).optional(),
    volumes,
    files,
    routes,
    update,
    slo: slo.optional(),
    backups,
    backup: backupNone.optional(),
    shm_size: sizeBytes.optional(),
    ulimits: z.record(z.string().regex(/^[a-z]+$/, "write Docker's name, such as nofile"), ulimit).optional(),
    sysctls: z.record(z.string().regex(/^[a-z0-9_.-]+$/), z.string()).optional(),
    tmpfs: z.array(z.string().startsWith("/", 'write "/path" or "/path:size=64m"')).optional(),
    read_only: z.boolean().optional(),
    cap_add: z.array(z.string().regex(/^(CAP_)?[A-Z_]+$/, "write the name in capitals")).optional(),
    cap_drop: z.array(z.string().regex(/^(CAP_)?[A-Z_]+$/, "write the name in capitals")).optional(),
    devices: z.array(z.string().startsWith("/dev/", 'write "/dev/…" or "/dev/…:/dev/…:rwm"')).optional(),
    privileged: z.boolean().optional(),
    init: z.boolean().optional(),
    hostname: z
      .string()
      .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62})$/, "write a host name")
      .optional(),
    dns: z.array(ipAddress).optional(),
    network,
    pid: z.enum(["private", "host"]).default("private"),
    ipc: z.enum(["private", "shareable", "host", "none"]).default("private"),
    labels: z.record(z.string().min(1), z.string()).default({}),
    log: log.optional(),
  })
  .superRefine((manifest, ctx) => {
    const isJob = manifest.schedule !== undefined;
    if (!isJob && manifest.health === undefined) {
      ctx.addIssue({
        code: "custom",
        path: ["health"],
        message: "every service has a health check",
        params: {
          rule: "no-health",
          hint: 'write [health] with exactly one of http = { port = … }, tcp = { port = … } or exec = ["…"]',
        },
      });
    }
    if (manifest.volumes.length > 0 && manifest.backups.length === 0 && manifest.backup === undefined) {
      ctx.addIssue({
        code: "custom",
        path: ["volumes"],
        message: "volumes need a backup or a reason for none",
        params: {
          rule: "no-backup",
          hint: 'write [[backups]], or backup = { none = "why losing this is fine" }',
        },
      });
    }
    for (const key of Object.keys(manifest.labels)) {
      if (key !== "orca" && !key.startsWith("orca.")) continue;
      ctx.addIssue({
        code: "custom",
        path: ["labels", key],
        message: "labels that begin with orca. belong to the agent",
        params: { hint: "choose another name" },
      });
    }
  })
  .meta({ title: "Orca service manifest" });

/** A validated manifest, with durations in milliseconds and sizes in bytes. */
export type Manifest = z.output<typeof manifestSchema>;

/** A health check as the manifest declares it. */
export type HealthCheck = NonNullable<Manifest["health"]>;
