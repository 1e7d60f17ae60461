// From how stores and services stand to the document that `orca slo` shows. Pure.

import type {
  AvailabilityDocument,
  RpoDocument,
  RtoDocument,
  SloDocument,
} from "../../../shared/document/slo-document.ts";
import {
  findBudgetMs,
  isBroken,
  judgeAvailability,
  judgeRto,
  measureAge,
  type ServiceStanding,
  type StoreStanding,
} from "../../../shared/state/promise.ts";
import { describeRpo } from "../notify/backup-conditions.ts";
import { describeAvailability, describeRto } from "../promise/describe-promise.ts";
import { toIso } from "./status-builder.ts";

/** Everything that promises are about. */
export interface Standings {
  standings: readonly StoreStanding[];
  services: readonly ServiceStanding[];
}

/** Builds it. */
export function buildSlo({ standings, services }: Standings, node: string, nowMs: number): SloDocument {
  const rpo = standings.map((standing) => buildRpo(standing, nowMs));
  const seen = services.filter(
    ({ upMs, downMs, unknownMs, slo }) => slo !== undefined || upMs + downMs + unknownMs > 0,
  );
  const availability = seen.map(buildAvailability);
  const rto = seen
    .filter(({ slo, incident }) => slo?.rtoMs !== undefined || incident !== undefined)
    .map((service) => buildRto(service, nowMs));
  const held = [...rpo, ...availability, ...rto].every(({ state }) => state !== "broken");
  return { version: 1, node, at: toIso(nowMs), held, rpo, availability, rto };
}

function buildRpo(standing: StoreStanding, nowMs: number): RpoDocument {
  const { service, store, repository, rpoMs, newestMs, lastRun, proof } = standing;
  const broken = isBroken(standing, nowMs);
  return {
    service,
    store,
    repository,
    promisedSeconds: rpoMs === undefined ? null : toSeconds(rpoMs),
    ageSeconds: toSeconds(measureAge(standing, nowMs)),
    newest: newestMs === undefined ? null : toIso(newestMs),
    state: rpoMs === undefined ? "not-promised" : broken ? "broken" : "held",
    reason: broken ? describeRpo(standing, nowMs) : (standing.trouble ?? lastRun?.reason ?? null),
    verdict: proof ?? null,
  };
}

function buildAvailability(service: ServiceStanding): AvailabilityDocument {
  const { upMs, downMs, unknownMs, slo } = service;
  const promised = slo?.availability;
  const budgetMs = promised === undefined ? undefined : findBudgetMs(promised);
  return {
    service: service.service,
    promisedPercent: promised ?? null,
    measuredPercent: toPercent(upMs, downMs),
    worstPercent: toPercent(upMs, downMs + unknownMs),
    upSeconds: toSeconds(upMs),
    downSeconds: toSeconds(downMs),
    unknownSeconds: toSeconds(unknownMs),
    budgetSeconds: budgetMs === undefined ? null : toSeconds(budgetMs),
    leftSeconds: budgetMs === undefined ? null : toSeconds(budgetMs - downMs),
    state: judgeAvailability(service),
    reason: describeAvailability(service) ?? null,
  };
}

function buildRto(service: ServiceStanding, nowMs: number): RtoDocument {
  const { slo, incident } = service;
  return {
    service: service.service,
    promisedSeconds: slo?.rtoMs === undefined ? null : toSeconds(slo.rtoMs),
    began: incident === undefined ? null : toIso(incident.beganMs),
    ended: incident?.endedMs === undefined ? null : toIso(incident.endedMs),
    tookSeconds: incident === undefined ? null : toSeconds(incident.tookMs),
    state: judgeRto(service, nowMs),
    reason: describeRto(service, nowMs) ?? null,
  };
}

/** Down to a thousandth: 99.999 is not 100. */
function toPercent(upMs: number, restMs: number): number | null {
  return upMs + restMs === 0 ? null : Math.floor((upMs / (upMs + restMs)) * 100_000) / 1_000;
}

function toSeconds(ms: number): number {
  return Math.round(ms / 1_000);
}
