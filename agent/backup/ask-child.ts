// Asks the child for a backup or for the proof of one: builds the request, and reads the answer. A child that fails is an answer too.

import type { BackupRun, StorePlan } from "../../shared/state/backup.ts";
import type { ChildEnd, ChildRun } from "../host/os/child-process.ts";
import { BACKUP_COMMAND, type ChildAnswer, type ChildRequest } from "./backup-exchange.ts";
import type { BackupRecord } from "./core/backup-record.ts";

/** What a child is started with. */
export interface ChildParts {
  node: string;
  /** The directory of the repository `local`. */
  localDirectory: string;
  /** The engine's unix socket. */
  socket: string;
  /** The agent's own entry. */
  program: string;
  runChild(run: ChildRun): Promise<ChildEnd>;
}

/** What is asked for. */
export type ChildTask =
  | { kind: "make"; plan: StorePlan; trigger: BackupRun["trigger"]; container: string | undefined }
  | { kind: "verify"; plan: StorePlan; record: BackupRecord };

/** What a dump and a restore may take; the child itself has as much again. */
const CONTAINER_MEMORY_BYTES = 256 * 2 ** 20;
const CHILD_MEMORY_BYTES = 256 * 2 ** 20;
const DUMP_DEADLINE_MS = 6 * 3_600_000;
/** Beyond what a restore itself may take: reading the backup and removing the container. */
const AROUND_RESTORE_MS = 1_800_000;
const ANSWER_LIMIT_BYTES = 1024 * 1024;

/** Runs the child for one task. Never throws. */
export async function askChild(parts: ChildParts, signal: AbortSignal, task: ChildTask): Promise<ChildAnswer> {
  const request = buildRequest(parts, task);
  if (typeof request === "string") return { kind: "failed", reason: request };
  const end = await parts.runChild({
    program: parts.program,
    command: BACKUP_COMMAND,
    request: JSON.stringify(request),
    deadlineMs: request.kind === "make" ? DUMP_DEADLINE_MS : request.timeoutMs + AROUND_RESTORE_MS,
    answerLimitBytes: ANSWER_LIMIT_BYTES,
    memoryLimitBytes: CHILD_MEMORY_BYTES,
    signal,
  });
  if (end.kind === "failed") return { kind: "failed", reason: `the child failed: ${end.reason}` };
  try {
    return JSON.parse(end.answer.toString("utf8")) as ChildAnswer;
  } catch {
    return { kind: "failed", reason: "the child gave no answer" };
  }
}

function buildRequest({ node, socket, localDirectory }: ChildParts, task: ChildTask): ChildRequest | string {
  const { plan } = task;
  const common = {
    folder: { node, service: plan.service, store: plan.store },
    socket,
    user: plan.user,
    memoryBytes: CONTAINER_MEMORY_BYTES,
    repository: { name: "local", directory: localDirectory },
  };
  if (task.kind === "make") {
    const { container, trigger } = task;
    if (container === undefined) return `${plan.service} does not run: a dump is read from a server that does`;
    return { ...common, kind: "make", engine: "postgres", trigger, container, recipients: [] };
  }
  const {
    image,
    timeoutMs = DUMP_DEADLINE_MS,
    extensions = [],
    schemas = [],
    queries = [],
    maxBytes,
  } = plan.verify ?? {};
  const bytes = task.record.files.reduce((sum, { plain }) => sum + plain.bytes, 0);
  if (maxBytes !== undefined && bytes > maxBytes)
    return `${task.record.name} is larger than verify.max_size: it is not restored here`;
  const expectations = { extensions, schemas, queries };
  return { ...common, kind: "verify", backup: task.record.name, image, timeoutMs, expectations };
}
