// What of the backups somebody must be told: a run that made none, a backup that cannot be restored, a promise that is broken. Pure.

import { describeDuration } from "../../../shared/text/duration.ts";
import { isBroken, measureAge, type StoreStanding } from "../../../shared/state/promise.ts";
import type { Condition, Severity } from "./alert-judge.ts";

/** Lists how every store is now: the run and the proof once for each, the promise for each of its repositories. */
export function listBackupConditions(standings: readonly StoreStanding[], nowMs: number): Condition[] {
  const stores = new Map(standings.map((standing) => [`${standing.service}/${standing.store}`, standing]));
  return [
    ...[...stores.values()].flatMap((standing) => [judgeRun(standing), judgeProof(standing)]),
    ...standings.map((standing) => judgeRpo(standing, nowMs)),
  ];
}

function judgeRun({ service, store, lastRun }: StoreStanding): Condition {
  const reason = lastRun?.reason;
  return build(
    service,
    `@backup:${service}/${store}`,
    reason === undefined ? undefined : ["backup-failed", "warning", reason],
  );
}

function judgeProof({ service, store, lastVerify }: StoreStanding): Condition {
  const isBad = lastVerify?.verdict === "bad";
  const reason = `${lastVerify?.backup} cannot be restored: ${lastVerify?.detail}`;
  return build(service, `@proof:${service}/${store}`, isBad ? ["backup-bad", "critical", reason] : undefined);
}

function judgeRpo(standing: StoreStanding, nowMs: number): Condition {
  const { service, store, repository } = standing;
  const broken = isBroken(standing, nowMs);
  const subject = `@rpo:${service}/${store}@${repository}`;
  return build(service, subject, broken ? ["rpo-broken", "critical", describeRpo(standing, nowMs)] : undefined);
}

/** The copies of the audit log: told as long as a repository does not have what it is to have. */
export function judgeAuditCopies(trouble: string | undefined, revision: string | undefined): Condition {
  const told = trouble === undefined ? { state: "ok", reason: "" } : { state: "not-copied", reason: trouble };
  const severity = trouble === undefined ? undefined : "warning";
  return { subject: "@audit-copy", service: undefined, ...told, severity, revision, page: "repositories" };
}

/** Why the promise is broken, in words. */
export function describeRpo(standing: StoreStanding, nowMs: number): string {
  const { store, repository, rpoMs = 0, newestMs, trouble } = standing;
  if (trouble !== undefined) return `${store}: ${trouble}`;
  const age = describeDuration(measureAge(standing, nowMs));
  const what =
    newestMs === undefined
      ? `${repository} has no good backup of ${store}, which is there for ${age}`
      : `the newest good backup of ${store} in ${repository} is ${age} old`;
  return `${what}; slo.rpo promises ${describeDuration(rpoMs)}`;
}

function build(service: string, subject: string, trouble: [string, Severity, string] | undefined): Condition {
  const [state = "ok", severity, reason = ""] = trouble ?? [];
  return { subject, service, state, severity, reason, revision: undefined, page: "backup" };
}
