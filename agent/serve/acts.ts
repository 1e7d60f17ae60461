// What people ask of the agent: restart, stop, start, rollback, pause, resume, sync. Each needs the caller's uid by the kernel's word, is written to
// the audit log, and only then handed to the loop and answered.

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { readBody } from "../http/request-body.ts";
import type { Actor, AgentEvent } from "../../shared/state/event.ts";
import type { DockerExec, DockerReader } from "../docker/reader.ts";
import type { Clock } from "../host/os/clock.ts";
import { findUserName, type PeerCredentials, readPeerCredentials } from "../host/os/peer-credentials.ts";
import type { PersonRequest } from "../../shared/state/request.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import type { AuditEntry, AuditLine } from "../report/audit/audit-chain.ts";
import type { ReadView } from "../report/read-view.ts";
import { answerCopyOut } from "./copy-out-routes.ts";
import { answerBackupAct, type BackupDesk } from "./backup-routes.ts";
import { answerBundle, answerRecovery } from "./bundle-routes.ts";
import { answerDrillAct, type DrillDesk } from "./drill-routes.ts";
import { answerPruneAct, type PruneDesk } from "./prune-routes.ts";
import { answerPin } from "./pin-routes.ts";
import { answerRestoreAct, type RestoreDesk } from "./restore-routes.ts";
import { answerUpdateRetry } from "./update-routes.ts";
import { answerUnknownService } from "./read-routes.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What acts work with. */
export interface ActParts {
  clock: Clock;
  view: ReadView;
  /** Resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine>;
  emit(event: AgentEvent): void;
  /** Hands a request to the loop; undefined while the agent is still starting. */
  request: () => ((request: PersonRequest) => void) | undefined;
  reader: () => Pick<DockerReader, "followLogs"> | undefined;
  exec: () => Pick<DockerExec, "open"> | undefined;
  /** Takes values of secrets out of a text that is recorded. */
  redact(text: string): string;
  planNow(call: Call): Promise<Answer>;
  /** Who answers for backups; undefined while the agent is still starting. */
  backups: () => BackupDesk | undefined;
  /** Who answers for prunes; undefined while the agent is still starting. */
  prunes: () => PruneDesk | undefined;
  /** The same for restores into place. */
  restores: () => RestoreDesk | undefined;
  /** The same for drills. */
  drills: () => DrillDesk | undefined;
  worlds(call: Call): Answer;
  /** The release that a rollback of a service goes to, or why there is none. */
  findRelease(service: string, to: string | undefined): { fingerprint: string; revision: string } | string;
  /** Why the host's policy refuses that release now; undefined where it may run. */
  judgeRelease(service: string, fingerprint: string): Promise<string | undefined>;
  /** The kernel's word on who is on the other end; a test may hold it. */
  credentials?: (socket: Socket) => Promise<PeerCredentials | undefined>;
}

const LARGEST_BODY_BYTES = 16 * 1024;
const ACTS = ["restart", "pause", "resume", "stop", "start", "rollback"] as const;
type ServiceAct = (typeof ACTS)[number];

/** Answers a POST. */
export async function answerAct(parts: ActParts, call: Call, http: IncomingMessage): Promise<Answer> {
  const actor = await identify(parts, http.socket);
  if (actor === undefined) return answerError(call, 403, NO_UID);
  const body = await readObject(http);
  if (typeof body === "string") return answerError(call, 400, body);
  if (call.path.join("/") === "v1/backups/pin") return answerPin(parts, call, { body, actor });
  if (call.path[1] === "backups" && call.path[4] === "copy-out" && call.path.length === 5)
    return answerCopyOut(parts, call, { body, actor });
  if (call.path[1] === "backups") return answerBackupAct(parts, call, { body, actor });
  if (call.path.join("/") === "v1/bundle") return answerBundle(parts, call, { actor, body });
  if (call.path.join("/") === "v1/recovery") return answerRecovery(parts, call, { actor, body });
  if (call.path.join("/") === "v1/prune") return answerPruneAct(parts, call, { actor, body });
  if (call.path.join("/") === "v1/update/retry") return answerUpdateRetry(parts, call, { actor, body });
  if (call.path[1] === "restores") return answerRestoreAct(parts, call, { body, actor });
  if (call.path[1] === "drills") return answerDrillAct(parts, call, { body, actor });
  const request = parseAct(parts, call, { body, actor });
  if (request === undefined) return answerError(call, 404, "there is no such act");
  if ("status" in request) return request;
  const refusal = await judgeRollback(parts, request);
  if (refusal !== undefined) return answerError(call, 409, refusal);
  return carryOut(parts, call, request);
}

