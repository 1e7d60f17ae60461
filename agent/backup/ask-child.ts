// Asks the child for a backup or for the proof of one: builds the request, and reads the answer. A child that fails is an answer too.

import type { BackupRun, CopyOutPlace, StorePlan } from "../../shared/state/backup.ts";
import type { BindSource } from "../../shared/state/step.ts";
import type { ChildEnd, ChildRun } from "../host/os/child-process.ts";
import {
  type AuditCopyRequest,
  BACKUP_COMMAND,
  type BackupRequest,
  type ChildAnswer,
  type ChildRequest,
  type CopyRequest,
  type CopyOutRequest,
  type ExpireRequest,
  type FinishRequest,
  type IdentifyRequest,
  type IndexRequest,
  type ListRequest,
  type RetainRequest,
  type RestoreRequest,
  type ShipRequest,
  type VerifyRequest,
} from "./backup-exchange.ts";
import { placeBucket } from "./objects/bucket-place.ts";
import type { BackupRecord } from "./core/backup-record.ts";
import type { RepositoryPlace } from "./repository/repository-place.ts";

/** What a child is started with. */
export interface ChildParts {
  node: string;
  /** The engine's unix socket. */
  socket: string;
  /** The slice that containers go into. */
  cgroupParent?: string | undefined;
  /** Where the ids of images are kept that came with a bundle. */
  bundles?: string | undefined;
  /** The agent's own entry. */
  program: string;
  /** Where a password may lie while a program reads it; it is in memory. */
  memoryDirectory: string;
  /** The value of a secret, or why there is none. */
  readSecret(path: string): { value: string } | { reason: string };
  /** Where leases lie that every agent of this host looks at. */
  lockDirectory: string;
  /** Where opened backups lie while they are restored. */
  spool: string;
  runChild(run: ChildRun): Promise<ChildEnd>;
  /** Of a service that is in force, as the host's policy was asked about them. */
  listBinds?: (service: string) => readonly BindSource[];
}

/** What is asked for. */
export type ChildTask = Making | Proving | Finishing | Restoring | CopyingOut;

interface Making {
  kind: "make";
  plan: StorePlan;
  trigger: BackupRun["trigger"];
  /** What there is of the service; undefined where there is nothing. */
  container: { id: string; isStopped: boolean; address: string | undefined } | undefined;
  repositories: readonly RepositoryPlace[];
  recipients: readonly string[];
  /** Only looks whether it can be made: nothing is read or written, and no hook runs. */
  checkOnly: boolean;
  /** What opens this node's own backups; none where they are not encrypted for it. */
  identities: readonly string[];
  /** This node's public backup key. */
  maker?: string | undefined;
  /** Where in the store's folder it goes; left out for a dump. */
  area?: string | undefined;
}

/** The hooks after a run that was cut off. */
interface Finishing {
  kind: "finish";
  plan: StorePlan;
  container: { id: string } | undefined;
}

interface Proving {
  kind: "verify";
  plan: StorePlan;
  record: BackupRecord;
  repository: RepositoryPlace;
  identities: readonly string[];
}

interface Restoring extends Pick<
  RestoreRequest,
  "container" | "volumes" | "progressPath" | "repository" | "identities" | "moment"
> {
  kind: "restore";
  plan: StorePlan;
  record: BackupRecord;
}

interface CopyingOut {
  kind: "copy-out";
  plan: StorePlan;
  /** The service's; a directory needs none. */
  container: { address: string | undefined } | undefined;
  record: BackupRecord;
  into: CopyOutPlace;
  repository: RepositoryPlace;
  identities: readonly string[];
}

/** Of the child itself; the dump and the restore have their own (`backups.memory`). */
const CHILD_MEMORY_BYTES = 256 * 2 ** 20;
const DUMP_DEADLINE_MS = 6 * 3_600_000;
/** Beyond what a dump itself may take: one that hangs is ended by the child, which then gives up what was begun for it. */
const AROUND_DUMP_MS = 900_000;
/** A change waits for it (backup-first.ts, LATE_MS): what takes longer is told, and tried again. */
const AWAITED_DEADLINE_MS = 3_600_000;
/** As `verify.timeout` is where it is left out. */
const PROOF_DEADLINE_MS = 3_600_000;
/** Beyond what a restore itself may take: reading the backup and removing the container. */
const AROUND_RESTORE_MS = 1_800_000;
/** A list of some thousand records. */
const ANSWER_LIMIT_BYTES = 16 * 1024 * 1024;
const LIGHT_DEADLINE_MS = 900_000;
/** A backup before an update of another service, where its own store asks for none. */
const KEEP_MS = 30 * 86_400_000;

