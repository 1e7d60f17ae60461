// The `[[backups]]` table of a manifest and `backup = { none = … }`: which store is read how, and which keys go with which engine.

import * as z from "zod";

import {
  argv,
  durationBetween,
  imageReference,
  lineOfText,
  name,
  relativePath,
  schedule,
  secretPath,
  sizeBytes,
} from "../text/schema-leaf.ts";
import { describeCount } from "../text/count.ts";

/** Less than that and no database's program starts. */
const LEAST_MEMORY_BYTES = 32 * 2 ** 20;

/** As S3 has them (Amazon S3 user guide, "Bucket naming rules"). */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

const objectPrefix = lineOfText(512).refine((text) => !text.startsWith("/") && !text.endsWith("/"), {
  params: { hint: "leave out the slash at its beginning and its end" },
  error: "a prefix begins and ends with a name",
});

const count = z.int().min(0).max(36_500);

const retention = z
  .strictObject({
    days: count.default(14).describe("Every backup of so many days is kept."),
    daily: count.default(14).describe("Then one for each of so many days."),
    weekly: count.default(4).describe("Then one for each of so many weeks."),
    monthly: count.default(0).describe("Then one for each of so many months."),
  })
  .prefault({})
  .describe("What is kept; the newest verified backup always is.");

const texts = z.array(lineOfText(4_096)).max(1_000).default([]);

const verify = z.strictObject({
  schedule: schedule(false).optional().describe("When the newest backup is restored into a throw-away container."),
  image: imageReference.optional().describe("The image it is restored with; the service's own when left out."),
  extensions: texts.describe("Extensions that the restored database must have."),
  schemas: texts.describe("Schemas that the restored database must have."),
  queries: texts.describe("Queries that must answer true on the restored data."),
  fk_allowlist: relativePath.optional().describe("File with foreign keys that may have orphans."),
  max_size: sizeBytes.optional().describe("A larger backup is not restored here."),
  timeout: durationBetween("1s", "7d").prefault("60m").describe("A verification that takes longer has failed."),
});

const connect = z
  .strictObject({
    user: lineOfText(128).optional().describe("Who reads the store; what the image makes when left out."),
    password: secretPath
      .optional()
      .describe(
        "The secret's path; without it the server must trust 127.0.0.1. It reaches the program by a file in memory.",
      ),
    databases: z
      .array(lineOfText(128))
      .min(1)
      .max(1_000)
      .optional()
      .describe("Only these; every one that there is when left out."),
  })
  .describe("How the store is reached where it does not trust 127.0.0.1.");

const source = z
  .strictObject({
    port: z
      .int()
      .min(1)
      .max(65_535)
      .describe("The service's own port where it speaks S3: the container's, as in health."),
    scheme: z
      .enum(["http", "https"])
      .default("http")
      .describe("https: the certificate is not looked at, for nothing leaves the host."),
    bucket: z.string().regex(BUCKET, "write an S3 bucket's name").describe("The bucket that is read."),
    prefix: objectPrefix.default("").describe("Only what lies below it; the whole bucket when left out."),
    region: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,64}$/, "write the region's name")
      .default("us-east-1")
      .describe("What requests are signed for; most stores of one's own take this one."),
    secret: secretPath.describe(
      "Access key and secret key, with a space between: may list and read; to restore, also write.",
    ),
  })
  .describe("The bucket of this service.");

const hook = z.strictObject({
  exec: argv.describe("Runs in the service's container."),
  timeout: durationBetween("1s", "1h").prefault("60s").describe("One that takes longer has failed."),
  on_error: z.enum(["abort", "continue"]).default("abort").describe("abort: no backup is made then."),
});

const hooks = z
  .strictObject({
    before: z.array(hook).max(20).default([]).describe("Run one after the other before the store is read."),
    after: z
      .array(hook)
      .max(20)
      .default([])
      .describe("Run after it whatever came of it, also of a run that was cut off."),
  })
  .prefault({})
  .describe("Programs around a backup, such as a freeze and its end.");

