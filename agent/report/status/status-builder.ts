// From what is known to the document that `orca status --json` prints. Pure; the reducer made the state, the server,
// the CLI and the metrics read the document.

import {
  type DiskDocument,
  type HostDocument,
  type RefusedSecretDocument,
  type ServiceDocument,
  type SourceDocument,
  STATUS_SCHEMA,
  type StatusDocument,
  type WebhookDocument,
} from "../../../shared/document/status-document.ts";
import { compareText } from "../../../shared/text/problem.ts";
import type { SecretRefusal, SecretTrouble } from "../../../shared/secret/secret-facts.ts";
import { findToldCode, isNamedIn } from "../../../shared/state/reason.ts";
import { describeReason, describeWaiting } from "../../../shared/text/describe-reason.ts";
import { SERVICE_STATES, type ServiceState, type ServiceView } from "../../../shared/state/status.ts";
import { shortRevision } from "../../../shared/text/short-revision.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { SourceState } from "../../../shared/state/event.ts";
import { type Note, noteText } from "../../../shared/state/note.ts";
import { noteWebhook } from "./push-record.ts";
import { describeSecretTrouble } from "../../../shared/secret/secret-refusal.ts";
import type { DiskSample, HostSample, ReportState, ServiceRecord, WebhookRecord } from "./report-state.ts";
import { describeHold, describeTrouble, nameTrouble } from "../../../shared/text/words/hold-words.ts";

/** What a document says besides what the reducer knows. */
export interface StatusContext {
  node: string;
  version: string;
  socket: string | undefined;
  stateDir?: string;
  nowMs: number;
  /** What report/ itself has to say: a port that is taken, an audit log that cannot be written. */
  notes: readonly Note[];
}

/** States in which a wanted service is as it should be. */
const GOOD: ReadonlySet<ServiceState> = new Set<ServiceState>(["healthy", "completed", "stopped"]);
/** What the agent could not save is told for so long. */
const STATE_TROUBLE_MS = 600_000;
const LOW_DISK_PERCENT = 20;

/** Builds the document. */
export function buildStatus(state: ReportState, context: StatusContext): StatusDocument {
  const { node, nowMs } = context;
  const services = [...state.services.values()]
    .toSorted((left, right) => compareText(left.view.name, right.view.name))
    .map((record) => buildService(record, { nowMs, current: state.source?.revision }));
  return {
    schema: STATUS_SCHEMA,
    node,
    at: toIso(nowMs),
    agent: {
      version: context.version,
      started: toIso(state.beganMs),
      uptimeSeconds: seconds(nowMs - state.beganMs),
      socket: context.socket ?? null,
      stateDir: context.stateDir ?? null,
    },
    revision: state.source?.revision ?? null,
    source: buildSource(state, nowMs),
    secrets: state.secrets === undefined ? null : buildSecretTrouble(state.secrets),
    webhook: state.webhook === undefined ? null : buildWebhook(state.webhook),
    engine: {
      reachable: state.engine.reachable,
      reason: state.engine.reason ?? null,
      version: state.engine.version ?? null,
    },
    turn: {
      ended: isoOrNull(state.turn.endedMs),
      ageSeconds: state.turn.endedMs === undefined ? null : seconds(nowMs - state.turn.endedMs),
      tookMs: state.turn.tookMs ?? null,
      trouble: state.turn.trouble?.message ?? null,
    },
    paused: state.pausedBy === undefined ? null : { uid: state.pausedBy },
    healthy: isHealthy(state, services),
    counts: countStates(services),
    services,
    unmanaged: state.unmanaged
      .map(({ name, image, running, ports, node: owner }) => ({
        name,
        image,
        running,
        ports: [...ports],
        node: owner ?? null,
      }))
      .toSorted((left, right) => compareText(left.name, right.name)),
    notes: listNotes(state, nowMs, context.notes).map(({ text }) => text),
    host: state.host === undefined ? null : buildHost(state.host),
  };
}