/** Runs the child for one task. Never throws. */
export async function askChild(parts: ChildParts, signal: AbortSignal, task: ChildTask): Promise<ChildAnswer> {
  const request = buildRequest(parts, task);
  if (typeof request === "string") return { kind: "failed", reason: request };
  return sendRequest(parts, request, { deadlineMs: findDeadline(request), signal });
}

function findDeadline(
  request: BackupRequest | VerifyRequest | FinishRequest | RestoreRequest | CopyOutRequest,
): number {
  if (request.kind === "verify") return request.timeoutMs + AROUND_RESTORE_MS;
  return request.kind === "make" ? request.deadlineMs + AROUND_DUMP_MS : DUMP_DEADLINE_MS;
}

/** Has a backup copied to a repository that did not get it. Never throws. */
export function askCopy(
  parts: ChildParts,
  signal: AbortSignal,
  copy: Omit<CopyRequest, "kind" | "lockDirectory">,
): Promise<ChildAnswer> {
  const { lockDirectory } = parts;
  return sendRequest(parts, { kind: "copy", lockDirectory, ...copy }, { deadlineMs: DUMP_DEADLINE_MS, signal });
}

/** Asks the child for something that takes minutes at most. Never throws. */
export function askLight(
  parts: Pick<ChildParts, "program" | "runChild">,
  signal: AbortSignal,
  request: ListRequest | RetainRequest | IdentifyRequest | ShipRequest | ExpireRequest | IndexRequest,
): Promise<ChildAnswer> {
  return sendRequest(parts, request, { deadlineMs: LIGHT_DEADLINE_MS, signal });
}

/** Has the audit log copied into repositories. Never throws. */
export function askAuditCopy(
  parts: Pick<ChildParts, "program" | "runChild">,
  signal: AbortSignal,
  request: AuditCopyRequest,
): Promise<ChildAnswer> {
  return sendRequest(parts, request, { deadlineMs: LIGHT_DEADLINE_MS, signal });
}

async function sendRequest(
  { program, runChild }: Pick<ChildParts, "program" | "runChild">,
  request: ChildRequest,
  bounds: { deadlineMs: number; signal: AbortSignal },
): Promise<ChildAnswer> {
  const end = await runChild({
    program,
    command: BACKUP_COMMAND,
    request: JSON.stringify(request),
    answerLimitBytes: ANSWER_LIMIT_BYTES,
    memoryLimitBytes: CHILD_MEMORY_BYTES,
    ...bounds,
  });
  if (end.kind === "failed") return { kind: "failed", reason: `the child failed: ${end.reason}`, cutOff: true };
  try {
    return JSON.parse(end.answer.toString("utf8")) as ChildAnswer;
  } catch {
    return { kind: "failed", reason: "the child gave no answer", cutOff: true };
  }
}

function buildRequest(
  parts: ChildParts,
  task: ChildTask,
): BackupRequest | VerifyRequest | FinishRequest | RestoreRequest | CopyOutRequest | string {
  switch (task.kind) {
    case "make":
      return requestBackup(parts, task);
    case "verify":
      return requestProof(parts, task);
    case "finish":
      return requestFinish(parts, task);
    case "copy-out":
      return requestCopyOut(parts, task);
    default:
      return requestRestore(parts, task);
  }
}

function requestBackup(parts: ChildParts, making: Making): BackupRequest | string {
  const { plan, container, trigger, repositories, recipients, identities, checkOnly, maker, area } = making;
  if (container === undefined) return `${plan.service} has no container: nothing of it can be read`;
  if (container.isStopped && plan.engine !== "files")
    return `${plan.service} does not run: a dump is read from a server that does`;
  const { image, hooks, password: path } = plan.source;
  const secret = path === undefined ? undefined : parts.readSecret(path);
  if (secret !== undefined && "reason" in secret) return `the secret ${path}: ${secret.reason}`;
  const bucket = placeBucket(plan, container, (name) => parts.readSecret(name));
  if (typeof bucket === "string") return bucket;
  // Every run reads back what the last one has listed.
  if (bucket !== undefined && recipients.length > 0 && identities.length === 0)
    return "its encrypted listings cannot be read back here: write this node's backup_key into fleet.toml: orca status has the line";
  const common = buildCommon(parts, plan, secret?.value);
  return {
    ...common,
    ...(area === undefined ? {} : { folder: { ...common.folder, area } }),
    kind: "make",
    trigger,
    checkOnly,
    container: container.id,
    binds: parts.listBinds?.(plan.service) ?? [],
    isStopped: container.isStopped,
    image,
    hooks: container.isStopped ? { before: [], after: [] } : hooks,
    memoryDirectory: parts.memoryDirectory,
    repositories,
    recipients,
    identities,
    maker,
    bucket,
    keepMs: trigger === "before-update" ? (plan.keepMs ?? KEEP_MS) : undefined,
    deadlineMs: trigger === "before-update" ? AWAITED_DEADLINE_MS : DUMP_DEADLINE_MS,
  };
}