/** PostgreSQL's own rule for the names of slots ("Replication Slots"). */
const SLOT = /^[a-z0-9_]{1,63}$/;

const wal = z
  .strictObject({
    base: schedule(false)
      .default("every 7d")
      .describe("When a base backup is made, which a restore begins with: `every 7d`, or a cron in UTC."),
    ship: durationBetween("1s", "1h")
      .prefault("30s")
      .describe("So often what is new of the log goes into the repositories; nothing is sent where nothing is new."),
    slot: z
      .string()
      .regex(SLOT, "write small letters, digits and _")
      .default("orca")
      .describe("The replication slot that Orca makes on the server; max_slot_wal_keep_size must bound it."),
    window: durationBetween("1h", "3650d")
      .prefault("7d")
      .describe("A restore may go back so far: the newest base before it, and all of the log since, are kept."),
  })
  .describe('With engine = "postgres": base backups and the stream of the log, for a restore to any second.');

const backup = z
  .strictObject({
    name: name.describe("The backup's name within the service."),
    engine: z
      .enum(["postgres", "mysql", "redis", "files", "objects", "command"])
      .describe(
        "How the data is read; objects is a bucket of S3; command is any program whose standard output is the backup.",
      ),
    source: source.optional().describe('With engine = "objects": the bucket that is read.'),
    command: argv.optional().describe('With engine = "command": the argv whose standard output is the backup.'),
    exec: z
      .boolean()
      .default(false)
      .describe('With engine = "command": runs it in the service\'s own container, not in one beside it.'),
    stop: z
      .boolean()
      .default(false)
      .describe('With engine = "files": the service is stopped while its volumes are read, and started again.'),
    image: imageReference
      .optional()
      .describe("Whose programs read the store; the service's own when left out. It must be on the host."),
    connect: connect.optional(),
    hooks,
    memory: sizeBytes
      .prefault("256MiB")
      .refine((bytes) => bytes >= LEAST_MEMORY_BYTES, {
        params: { hint: 'write at least "32MiB"' },
        error: "it is too little",
      })
      .describe("The cap of a dump and of a restore that proves one; the node's budget reserves the largest."),
    min_size: sizeBytes.optional().describe("A dump that is smaller is none."),
    schedule: schedule(false).describe("`every 5h`, or a cron in UTC; its gaps must hold slo.rpo."),
    repositories: z
      .array(name)
      .min(1)
      .default(["local"])
      .describe("Where it is kept: names from fleet.toml; `local` exists without being named."),
    min_success: z.int().min(1).max(100).default(1).describe("So many repositories must hold it, or it has failed."),
    before_update: z
      .boolean()
      .default(false)
      .describe("A verified backup is made before this service is recreated; none, no rollout."),
    keep: durationBetween("1d", "3650d")
      .optional()
      .describe("With before_update: such a backup is kept so long whatever retention says; 30d when left out."),
    retention,
    verify: verify.optional().describe("Restores the newest backup to prove that it can be."),
    wal: wal.optional(),
  })
  .superRefine((entry, ctx) => {
    for (const { key, message, hint } of findMisfits(entry))
      ctx.addIssue({ code: "custom", path: [key], message, params: { hint } });
  });

interface Misfit {
  key: string;
  message: string;
  hint: string;
}

/** What is looked at to say which keys go together. */
interface BackupKeys {
  engine: "postgres" | "mysql" | "redis" | "files" | "objects" | "command";
  source?: unknown;
  command?: readonly string[] | undefined;
  exec: boolean;
  stop: boolean;
  image?: string | undefined;
  connect?: { user?: string | undefined; databases?: readonly string[] | undefined } | undefined;
  hooks: { before: readonly unknown[]; after: readonly unknown[] };
  before_update: boolean;
  keep?: number | undefined;
  repositories: readonly string[];
  min_success: number;
  verify?: z.infer<typeof verify> | undefined;
  wal?: unknown;
}