/** A provider that lets this host in no more ends in services that cannot start. Nothing at all is healthy only where a source that is in force says so. */
function isHealthy(state: ReportState, services: readonly ServiceDocument[]): boolean {
  if (!state.known || !state.engine.reachable || state.secrets?.refused === true) return false;
  if (services.length === 0 && state.source?.trouble !== undefined) return false;
  return services.every((service) => isGood(service.state));
}

/** A service that is no longer wanted and is kept for its undo window says nothing against the node. */
function isGood(state: ServiceState): boolean {
  return GOOD.has(state) || state === "removing";
}

/** The services that are not as they should be, by name. */
export function selectTroubled(status: StatusDocument): ServiceDocument[] {
  return status.services.filter((service) => !isGood(service.state));
}

/** Builds the part of one service. */
export function buildService(
  record: ServiceRecord,
  { nowMs, current }: { nowMs: number; current: string | undefined },
): ServiceDocument {
  const { view } = record;
  return {
    name: view.name,
    state: view.state,
    code: findToldCode(view.fact),
    reason: describeReason(view.fact, nowMs),
    summary: summarize(view, nowMs, current),
    since: toIso(view.sinceMs),
    health: record.health ?? null,
    settled: view.settled,
    restarts: view.restarts,
    oomKills: record.oom?.kills ?? 0,
    memoryUsedBytes: record.memoryUsedBytes ?? null,
    memoryPeakBytes: record.peakBytes ?? null,
    startSeconds: record.view.tookMs === undefined ? null : Math.round(record.view.tookMs / 100) / 10,
    memoryCapBytes: view.memoryCapBytes ?? null,
    revision: view.revision ?? null,
    desiredRevision: view.desiredRevision ?? null,
    waitingFor: [...view.waitingFor],
    nextRetry: isoOrNull(view.nextMs),
    startBlocked: view.startBlocked ?? null,
    override: view.override ?? null,
    image: view.image ?? null,
    container: view.container ?? null,
    owner: view.owner ?? null,
    refusedSecrets: (view.refusedSecrets ?? []).map(buildRefused),
    notes: [...view.notes],
  };
}

/** Whom it waits for, else why it is in its state; and its revision where that is not the node's, which stands above the table. */
function summarize(
  { fact, waitingFor, revision, desiredRevision }: ServiceView,
  nowMs: number,
  current: string | undefined,
): string {
  const why = describeWaiting(fact, nowMs);
  const told = waitingFor.every((name) => isNamedIn(fact, name)) ? why : `${waitingFor.join(", ")}: ${why}`;
  const own = revision ?? desiredRevision;
  const isOther = own !== undefined && own !== current && !isNamedIn(fact, own);
  return isOther ? `runs ${shortRevision(own)}; ${told}` : told;
}

function buildSecretTrouble({ sinceMs, retryMs, ...trouble }: SecretTrouble): StatusDocument["secrets"] {
  return { ...trouble, since: toIso(sinceMs), retry: isoOrNull(retryMs) };
}

function buildRefused({ path, kind, reason, sinceMs, readMs, untilMs, ended }: SecretRefusal): RefusedSecretDocument {
  const [since, read, until] = [sinceMs, readMs, untilMs].map(toIso) as [string, string, string];
  return { path, kind, reason, since, read, until: ended ? null : until };
}

/** ISO 8601 in UTC; a time no calendar has (a damaged record) is the epoch. */
export function toIso(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : new Date(0).toISOString();
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : toIso(ms);
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1_000));
}

function buildSource({ source }: ReportState, nowMs: number): SourceDocument | null {
  if (source === undefined) return null;
  return {
    kind: source.kind,
    location: source.location,
    revision: source.revision ?? null,
    read: isoOrNull(source.readMs),
    ageSeconds: source.readMs === undefined ? null : seconds(nowMs - source.readMs),
    trouble: source.trouble === undefined ? null : describeTrouble(source.trouble),
    holds: source.holds.map((hold) => ({
      kind: hold.kind,
      reason: describeHold(hold),
      until: isoOrNull(hold.untilMs),
    })),
    retry: isoOrNull(source.retryMs),
  };
}

