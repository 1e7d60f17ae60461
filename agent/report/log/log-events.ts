// What goes to the log: one line for what changes, none for a turn that changed nothing. No secret, no environment value and
// nothing that a container printed gets in.

import type { Logger } from "pino";

import { type ColdStartReport, isWhole } from "../../../shared/state/cold-start.ts";
import type { ExitRecord } from "../../../shared/state/memory.ts";
import type { AgentUpdate } from "../../../shared/fleet/agent-version.ts";
import type { DoctorLook } from "../../../shared/state/doctor-look.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { type DrillRecord, isLate, judgeDrill } from "../../../shared/drill/drill.ts";
import type { PruneRun } from "../../../shared/state/prune.ts";
import type { RestoreRecord } from "../../../shared/state/restore.ts";
import type { GossipEvent } from "../../../shared/fleet/gossip-event.ts";
import { describeCause } from "../status/actions.ts";
import { summarizeColdStart } from "../text/cold-start-text.ts";
import { describeExit } from "../status/exit-reason.ts";
import type { ReportState, StatusChange } from "../status/report-state.ts";

/** What report/ needs of a logger. */
export type ReportLogger = Pick<Logger, "debug" | "info" | "warn" | "error">;

/** Logs one event, where it says something. */
export function logEvent(logger: ReportLogger, event: AgentEvent): void {
  switch (event.kind) {
    case "agent-started":
      return logger.info({ node: event.node, engine: event.engine, version: event.version }, "agent started");
    case "serving":
      return logger.info({ addresses: event.addresses, socket: event.socket }, "status is served");
    case "agent-stopping":
      return logger.info({ reason: event.reason }, "agent ends; the containers stay as they are");
    case "turn-failed":
      return logger.error({ error: event.message }, "a turn failed");
    case "state-not-saved":
      return logger.error({ error: event.message }, "the agent's state");
    case "host-files-read":
      return event.message === undefined
        ? logger.info({}, "the host's files were read again")
        : logger.error({ error: event.message }, "a file of the host cannot be used; the one in force stays");
    case "settled":
      return logger.info({ service: event.service, revision: event.revision }, "settled: recorded as good");
    case "gossip":
      return logGossip(logger, event.event);
    case "cold-start":
      return logColdStart(logger, event.report);
    case "webhook":
      return logWebhook(logger, event);
    case "push":
      return logPush(logger, event);
    case "exited":
      return logExit(logger, event.exit);
    case "acted": {
      const { actor, action, service } = event;
      return logger.info({ uid: actor.uid, user: actor.user, action, service }, "a person asked");
    }
    case "step-done":
    case "step-failed":
      return logStep(logger, event);
    case "turn":
    case "operation-ended":
      return undefined;
    default:
      return logKeeper(logger, event);
  }
}

function logUpdate(logger: ReportLogger, { running, wanted, stage, why }: AgentUpdate): void {
  const fields = { running, wanted };
  if (stage === "stuck") return logger.warn({ ...fields, error: why }, "the agent's own update does not go on");
  if (stage === "waits") return logger.info({ ...fields, why }, "the agent's own update waits");
  if (stage === "go") return logger.info(fields, "another version of the agent is asked for");
  return logger.info(
    fields,
    stage === "trial" ? "a version of the agent is on trial" : "the agent is of the version that is wanted",
  );
}

function logLook(logger: ReportLogger, { weak, fresh, trouble }: DoctorLook): void {
  if (trouble !== undefined)
    return logger.warn({ error: trouble }, "the host was not looked at; tried again in six hours");
  for (const { id, check, severity, what, fix } of fresh) {
    const fields = { id, check, finding: what, fix };
    if (severity === "info") logger.info(fields, "new at the host");
    else logger.warn(fields, "new at the host");
  }
  logger.info({ weak, fresh: fresh.length }, "the host was looked at");
}

function logExit(logger: ReportLogger, exit: ExitRecord): void {
  const { service, container, exitCode, oom, requested } = exit;
  const fields = { service, container: container.slice(0, 12), exitCode, oom, reason: describeExit(exit) };
  if (requested === "agent") logger.info(fields, "container ended");
  else logger.warn(fields, "container ended");
}

