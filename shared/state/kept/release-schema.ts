// A release as it is read back from disk: everything that is needed to run it again (shared/state/desired-state.ts). A release that
// does not parse cannot be gone back to, and is passed over. A new field needs its entry here, or this file does not compile;
// one that earlier versions did not write needs what it means there.

import * as z from "zod";

import type { Caps, ContainerSpec } from "../container-spec.ts";
import type { DesiredFile, DesiredService, Front } from "../desired-state.ts";
import { nameContent, readContentName } from "../file-content.ts";
import type { HealthCheck, Manifest } from "../../manifest/manifest.ts";
import type { ReleaseRecord } from "../memory.ts";
import type { Requirement, RequirementTarget } from "../../manifest/requirement.ts";
import { releaseRecord } from "./memory-schema.ts";
import { describeFault, maybe } from "./salvage.ts";

type ShapeOf<T> = { [K in keyof Required<T>]: z.ZodType<T[K]> };

const number = z.number();
const text = z.string();
const texts = z.array(text);
const words = z.record(text, text);
const left = z.exactOptional;

const caps: z.ZodType<Caps> = z.looseObject({
  memoryBytes: number,
  nanoCpus: number,
  cpuShares: number,
  pids: number,
});

const containerSpec: z.ZodType<ContainerSpec> = z.looseObject({
  image: text,
  command: left(texts),
  entrypoint: left(texts),
  user: left(text),
  workingDir: left(text),
  stopSignal: left(text),
  env: left(words),
  secretEnv: left(words),
  secretFiles: left(words),
  bootstrapFile: left(text),
  volumes: left(
    z.array(
      z.looseObject({
        name: left(text),
        of: left(text),
        source: left(text),
        target: text,
        readOnly: left(z.boolean()),
        ephemeral: left(z.literal(true)),
      }),
    ),
  ),
  ports: left(texts),
  files: left(
    z.array(
      z.looseObject({
        target: text,
        mode: left(text),
        owner: left(text),
        memory: left(z.literal(true)),
        hash: left(text),
      }),
    ),
  ),
  network: left(z.enum(["host", "none"])),
  pid: left(z.literal("host")),
  ipc: left(z.enum(["shareable", "host", "none"])),
  shmSizeBytes: left(number),
  ulimits: left(z.record(text, z.looseObject({ soft: number, hard: number }))),
  sysctls: left(words),
  tmpfs: left(texts),
  readOnly: left(z.boolean()),
  capAdd: left(texts),
  capDrop: left(texts),
  devices: left(texts),
  privileged: left(z.boolean()),
  init: left(z.boolean()),
  hostname: left(text),
  dns: left(texts),
  labels: left(words),
  log: left(z.looseObject({ driver: text, options: words })),
  behind: left(text),
  aliases: left(texts),
  control: left(text),
  fills: left(texts),
} satisfies { [K in keyof Required<ContainerSpec>]: z.ZodType });

/** Its content is stored by its name, under the key that every version knows. */
const desiredFile: z.ZodType<DesiredFile> = z
  .looseObject({
    target: text,
    hash: text,
    mode: text,
    owner: maybe(text),
    onChange: z.union([z.literal("restart"), z.looseObject({ signal: text }), z.looseObject({ exec: texts })]),
  })
  .transform(({ hash, ...file }) => ({ ...file, content: readContentName(hash) }));

/** What blocked a start when it was recorded says nothing of later. */
function storeDesired({ files, front, blocked: _blocked, ...service }: DesiredService): object {
  return {
    ...service,
    files: files.map(({ content, ...file }) => ({ ...file, hash: nameContent(content) })),
    ...(front === undefined ? {} : { front: { ...front, service: storeDesired(front.service) } }),
  };
}

/** Stored with undefined keys left out; `http`, `tcp` and `exec` exclude each other. */
const healthCheck = z.looseObject({
  http: left(z.looseObject({ port: number, path: text, scheme: z.enum(["http", "https"]), status: z.array(number) })),
  tcp: left(z.looseObject({ port: number })),
  exec: left(texts),
  interval: number,
  timeout: number,
  retries: number,
  start_period: number,
}) as unknown as z.ZodType<HealthCheck>;

const restart: z.ZodType<Manifest["restart"]> = z.looseObject({
  policy: z.enum(["always", "on-failure", "never"]),
  backoff: z.looseObject({ initial: number, max: number, reset_after: number }),
});

const update = z.looseObject({
  order: z.enum(["stop-first", "start-first"]),
  healthy_within: number,
  drain: left(number),
  settle: number,
  rollback: z.boolean(),
}) as unknown as z.ZodType<DesiredService["update"]>;

const target: z.ZodType<RequirementTarget> = z.union([
  z.looseObject({ kind: z.literal("service"), node: maybe(text), service: text }),
  z.looseObject({ kind: z.literal("endpoint"), url: text }),
]);

const requirement: z.ZodType<Requirement> = z.looseObject({
  target,
  expiresMs: maybe(number),
  // eslint-disable-next-line unicorn/no-thenable -- the name of the contract's key
  then: z.enum(["start", "fail"]),
});

const front: z.ZodType<Front> = z.looseObject({
  ports: z.array(number),
  drainMs: number,
  service: z.lazy(() => desiredService),
});

const shape: ShapeOf<DesiredService> = {
  name: text,
  kind: z.enum(["service", "job"]),
  fingerprint: text,
  revision: text,
  spec: containerSpec,
  specHash: text,
  caps,
  files: z.array(desiredFile),
  running: z.boolean(),
  schedule: maybe(text),
  health: maybe(healthCheck),
  restart,
  update,
  requires: z.array(requirement),
  wants: z.array(target),
  wantsTimeoutMs: number,
  stopTimeoutMs: number,
  front: left(front),
  movedFrom: left(z.looseObject({ node: text, service: text })),
  frontOf: left(text),
  owner: maybe(text),
  rtoMs: left(number),
  disposable: left(z.literal(true)),
  binds: left(z.array(z.looseObject({ source: text, target: text, real: text }))),
  backupFirst: left(z.array(z.looseObject({ service: text, store: text }))),
  slo: left(z.looseObject({ availability: left(number), freeze: left(z.literal(true)) })),
  onlyAsItIs: left(text),
  // Earlier versions wrote it, in words.
  blocked: left(z.unknown().transform(() => undefined)),
  unused: left(texts),
  notes: texts,
};

/** A service as a release keeps it. */
const desiredService = z.looseObject(shape) as unknown as z.ZodType<DesiredService>;

/** A release as it is stored; one whose `desired` is missing or cannot be read is known, and cannot be gone back to. */
export type StoredRelease = ReleaseRecord & { desired?: DesiredService };

/** A release as it is written, in the form that the version before reads too. */
export function writeRelease({ desired, ...release }: StoredRelease): object {
  return desired === undefined ? release : { ...release, desired: storeDesired(desired) };
}

/** Reads a release; `fault` says why it cannot be gone back to, `release` is undefined where nothing of it can be used. */
export function readRelease(value: unknown): { release: StoredRelease | undefined; fault: string | undefined } {
  const record = releaseRecord.safeParse(value);
  if (!record.success) return { release: undefined, fault: describeFault(record.error) };
  const { desired: stored, ...release } = record.data as ReleaseRecord & { desired?: unknown };
  if (stored === undefined) return { release, fault: undefined };
  const desired = desiredService.safeParse(stored);
  if (!desired.success) return { release, fault: `desired.${describeFault(desired.error)}` };
  return { release: { ...release, desired: desired.data }, fault: undefined };
}
