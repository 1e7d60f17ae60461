// The service manifest: one TOML file, one service or job (contract, section 1). Every key that exists is here; parts that
// a later version brings to life parse and validate already. Read by desired/, lint, plan and `orca schema`.

import * as z from "zod";

import { backupNone, backups } from "./manifest-backup.ts";
import { capability, device, listTmpfsSizes, sysctls, tmpfsMount, ulimits } from "./manifest-limits.ts";
import { log } from "./manifest-log.ts";
import { files, health, network, resources, restart, routes, secrets, slo, update, volumes } from "./manifest-parts.ts";
import { requirement, want } from "./requirement.ts";
import {
  absolutePath,
  argv,
  durationBetween,
  envName,
  envValue,
  imageReference,
  innerPath,
  ipAddress,
  labelValue,
  lineOfText,
  publishedPort,
  schedule,
  signal,
  sizeBytes,
} from "../text/schema-leaf.ts";

const movedFrom = z
  .string()
  .regex(/^([a-z0-9-]{1,63}\/)?[a-z0-9-]{1,63}$/, 'write "old-name" or "old-node/old-name"')
  .describe("Where this service was before it moved or was renamed.");

/** What is checked of a manifest while other parts of it may be wrong: nothing here can rely on a type. */
interface Unchecked {
  schedule?: unknown;
  health?: unknown;
  volumes?: unknown;
  backups?: unknown;
  backup?: unknown;
  labels?: unknown;
  resources?: unknown;
  shm_size?: unknown;
  tmpfs?: unknown;
}

function checkWhole(manifest: Unchecked, ctx: z.core.$RefinementCtx): void {
  if (manifest.schedule === undefined && manifest.health === undefined) {
    refuseAt(ctx, ["health"], {
      message: "every service has a health check",
      rule: "no-health",
      hint: 'write [health] with exactly one of http = { port = … }, tcp = { port = … } or exec = ["…"]',
    });
  }
  const lasting = hasEphemeral(manifest.volumes, false);
  if (lasting && isMissing(manifest.backups) && manifest.backup === undefined) {
    refuseAt(ctx, ["volumes"], {
      message: "volumes need a backup or a reason for none",
      rule: "no-backup",
      hint: 'write [[backups]], or backup = { none = "why losing this is fine" }',
    });
  }
  if (!isMissing(manifest.backups) && manifest.backup !== undefined) {
    refuseAt(ctx, ["backup"], {
      message: "a service has a backup or a reason for none, not both",
      hint: "leave out backup, or [[backups]]",
    });
  }
  if (hasEphemeral(manifest.volumes, true) && !isMissing(manifest.backups)) {
    refuseAt(ctx, ["backups"], {
      message: "an ephemeral volume is empty again with the next release: no backup of it could be put back",
      hint: "leave [[backups]] out, or ephemeral",
    });
  }
  checkMemory(manifest, ctx);
  if (typeof manifest.labels !== "object" || manifest.labels === null) return;
  for (const key of Object.keys(manifest.labels)) {
    if (key !== "orca" && !key.startsWith("orca.")) continue;
    const message = "labels that begin with orca. belong to the agent";
    refuseAt(ctx, ["labels", key], { message, hint: "choose another name" });
  }
}

/** What lies in memory counts in the cap: more of it than the cap is a promise that cannot be kept. */
function checkMemory({ resources: caps, shm_size: shm, tmpfs }: Unchecked, ctx: z.core.$RefinementCtx): void {
  const { memory } = (typeof caps === "object" && caps !== null ? caps : {}) as { memory?: unknown };
  if (typeof memory !== "number") return;
  const texts = Array.isArray(tmpfs) ? tmpfs.filter((entry) => typeof entry === "string") : [];
  const sizes = listTmpfsSizes(texts).map((size, index) => [["tmpfs", index], size] as const);
  for (const [path, size] of [[["shm_size"], shm] as const, ...sizes]) {
    if (typeof size !== "number" || size <= memory) continue;
    const message = "it is larger than resources.memory, in which it counts";
    refuseAt(ctx, path, { message, hint: "write a smaller size, or raise the cap" });
  }
}

/** Whether some volume is ephemeral, or is not. */
function hasEphemeral(list: unknown, is: boolean): boolean {
  if (!Array.isArray(list)) return !is && !isMissing(list);
  return list.some((volume: unknown) => {
    const { ephemeral } = (typeof volume === "object" && volume !== null ? volume : {}) as { ephemeral?: unknown };
    return (ephemeral === true) === is;
  });
}

function isMissing(list: unknown): boolean {
  return list === undefined || (Array.isArray(list) && list.length === 0);
}

function refuseAt(
  ctx: z.core.$RefinementCtx,
  path: readonly (string | number)[],
  { message, ...params }: { message: string; rule?: string; hint: string },
): void {
  ctx.addIssue({ code: "custom", path: [...path], message, params });
}