function requestFinish(parts: ChildParts, { plan, container }: Finishing): FinishRequest | string {
  if (container === undefined) return `${plan.service} has no container`;
  return { ...buildCommon(parts, plan, undefined), kind: "finish", container: container.id, hooks: plan.source.hooks };
}

function requestProof(parts: ChildParts, proving: Proving): VerifyRequest | string {
  const { plan, record, repository, identities } = proving;
  const { image, timeoutMs = PROOF_DEADLINE_MS, maxBytes } = plan.verify ?? {};
  const bytes = record.files.reduce((sum, { plain }) => sum + plain.bytes, 0);
  if (maxBytes !== undefined && bytes > maxBytes)
    return `${record.name} is larger than verify.max_size: it is not restored here`;
  // The server that it is restored into has a password of its own, or none.
  return {
    ...buildCommon(parts, plan, undefined),
    ...placeIn(parts, plan, record),
    kind: "verify",
    backup: record.name,
    image,
    timeoutMs,
    expectations: readExpectations(plan),
    repository,
    identities,
  };
}

/** A restore that somebody waits for is not cut off by what a proof may take. */
export function requestRestore(parts: ChildParts, { plan, record, ...target }: Restoring): RestoreRequest {
  return {
    ...buildCommon(parts, plan, undefined),
    ...target,
    ...placeIn(parts, plan, record),
    backup: record.name,
    timeoutMs: Math.max(plan.verify?.timeoutMs ?? 0, DUMP_DEADLINE_MS),
    expectations: readExpectations(plan),
  };
}

/** What lies in an area of the store's folder. */
function placeIn(
  { node }: ChildParts,
  { service, store }: StorePlan,
  { area }: BackupRecord,
): Partial<Pick<RestoreRequest, "folder">> {
  return area === undefined ? {} : { folder: { node, service, store, area } };
}

function requestCopyOut(parts: ChildParts, copying: CopyingOut): CopyOutRequest | string {
  const { plan, container, record, into, repository, identities } = copying;
  const common = { ...buildCommon(parts, plan, undefined), kind: "copy-out", backup: record.name } as const;
  if ("directory" in into) return { ...common, into, repository, identities };
  const bucket = placeBucket(plan, container, (name) => parts.readSecret(name));
  if (typeof bucket === "string") return bucket;
  if (bucket === undefined) return `${plan.service}/${plan.store} is no backup of a bucket`;
  const words = { who: plan.service, key: `backups.${plan.store}.source`, otherBucket: "name another one with --into" };
  return { ...common, into: { ...bucket, ...into, words }, repository, identities };
}

function readExpectations({ verify }: StorePlan): VerifyRequest["expectations"] {
  const { extensions = [], schemas = [], queries = [], allowed = [] } = verify ?? {};
  return { extensions, schemas, queries, allowed };
}

type Common = Pick<
  BackupRequest,
  "folder" | "socket" | "cgroupParent" | "bundles" | "engine" | "settings" | "memoryBytes" | "lockDirectory" | "spool"
>;

function buildCommon(parts: ChildParts, plan: StorePlan, password?: string): Common {
  const { node, socket, cgroupParent, bundles, lockDirectory, spool } = parts;
  const { user, databases, command, exec, volumes, minBytes, memoryBytes, password: passwordPath } = plan.source;
  return {
    folder: { node, service: plan.service, store: plan.store },
    socket,
    cgroupParent,
    bundles,
    engine: plan.engine,
    settings: { user, databases, command, exec, volumes, minBytes, password, passwordPath },
    memoryBytes,
    lockDirectory,
    spool,
  };
}
