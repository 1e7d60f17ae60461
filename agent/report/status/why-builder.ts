// Why one service is as it is: from what is known, its stored exits and releases, to the document of `orca why`. Pure.
// Output of the container (log lines, a probe's words) is added for a trusted reader only.

import type { ExitRecord, ReleaseRecord } from "../../../shared/state/memory.ts";
import {
  type ActionDocument,
  type ChangeDocument,
  type ExitDocument,
  type RotationDocument,
  WHY_SCHEMA,
  type WaitDocument,
  type WhyDocument,
} from "../../../shared/document/why-document.ts";
import { describeExit, nameSignal } from "./exit-reason.ts";
import { suggestCap } from "./memory-advice.ts";
import type { Action, Change, LastRotation, ReportState, ServiceRecord } from "./report-state.ts";
import { buildService, toIso } from "./status-builder.ts";

/** What a `why` is built with besides the state. */
export interface WhyContext {
  node: string;
  nowMs: number;
  /** Newest first. */
  exits: readonly ExitRecord[];
  /** Newest first. */
  releases: readonly ReleaseRecord[];
  /** True for a reader on the unix socket. */
  trusted: boolean;
}

/** A chain longer than this is cut: it says enough. */
const DEEPEST_CHAIN = 8;

/** Reads what the store keeps; where it cannot be read just now, the rest of the answer still helps. */
export function readKept<T>(list: () => T[] | undefined): T[] {
  try {
    return list() ?? [];
  } catch {
    return [];
  }
}

/** Builds the document; undefined when there is no such service. */
export function buildWhy(state: ReportState, name: string, context: WhyContext): WhyDocument | undefined {
  const record = state.services.get(name);
  if (record === undefined) return undefined;
  const capBytes = record.view.memoryCapBytes;
  return {
    schema: WHY_SCHEMA,
    node: context.node,
    at: toIso(context.nowMs),
    service: buildService(record, { nowMs: context.nowMs, current: state.source?.revision }),
    cause: record.actions[0]?.cause ?? null,
    waitsFor: record.view.waitingFor.map((waited) => buildWait(state, context.node, waited, [name])),
    change: record.change === undefined ? null : buildChange(record.change),
    rotation: record.rotation === undefined ? null : buildRotation(record.rotation),
    actions: record.actions.map(buildAction),
    exits: context.exits.map(buildExit),
    transitions: record.transitions.map(({ atMs, from, to, reason }) => ({
      at: toIso(atMs),
      from: from ?? null,
      to,
      reason,
    })),
    releases: context.releases.map(({ revision, image, settledMs }) => ({
      revision,
      image,
      settled: toIso(settledMs),
    })),
    memory: {
      usedBytes: record.memoryUsedBytes ?? null,
      peakBytes: record.peakBytes ?? null,
      capBytes: capBytes ?? null,
      suggestion: suggestCap({ ...record, capBytes }) ?? null,
    },
    output: context.trusted ? buildOutput(record, context.exits) : null,
  };
}

/** Follows who waits for whom until something does not wait; `above` are the services that lead here. */
function buildWait(state: ReportState, node: string, name: string, above: readonly string[]): WaitDocument {
  if (name.includes("://")) {
    const endpoint = state.endpoints[name];
    const known = endpoint === undefined ? null : endpoint.healthy ? "healthy" : "unhealthy";
    return { name, kind: "endpoint", state: known, reason: endpoint?.message ?? "not probed yet", waitsFor: [] };
  }
  const own = name.startsWith(`${node}/`) ? name.slice(node.length + 1) : name;
  if (own.includes("/")) {
    const reason = `it runs on ${own.split("/", 1)[0]}: ask there with orca why ${own.split("/")[1]}`;
    return { name, kind: "peer", state: null, reason, waitsFor: [] };
  }
  const record = state.services.get(own);
  if (record === undefined)
    return { name, kind: "unknown", state: null, reason: "there is no such service on this node", waitsFor: [] };
  const { view } = record;
  const circle = above.includes(own);
  const deeper = circle || above.length >= DEEPEST_CHAIN ? [] : view.waitingFor;
  return {
    name,
    kind: "service",
    state: view.state,
    reason: circle ? `it waits for ${above.at(-1) ?? own} in turn: they wait for each other` : view.reason,
    waitsFor: deeper.map((waited) => buildWait(state, node, waited, [...above, own])),
  };
}

function buildChange({ atMs, fromRevision, toRevision, fields }: Change): ChangeDocument {
  return {
    at: toIso(atMs),
    fromRevision,
    toRevision,
    fields: fields.map(({ field, from, to }) => ({ field, from: from ?? null, to: to ?? null })),
  };
}

function buildRotation({ atMs, paths, end }: LastRotation): RotationDocument {
  const ended = end === undefined ? null : toIso(end.atMs);
  return { at: toIso(atMs), paths: [...paths], ended, how: end?.how ?? null, reason: end?.reason ?? null };
}

function buildAction(action: Action): ActionDocument {
  return {
    at: toIso(action.atMs),
    action: action.action,
    cause: action.cause,
    tookMs: action.tookMs === undefined ? null : Math.round(action.tookMs),
    ok: action.ok,
    message: action.message ?? null,
    times: action.times,
  };
}

function buildExit(exit: ExitRecord): ExitDocument {
  const { ranMs = exit.startedMs === undefined ? undefined : exit.finishedMs - exit.startedMs } = exit;
  return {
    at: toIso(exit.finishedMs),
    ranSeconds: ranMs === undefined ? null : Math.max(0, Math.round(ranMs / 1_000)),
    exitCode: exit.exitCode,
    signal: exit.signal === undefined ? null : nameSignal(exit.signal),
    oom: exit.oom,
    reason: describeExit(exit),
    container: exit.container,
  };
}

function buildOutput(record: ServiceRecord, exits: readonly ExitRecord[]): WhyDocument["output"] {
  return { logTail: [...(exits[0]?.logTail ?? [])], probe: record.probe ?? null };
}