/** The schema of a manifest file; the input side is what people write, the output side what the agent works with. */
export const manifestSchema = z
  .strictObject({
    image: imageReference.describe("The image, by tag or digest."),
    command: argv.optional().describe("Arguments in place of the image's command."),
    entrypoint: argv.optional().describe("Program in place of the image's entrypoint."),
    user: z
      .string()
      .min(1)
      .regex(/^[\w.-]{0,64}(:[\w.-]{1,64})?$/, 'write "user", "uid" or "uid:gid"')
      .optional()
      .describe("User, or user:group, by name or number."),
    working_dir: innerPath.optional().describe("Directory the program starts in."),
    stop_signal: signal.optional().describe("Signal that asks the service to end; the image's own, or SIGTERM."),
    stop_timeout: durationBetween("0s", "1h")
      .prefault("10s")
      .describe("How long it may take to end before it is killed."),
    owner: lineOfText(200).optional().describe("Who is told, and who restores."),
    requires: z.array(requirement).max(100).default([]).describe("What must be healthy before this starts."),
    wants: z.array(want).max(100).default([]).describe("What this waits for up to wants_timeout."),
    wants_timeout: durationBetween("0s", "1d").prefault("60s").describe("How long it waits for what it wants."),
    ports: z.array(publishedPort).max(1_000).default([]).describe("Published ports, in Docker's form."),
    state: z
      .enum(["running", "stopped"])
      .default("running")
      .describe("Stopped keeps the data, answers 503 on its routes and runs no jobs."),
    schedule: schedule(true).optional().describe("Makes this a job: a UTC cron, `every …` or @once."),
    moved_from: movedFrom.optional(),
    resources: resources.describe("Caps; memory is mandatory."),
    restart,
    health: health.optional().describe("How it is known to work; exactly one of http, tcp and exec. Jobs need none."),
    env: z.record(envName, envValue).default({}).describe("Environment variables; never secrets."),
    secrets: secrets.optional().describe("Secrets by path, never by value."),
    bootstrap: z
      .strictObject({ env_file: absolutePath.describe("Root-owned 0600 file with VARIABLE=value lines.") })
      .optional()
      .describe("The one exception: variables from a file on the host, where its policy allows that file."),
    volumes,
    files,
    routes,
    update,
    slo: slo.optional().describe("What this service promises."),
    backups,
    backup: backupNone.optional().describe("In place of [[backups]]: why losing the volumes is fine."),
    shm_size: sizeBytes.optional().describe("Size of /dev/shm."),
    ulimits: ulimits.optional().describe("Limits by Docker's names, such as nofile."),
    sysctls: sysctls.optional().describe("Kernel parameters of the container's own namespaces."),
    tmpfs: z.array(tmpfsMount).max(50).optional().describe("Directories in memory: /path or /path:size=64m."),
    read_only: z.boolean().optional().describe("The image's own file system cannot be written to."),
    cap_add: z.array(capability).max(64).optional().describe("Kernel capabilities to give."),
    cap_drop: z.array(capability).max(64).optional().describe("Kernel capabilities to take away; ALL too."),
    devices: z.array(device).max(100).optional().describe("Host devices, in Docker's form."),
    privileged: z.boolean().optional().describe("All of the host's powers; where the host's policy allows it."),
    init: z.boolean().optional().describe("A small init as first process, which reaps zombies."),
    hostname: z
      .string()
      .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62})$/, "write a host name")
      .optional()
      .describe("The container's host name, and a second name for it on the node's network."),
    dns: z.array(ipAddress).max(8).optional().describe("DNS servers."),
    network,
    pid: z.enum(["private", "host"]).default("private").describe("Whose processes it sees."),
    ipc: z.enum(["private", "shareable", "host", "none"]).default("private").describe("Whose shared memory it uses."),
    labels: z
      .record(lineOfText(256), labelValue)
      .default({})
      .describe("Docker labels; those of orca. are the agent's."),
    log: log.optional().describe("Where its output goes; Docker's local driver, capped, when left out."),
  })
  // These rules speak up beside other faults, so that one run of lint names them all.
  .superRefine(checkWhole, { when: ({ value }) => typeof value === "object" && value !== null })
  .meta({
    title: "Orca service manifest",
    description: "One service, or with `schedule` one job; the file's name is the service's name.",
  });

/** A validated manifest, with durations in milliseconds and sizes in bytes. */
export type Manifest = z.output<typeof manifestSchema>;

/** The tables under `[secrets]` that name secrets. */
export const SECRET_TABLES = ["env", "files", "templates"] as const;

/** A health check as the manifest declares it. */
export type HealthCheck = NonNullable<Manifest["health"]>;
