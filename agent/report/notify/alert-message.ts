// The body of one alert, as every channel carries it, and how it is made from what was judged. Pure.

import { nameHelp } from "../../../shared/text/help-topic.ts";
import { toIso } from "../status/status-builder.ts";
import type { Alert, Severity } from "./alert-judge.ts";

/** The body of one message. Chat services show `text`. */
export interface AlertMessage {
  version: 1;
  node: string;
  /** Null for the node itself: its engine, source, disks. */
  service: string | null;
  subject: string;
  state: string;
  previous: string | null;
  reason: string;
  severity: Severity;
  at: string;
  revision: string | null;
  resolved: boolean;
  /** The command that prints the page about it; null where there is nothing to do. */
  help: string | null;
  text: string;
}

/** Builds it. */
export function buildMessage(alert: Alert, node: string): AlertMessage {
  const { service, subject, state, previous, reason, severity, atMs, revision, resolved, page } = alert;
  const help = page === undefined || resolved ? null : nameHelp(page);
  const who = service === undefined ? `${node} ${subject.slice(1)}` : `${node}/${service}`;
  const word = resolved ? "resolved" : severity;
  return {
    version: 1,
    node,
    service: service ?? null,
    subject,
    state,
    previous: previous ?? null,
    reason,
    severity,
    at: toIso(atMs),
    revision: revision ?? null,
    resolved,
    help,
    text: `[${word}] ${who} is ${state}${reason === "" ? "" : `: ${reason}`}${help === null ? "" : ` (${help})`}`,
  };
}
