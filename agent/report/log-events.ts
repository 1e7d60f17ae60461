// What goes to the log: one line for what changes, none for a turn that changed nothing. No secret, no environment value and
// nothing that a container printed gets in.

import type { Logger } from "pino";

import type { AgentEvent, SourceState } from "../../shared/event.ts";
import { describeCause } from "./actions.ts";
import { describeExit } from "./exit-reason.ts";
import { cutCommandOutput } from "./public-text.ts";
import type { StatusChange } from "./report-state.ts";

/** What report/ needs of a logger. */
export type ReportLogger = Pick<Logger, "debug" | "info" | "warn" | "error">;

/** Logs one event, where it says something. */
export function logEvent(logger: ReportLogger, event: AgentEvent): void {
  switch (event.kind) {
    case "agent-started":
      return logger.info({ node: event.node, engine: event.engine, version: event.version }, "agent started");
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
    case "exited": {
      const { service, container, exitCode, oom, requested } = event.exit;
      const fields = { service, container: container.slice(0, 12), exitCode, oom, reason: describeExit(event.exit) };
      return requested === "agent" ? logger.info(fields, "container ended") : logger.warn(fields, "container ended");
    }
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
      return event satisfies never;
  }
}

function logStep(logger: ReportLogger, event: Extract<AgentEvent, { kind: "step-done" | "step-failed" }>): void {
  const fields = { lane: event.lane, step: event.step.kind, cause: describeCause(event.cause) };
  if (event.kind === "step-failed") {
    logger.warn({ ...fields, error: cutCommandOutput(event.message) }, "step failed");
  } else if (event.changed) {
    logger.info({ ...fields, tookMs: Math.round(event.tookMs) }, "step done");
  } else {
    logger.debug(fields, "step done, nothing to change");
  }
}

/** Logs which revision is in force, and who committed it where the source knows. */
export function logRevision(logger: ReportLogger, source: SourceState | undefined): void {
  const { revision, location, commit } = source ?? {};
  const { author, subject } = commit ?? {};
  logger.info({ revision, source: location, author, subject }, "a revision is in force");
}

/** States that somebody should look at. */
const TROUBLE: ReadonlySet<string> = new Set([
  ...["backoff", "unhealthy", "unknown", "invalid", "refused", "held", "failed", "stalled", "rolled-back"],
]);

/** Logs a service's change of state. */
export function logChange(logger: ReportLogger, change: StatusChange): void {
  const { service, state, previous, reason, revision } = change;
  const fields = { service, state: state ?? "gone", previous, reason, revision };
  if (state !== undefined && TROUBLE.has(state)) logger.warn(fields, "state changed");
  else logger.info(fields, "state changed");
}
