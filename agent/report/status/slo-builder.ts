// From how the stores stand to the document that `orca slo` shows. Pure.

import type { RpoDocument, SloDocument } from "../../../shared/document/slo-document.ts";
import { isBroken, measureAge, type StoreStanding } from "../../../shared/state/promise.ts";
import { describeRpo } from "../notify/backup-conditions.ts";
import { toIso } from "./status-builder.ts";

/** Builds it. */
export function buildSlo(standings: readonly StoreStanding[], node: string, nowMs: number): SloDocument {
  const rpo = standings.map((standing) => buildRpo(standing, nowMs));
  return { version: 1, node, at: toIso(nowMs), held: rpo.every(({ state }) => state !== "broken"), rpo };
}

function buildRpo(standing: StoreStanding, nowMs: number): RpoDocument {
  const { service, store, repository, rpoMs, newestMs, lastRun, proof } = standing;
  const broken = isBroken(standing, nowMs);
  return {
    service,
    store,
    repository,
    promisedSeconds: rpoMs === undefined ? null : Math.round(rpoMs / 1_000),
    ageSeconds: Math.round(measureAge(standing, nowMs) / 1_000),
    newest: newestMs === undefined ? null : toIso(newestMs),
    state: rpoMs === undefined ? "not-promised" : broken ? "broken" : "held",
    reason: broken ? describeRpo(standing, nowMs) : (standing.trouble ?? lastRun?.reason ?? null),
    verdict: proof ?? null,
  };
}