/** Keys that mean nothing where they stand: one that is silently ignored would be a lie. */
function* findMisfits(entry: BackupKeys): Iterable<Misfit> {
  const { engine, repositories, min_success: least } = entry;
  if ((engine === "command") !== (entry.command !== undefined))
    yield {
      key: "command",
      message: 'command goes with engine = "command", and only with it',
      hint: 'write command = ["program", "argument"] for that engine, or leave it out',
    };
  if (least > repositories.length)
    yield {
      key: "min_success",
      message: `min_success is ${least}, with ${describeCount(repositories.length, "repository", "repositories")}`,
      hint: "write at most the number of repositories",
    };
  if (entry.keep !== undefined && !entry.before_update)
    yield {
      key: "keep",
      message: "keep goes with before_update = true",
      hint: "retention says how long others are kept",
    };
  yield* findEngineMisfits(entry);
  yield* findObjectMisfits(entry);
  yield* findVerifyMisfits(entry);
  if (entry.wal !== undefined && engine !== "postgres")
    yield {
      key: "wal",
      message: `wal goes with engine = "postgres", and this is "${engine}"`,
      hint: engine === "mysql" ? "leave it out: this version streams no binlog" : "leave it out",
    };
}

function* findEngineMisfits({
  engine,
  exec,
  stop,
  image,
  connect: reach,
  hooks: around,
}: BackupKeys): Iterable<Misfit> {
  if (exec && engine !== "command")
    yield {
      key: "exec",
      message: 'exec goes with engine = "command"',
      hint: "leave it out: this engine has a program",
    };
  if (exec && image !== undefined)
    yield { key: "image", message: "with exec the service's own container runs it", hint: "leave out image or exec" };
  if (stop && engine !== "files")
    yield {
      key: "stop",
      message: 'stop goes with engine = "files"',
      hint: "leave it out: this engine asks the server",
    };
  if (stop && around.before.length + around.after.length > 0)
    yield { key: "hooks", message: "hooks run in the service's container, and stop ends it", hint: "leave one out" };
  if (reach !== undefined && (engine === "files" || engine === "objects" || engine === "command"))
    yield { key: "connect", message: `engine = "${engine}" connects to nothing`, hint: "leave it out" };
  if (reach?.databases !== undefined && engine === "redis")
    yield { key: "connect", message: "a Redis is dumped whole", hint: "leave out databases" };
}

function* findObjectMisfits({ engine, source: bucket, image, verify: proof }: BackupKeys): Iterable<Misfit> {
  if ((engine === "objects") !== (bucket !== undefined))
    yield {
      key: "source",
      message: 'source goes with engine = "objects", and only with it',
      hint: 'write source = { port = 9000, bucket = "uploads", secret = "/path/of/the/secret" } for that engine, or leave it out',
    };
  if (engine !== "objects") return;
  if (image !== undefined)
    yield { key: "image", message: "the agent reads the bucket itself, by no image", hint: "leave it out" };
  if (proof?.image !== undefined)
    yield { key: "verify", message: "a proof of objects takes no image", hint: "leave out verify.image" };
}

function* findVerifyMisfits({ engine, verify: proof }: BackupKeys): Iterable<Misfit> {
  if (proof === undefined || engine === "postgres") return;
  if (proof.extensions.length > 0 || proof.fk_allowlist !== undefined)
    yield {
      key: "verify",
      message: 'extensions and fk_allowlist go with engine = "postgres"',
      hint: "leave them out",
    };
  if (engine !== "mysql" && proof.schemas.length + proof.queries.length > 0)
    yield {
      key: "verify",
      message: 'schemas and queries go with engine = "postgres" or "mysql"',
      hint: "leave them out: this engine looks at what it has by itself",
    };
}

export const backups = z.array(backup).default([]).describe("Backups of what this service keeps.");

export const backupNone = z.strictObject({
  none: lineOfText(1_000)
    .refine((text) => text.length >= 4, "give the reason in a few words")
    .describe("Why losing these volumes is fine."),
});
