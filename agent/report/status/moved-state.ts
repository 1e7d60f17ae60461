// What is known of the node, its times named anew where somebody has set the wall clock: what is as old as it was must not look older or
// younger, and nothing is told for it. Moments of the past (actions, transitions, exits) keep the names that they had. Pure; report.ts.

import { moveReason } from "../../../shared/state/reason.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import type { ReportState, ServiceRecord, WebhookRecord } from "./report-state.ts";

/** Moves every time from which a duration is taken. */
export function moveState(state: ReportState, byMs: number): ReportState {
  if (byMs === 0) return state;
  const { engine, source, secrets, turn, stateTrouble, webhook, doctor } = state;
  const later = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs + byMs);
  return {
    ...state,
    beganMs: state.beganMs + byMs,
    engine: { ...engine, sinceMs: engine.sinceMs + byMs },
    source: source && { ...source, readMs: later(source.readMs), retryMs: later(source.retryMs) },
    secrets: secrets && { ...secrets, sinceMs: secrets.sinceMs + byMs, ...moveRetry(secrets.retryMs, byMs) },
    services: new Map([...state.services].map(([name, record]) => [name, moveRecord(record, byMs)])),
    turn: {
      ...turn,
      endedMs: later(turn.endedMs),
      trouble: turn.trouble && { ...turn.trouble, atMs: turn.trouble.atMs + byMs },
    },
    stateTrouble: stateTrouble && { ...stateTrouble, atMs: stateTrouble.atMs + byMs },
    webhook: webhook && moveWebhook(webhook, byMs),
    pressure: movePressure(state.pressure, byMs),
    doctor: doctor && { ...doctor, atMs: doctor.atMs + byMs },
  };
}

function movePressure({ memory, cpu }: ReportState["pressure"], byMs: number): ReportState["pressure"] {
  return {
    ...(memory === undefined ? {} : { memory: { ...memory, sinceMs: memory.sinceMs + byMs } }),
    ...(cpu === undefined ? {} : { cpu: { ...cpu, sinceMs: cpu.sinceMs + byMs } }),
  };
}

function moveRetry(retryMs: number | undefined, byMs: number): { retryMs?: number } {
  return retryMs === undefined ? {} : { retryMs: retryMs + byMs };
}

function moveRecord(record: ServiceRecord, byMs: number): ServiceRecord {
  const { fact, sinceMs, nextMs, refusedSecrets, ...rest } = record.view;
  const view: ServiceView = {
    ...rest,
    fact: moveReason(fact, byMs),
    sinceMs: sinceMs + byMs,
    nextMs: nextMs === undefined ? undefined : nextMs + byMs,
    ...(refusedSecrets && {
      refusedSecrets: refusedSecrets.map((refusal) => ({
        ...refusal,
        sinceMs: refusal.sinceMs + byMs,
        readMs: refusal.readMs + byMs,
        untilMs: refusal.untilMs + byMs,
      })),
    }),
  };
  return { ...record, view };
}

/** Pushes are set against readings of the source, whose times move as well. */
function moveWebhook(record: WebhookRecord, byMs: number): WebhookRecord {
  const { openMs, polled, waiting } = record;
  return {
    ...record,
    openMs: openMs === undefined ? undefined : openMs + byMs,
    polled: { ...polled, atMs: polled.atMs + byMs },
    waiting: waiting.map((push) => ({ ...push, atMs: push.atMs + byMs })),
  };
}