/** Said to a caller whom the kernel does not name. */
export const NO_UID = "the kernel does not say who you are: nothing is done for somebody without a uid";

/** Finds out who is on the other end; undefined means that nothing may be done for them. */
export async function identify(parts: Pick<ActParts, "credentials">, socket: Socket): Promise<Actor | undefined> {
  const peer = await (parts.credentials ?? readPeerCredentials)(socket);
  if (peer === undefined) return undefined;
  return { uid: peer.uid, user: await findUserName(peer.uid) };
}

/** The actor as the audit log writes it. */
export function describeActor({ uid, user }: Actor): AuditEntry["actor"] {
  return { kind: "user", uid, ...(user === undefined ? {} : { user }) };
}

function parseAct(
  parts: ActParts,
  call: Call,
  asked: { body: object; actor: Actor },
): PersonRequest | Answer | undefined {
  const { actor, body } = asked;
  const [version, first, service, act] = call.path;
  if (version !== "v1") return undefined;
  if (call.path.length === 2 && (first === "pause" || first === "resume"))
    return { kind: first, service: undefined, actor };
  if (call.path.length === 2 && first === "sync") return parseSync(parts, call, { body, actor });
  const kind = ACTS.find((entry) => entry === act);
  if (first !== "services" || service === undefined || kind === undefined || call.path.length !== 4) return undefined;
  return (
    requireService(parts, call, service) ??
    refuseStart(parts, call, { kind, service }) ??
    buildRequest(parts, call, { kind, service, actor, body })
  );
}

/** Nobody is told that something starts of which no start can begin. */
function refuseStart(
  { view }: ActParts,
  call: Call,
  { kind, service }: Pick<AskedAct, "kind" | "service">,
): Answer | undefined {
  if (kind !== "start" && kind !== "restart") return undefined;
  const blocked = view.status().services.find((entry) => entry.name === service)?.startBlocked ?? undefined;
  if (blocked === undefined) return undefined;
  return answerError(call, 409, `${service} is not ${kind}ed: ${blocked}; orca why ${service} says more`);
}

interface AskedAct {
  kind: ServiceAct;
  service: string;
  actor: Actor;
  body: object;
}