function logColdStart(logger: ReportLogger, report: ColdStartReport): void {
  const text = summarizeColdStart(report);
  if (isWhole(report)) logger.info({}, text);
  else logger.warn({}, `${text}; not all of it, or not with all it needs: see orca fleet report`);
}

function logBackup(
  logger: ReportLogger,
  { service, store, run, bytes }: Extract<AgentEvent, { kind: "backup-ended" }>,
): void {
  const fields = { service, store, trigger: run.trigger, tookMs: Math.round(run.endedMs - run.startedMs) };
  if (run.reason === undefined) logger.info({ ...fields, backup: run.made, bytes }, "a backup was made");
  else logger.error({ ...fields, error: run.reason }, "no backup was made");
}

function logPrune(logger: ReportLogger, { trigger, removed, troubles }: PruneRun): void {
  const freedBytes = removed.reduce((sum, item) => sum + item.freedBytes, 0);
  const fields = { trigger, removed: removed.length, freedBytes };
  if (troubles.length === 0) logger.info(fields, "a prune ended");
  else logger.warn({ ...fields, troubles }, "a prune ended, and has left something");
}

function logVerdict(
  logger: ReportLogger,
  { service, store, run }: Extract<AgentEvent, { kind: "backup-judged" }>,
): void {
  const fields = { service, store, backup: run.backup, detail: run.detail };
  if (run.verdict === "good") logger.info(fields, "a backup was restored and is good");
  else if (run.verdict === "bad") logger.error(fields, "a backup cannot be restored");
  else logger.warn(fields, "a backup could not be judged");
}

function logRestore(logger: ReportLogger, { service, store, backup, from, to, stage, outcome }: RestoreRecord): void {
  const fields = { service, store, backup, from, to, stage };
  if (outcome === undefined) logger.info(fields, "a restore goes on");
  else if (outcome.kind === "restored") logger.info({ ...fields, detail: outcome.detail }, "a backup was restored");
  else logger.error({ ...fields, error: outcome.detail }, "a backup was not restored");
}

function logDrill(logger: ReportLogger, record: DrillRecord): void {
  const { kind, parts, trouble } = record;
  const verdict = judgeDrill(record);
  const fields = { drill: kind, verdict, parts: parts.length, ...(trouble === undefined ? {} : { error: trouble }) };
  if (verdict === "good") return logger.info(fields, "a drill ended: everything came back in its time");
  for (const part of parts.filter((entry) => entry.verdict === "bad" || isLate(entry)))
    logger.error(
      { service: part.service, store: part.store, backup: part.backup, detail: part.detail },
      "it did not come back in its time",
    );
  logger.error(fields, "a drill ended, and not well: see orca drill --status");
}

function logWebhook(logger: ReportLogger, { listen, trouble }: Extract<AgentEvent, { kind: "webhook" }>): void {
  if (listen === undefined) logger.info({}, "the webhook is turned off");
  else if (trouble === undefined) logger.info({ listen }, "pushes are received");
  else logger.warn({ listen }, trouble);
}

type KeeperEvent = Extract<
  AgentEvent,
  {
    kind:
      | "agent-update"
      | "backup-ended"
      | "backup-judged"
      | "backup-removed"
      | "backup-restored"
      | "doctor-looked"
      | "drill-ended"
      | "prune-began"
      | "pruned"
      | "prune-ended"
      | "volume-removed";
  }
>;