function buildWebhook(record: WebhookRecord): WebhookDocument {
  const { listen, trouble, accepted, ignored, refused, last, polled } = record;
  const newest =
    last === undefined ? null : { id: last.id, at: toIso(last.atMs), status: last.status, said: last.said };
  return { listen, trouble: trouble ?? null, accepted, ignored, refused, last: newest, polled: polled.commits };
}

function countStates(services: readonly ServiceDocument[]): Record<ServiceState, number> {
  const counts = Object.fromEntries(SERVICE_STATES.map((state) => [state, 0])) as Record<ServiceState, number>;
  for (const service of services) counts[service.state] += 1;
  return counts;
}

/** Before the first good reading nothing is in force, and nothing is touched either. */
function describeKept(revision: string | undefined): string {
  return revision === undefined
    ? "nothing is in force yet, and nothing on this host is changed"
    : "what is in force stays in force";
}

/** Everything worth knowing of the node; `own` is what report/ itself has to say. */
export function listNotes(state: ReportState, nowMs: number, own: readonly Note[]): Note[] {
  const { stateTrouble, turn, source, secrets, hostFileTrouble } = state;
  const texts: string[] = [];
  if (turn.trouble !== undefined) texts.push(`the last turn of the loop failed: ${turn.trouble.message}`);
  if (hostFileTrouble !== undefined) texts.push(`${hostFileTrouble}; the one in force stays`);
  if (stateTrouble !== undefined && nowMs - stateTrouble.atMs < STATE_TROUBLE_MS)
    texts.push(`the agent's state: ${stateTrouble.message}`);
  return [
    ...state.notes,
    ...texts.map(noteText),
    ...noteSource(source, nowMs),
    ...(source?.notes ?? []).map(noteText),
    ...(secrets === undefined
      ? []
      : [{ name: `secrets: ${secrets.reason}`, text: describeSecretTrouble(secrets, nowMs) }]),
    ...noteWebhook(state.webhook, nowMs),
    ...(state.host?.disks ?? []).map(buildDisk).flatMap(noteDisk),
    ...own,
  ];
}

function noteSource(source: SourceState | undefined, nowMs: number): Note[] {
  if (source?.trouble === undefined) return [];
  const age =
    source.readMs === undefined ? "was never read" : `was last read ${describeDuration(nowMs - source.readMs)} ago`;
  const retryMs = source.retryMs === undefined ? undefined : Math.max(0, source.retryMs - nowMs);
  const retry = retryMs === undefined ? "" : `; next try in ${describeDuration(retryMs)}`;
  const text = `the source ${age}: ${describeTrouble(source.trouble)}; ${describeKept(source.revision)}${retry}`;
  return [{ name: `source: ${nameTrouble(source.trouble)}`, text }];
}

function noteDisk({ path, freePercent, inodesFreePercent }: DiskDocument): Note[] {
  const full = { name: `full: ${path}`, text: `${path} is nearly full: ${freePercent} % are free` };
  const inodes = { name: `inodes: ${path}`, text: `${path} is nearly out of inodes: ${inodesFreePercent} % are free` };
  return [...(freePercent < LOW_DISK_PERCENT ? [full] : []), ...(inodesFreePercent < LOW_DISK_PERCENT ? [inodes] : [])];
}

function buildHost(host: HostSample): HostDocument {
  return {
    memoryTotalBytes: host.memoryTotalBytes,
    memoryAvailableBytes: host.memoryAvailableBytes,
    cpus: host.cpus,
    cpuLoadPercent: host.cpuLoadPercent === undefined ? null : Math.round(host.cpuLoadPercent * 10) / 10,
    uptimeSeconds: Math.round(host.uptimeSeconds),
    disks: host.disks.map(buildDisk),
  };
}

function buildDisk(disk: DiskSample): DiskDocument {
  return {
    ...disk,
    freePercent: percent(disk.freeBytes, disk.totalBytes),
    inodesFreePercent: percent(disk.inodesFree, disk.inodes),
  };
}

/** Whole per cent, cut and not rounded; 100 of nothing. */
function percent(part: number, whole: number): number {
  return whole <= 0 ? 100 : Math.floor((part / whole) * 100);
}