function buildRequest(parts: ActParts, call: Call, { kind, service, actor, body }: AskedAct): PersonRequest | Answer {
  const { ignoreRequires = false, empty = false, to, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return answerError(call, 400, `${kind} knows no ${JSON.stringify(unknown)}`);
  if (kind === "start") {
    if (typeof ignoreRequires !== "boolean") return answerError(call, 400, "ignoreRequires is true or false");
    if (typeof empty !== "boolean") return answerError(call, 400, "empty is true or false");
    return { kind, service, ignoreRequires, ...(empty ? { empty } : {}), actor };
  }
  if (kind !== "rollback") return { kind, service, actor };
  if (to !== undefined && typeof to !== "string") return answerError(call, 400, "to is a revision");
  const release = parts.findRelease(service, to);
  return typeof release === "string" ? answerError(call, 409, release) : { kind, service, release, actor };
}

/** A release that was good once may be one that this host does not let run any more. */
async function judgeRollback(parts: ActParts, request: PersonRequest): Promise<string | undefined> {
  if (request.kind !== "rollback") return undefined;
  const { service, release } = request;
  const refusal = await parts.judgeRelease(service, release.fingerprint);
  return refusal && `${service} cannot go back to ${release.revision}: ${refusal}`;
}

function parseSync(parts: ActParts, call: Call, asked: { body: object; actor: Actor }): PersonRequest | Answer {
  const { retry, allowRemoval, ...rest } = asked.body as { retry?: unknown; allowRemoval?: unknown };
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return answerError(call, 400, `sync knows no ${JSON.stringify(unknown)}`);
  if (retry !== undefined && typeof retry !== "string") return answerError(call, 400, "retry is the name of a service");
  if (allowRemoval !== undefined && !(Number.isSafeInteger(allowRemoval) && (allowRemoval as number) > 0))
    return answerError(call, 400, "allowRemoval is a whole number from 1 on");
  const missing = retry === undefined ? undefined : requireService(parts, call, retry);
  return missing ?? { kind: "sync", retry, allowRemoval: allowRemoval as number | undefined, actor: asked.actor };
}

/** Undefined where the service is there, else the answer that says it is not. */
export function requireService(parts: Pick<ActParts, "view">, call: Call, service: string): Answer | undefined {
  const known = parts.view.status().services.some((entry) => entry.name === service);
  return known ? undefined : answerUnknownService(parts.view, call, service);
}

async function carryOut(parts: ActParts, call: Call, request: PersonRequest): Promise<Answer> {
  const hand = parts.request();
  if (hand === undefined) return answerError(call, 503, "the agent is still starting: try again in a moment");
  const { kind, actor } = request;
  const service = "service" in request ? request.service : request.retry;
  const what = {
    ...(service === undefined ? {} : { service }),
    ...(request.kind === "rollback" ? { to: request.release.revision } : {}),
    ...(request.kind === "start" && request.ignoreRequires ? { ignoreRequires: true } : {}),
    ...(request.kind === "start" && request.empty === true ? { empty: true } : {}),
    ...(request.kind === "sync" && request.allowRemoval !== undefined ? { allowRemoval: request.allowRemoval } : {}),
  };
  let line: AuditLine;
  try {
    line = await parts.record({
      actor: describeActor(actor),
      action: kind,
      what,
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return answerError(call, 503, `nothing was done: ${readMessage(error)}`);
  }
  hand(request);
  const detail = JSON.stringify(what);
  parts.emit({ kind: "acted", atMs: parts.clock.nowMs(), actor, action: kind, service, detail });
  return answerJson(202, {
    accepted: true,
    action: kind,
    service: service ?? null,
    audit: { seq: line.seq, hash: line.hash },
    message: describeAccepted(parts, request),
  });
}

/** States in which a start that a person asks for may still have to wait for something. */
const MAY_WAIT: ReadonlySet<string> = new Set(["waiting", "refused", "held", "invalid", "unknown"]);

function describeStart(
  { view }: ActParts,
  { service, ignoreRequires }: Extract<PersonRequest, { kind: "start" }>,
): string {
  const { state, code, reason, health } = view.status().services.find((entry) => entry.name === service) ?? {};
  if (state === "paused") return `${service} is paused: it starts after orca resume ${service}`;
  if (code === "copied-cold") return sayAfterCopy(service);
  if (health !== null && health !== undefined) return `${service} runs already: it is ${state}`;
  if (ignoreRequires) return `${service} is started without waiting for what it requires`;
  if (state === "backoff") return `${service} is tried again now; it was in backoff: ${reason}`;
  return state !== undefined && MAY_WAIT.has(state)
    ? `${service} starts as soon as it may; now it is ${state}: ${reason}`
    : `${service} is started`;
}

/** Resuming the node ends what people have set on each of its services too: they are named. */
function describeNodeResume({ view }: ActParts): string {
  const set = view
    .status()
    .services.flatMap(({ name, override }) => (override === null ? [] : [`${name} was ${override}`]));
  return `the node goes on${set.length === 0 ? "" : `, and each of its services: ${set.join(", ")}`}`;
}

function sayAfterCopy(service: string): string {
  return `${service} stands still while its backup copies its volumes: it starts after that`;
}

/** What is asked of an engine that does not answer comes later. */
function describeRestart({ view }: ActParts, service: string): string {
  const { services, engine } = view.status();
  const { state, code } = services.find((entry) => entry.name === service) ?? {};
  if (state === "paused") return `${service} is paused: it restarts after orca resume`;
  if (code === "copied-cold") return sayAfterCopy(service);
  return engine.reachable ? `${service} is restarted` : `${service} is restarted as soon as the engine answers`;
}

function describeAccepted(parts: ActParts, request: PersonRequest): string {
  switch (request.kind) {
    case "restart":
      return describeRestart(parts, request.service);
    case "stop":
      return `${request.service} is stopped, until orca start, orca resume or a new manifest`;
    case "start":
      return describeStart(parts, request);
    case "rollback":
      return `${request.service} goes back to ${request.release.revision}, until orca resume or a new manifest`;
    case "pause":
      return `${request.service ?? "the node"} is paused: nothing is changed until orca resume`;
    case "resume":
      return request.service === undefined ? describeNodeResume(parts) : `${request.service} goes on`;
    case "use-volume":
      return `${request.service} gets its data from ${request.generation}`;
    case "sync":
      return request.retry === undefined ? "the source is read again" : `${request.retry} is tried again now`;
    default:
      return request satisfies never;
  }
}

/** Reads a small JSON object; nothing at all counts as an empty one. A text says what is wrong. */
async function readObject(http: IncomingMessage): Promise<object | string> {
  try {
    const read = await readBody(http, { limitBytes: LARGEST_BODY_BYTES });
    if (read?.content === undefined) return "the request is too large";
    const text = read.content.toString("utf8");
    const body = (text.trim() === "" ? {} : JSON.parse(text)) as unknown;
    return typeof body === "object" && body !== null && !Array.isArray(body) ? body : "the request is no JSON object";
  } catch {
    return "the request is no JSON object";
  }
}