/** What became of backups, what was pruned, what a look at the host has found, and how the own update stands. */
function logKeeper(logger: ReportLogger, event: KeeperEvent): void {
  switch (event.kind) {
    case "backup-ended":
      return logBackup(logger, event);
    case "backup-judged":
      return logVerdict(logger, event);
    case "backup-restored":
      return logRestore(logger, event.record);
    case "backup-removed": {
      const { service, store, backup } = event;
      return logger.info({ service, store, backup }, "retention has removed a backup");
    }
    case "prune-began":
      return logger.info({ trigger: event.trigger, chosen: event.chosen.length }, "a prune begins");
    case "pruned":
      return logger.info({ ...event.item }, "nobody needs it: removed");
    case "prune-ended":
      return logPrune(logger, event.run);
    case "agent-update":
      return logUpdate(logger, event.update);
    case "doctor-looked":
      return logLook(logger, event.look);
    case "drill-ended":
      return logDrill(logger, event.record);
    case "volume-removed": {
      const { service, volume } = event;
      return logger.info({ service, volume }, "no release needs this ephemeral volume any more: removed");
    }
    default:
      return event satisfies never;
  }
}

function logStep(logger: ReportLogger, event: Extract<AgentEvent, { kind: "step-done" | "step-failed" }>): void {
  const fields = { lane: event.lane, step: event.step.kind, cause: describeCause(event.cause) };
  if (event.kind === "step-failed") {
    logger.warn({ ...fields, error: event.message }, "step failed");
  } else if (event.changed) {
    logger.info({ ...fields, tookMs: Math.round(event.tookMs) }, "step done");
  } else {
    logger.debug(fields, "step done, nothing to change");
  }
}

function logGossip(logger: ReportLogger, event: GossipEvent): void {
  switch (event.kind) {
    case "peer": {
      const { node, state, why } = event;
      return state === "dead" || state === "suspect"
        ? logger.warn({ peer: node, state, why }, "a peer is not reached")
        : logger.info({ peer: node, state, why }, "a peer");
    }
    case "unreachable":
      return logger.error({ peer: event.node, forMs: event.forMs, why: event.why }, "a node has been away for long");
    case "refused":
      return logger.warn({ from: event.node, reason: event.reason }, "refused; said once a minute");
    case "takeover": {
      const { node, spare, term } = event;
      return logger.error({ peer: node, spare, term }, "a spare stands in a node's place");
    }
    case "cloned":
      return logger.error({ boot: event.boot }, "another machine signs with this node's key: make it a key of its own");
    default:
      return event satisfies never;
  }
}

/** The ids of accepted pushes are found again where the source was read after them. */
function logPush(logger: ReportLogger, { id, status, said, quiet }: Extract<AgentEvent, { kind: "push" }>): void {
  const fields = { push: id, status, said };
  if (status === 202) logger.info(fields, "a push was received");
  // A forge may tell of every issue and every branch.
  else if (status < 400) logger.debug(fields, "a push was received that is nothing for this node");
  else if (quiet) logger.debug(fields, "a request to the webhook was refused");
  else logger.warn(fields, "a request to the webhook was refused; the next ones like it are not logged for a minute");
}

/** Logs which revision is in force, and who committed it where the source knows; and which pushes it was read after. */
export function logSource(logger: ReportLogger, before: ReportState, { source, webhook }: ReportState): void {
  const { revision, location, commit, approval } = source ?? {};
  const { author, subject } = commit ?? {};
  // Most events leave what is known of the webhook as it is: what it answered was logged with the turn that read it.
  const answered = webhook?.answered === before.webhook?.answered ? [] : (webhook?.answered ?? []);
  const pushes = answered.length === 0 ? {} : { pushes: answered };
  if (revision !== before.source?.revision)
    logger.info({ revision, source: location, author, subject, approval, ...pushes }, "a revision is in force");
  else if (answered.length > 0) logger.info({ revision, ...pushes }, "the source was read; the revision stays");
}

/** States that somebody should look at. */
const TROUBLE: ReadonlySet<string> = new Set([
  "backoff",
  "unhealthy",
  "unknown",
  "invalid",
  "refused",
  "held",
  "failed",
  "stalled",
  "rolled-back",
]);

/** Logs a service's change of state. */
export function logChange(logger: ReportLogger, change: StatusChange): void {
  const { service, state, previous, reason, revision } = change;
  const fields = { service, state: state ?? "gone", previous, reason, revision };
  if (state !== undefined && TROUBLE.has(state)) logger.warn(fields, "state changed");
  else logger.info(fields, "state changed");
}
