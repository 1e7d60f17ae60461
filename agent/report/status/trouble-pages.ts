// Which topic page says what to do about a trouble: for status, why and alerts. By codes alone, never by a sentence. Pure.

import type { ServiceDocument, StatusDocument } from "../../../shared/document/status-document.ts";
import type { HoldKind } from "../../../shared/state/hold.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import type { HelpTopic } from "../../../shared/text/help-topic.ts";

/** What is as it should be, or on its way, needs no page. */
const OF_STATE: Readonly<Record<ServiceState, HelpTopic | undefined>> = {
  invalid: "manifest",
  refused: "policy",
  held: "rollout",
  paused: "runbook",
  waiting: "runbook",
  pulling: undefined,
  starting: undefined,
  healthy: undefined,
  unhealthy: "runbook",
  backoff: "runbook",
  stalled: "runbook",
  "rolled-back": "rollout",
  stopped: undefined,
  removing: undefined,
  completed: undefined,
  failed: "runbook",
  unknown: "runbook",
};

const OF_HOLD: Readonly<Record<HoldKind, HelpTopic>> = {
  refused: "holds",
  trust: "trust",
  removal: "holds",
  approval: "holds",
  freeze: "holds",
  rollout: "holds",
};

/** Reasons that have a page of their own, whatever the state. */
const OF_CODE: Partial<Readonly<Record<string, HelpTopic>>> = {
  "backup-first": "holds",
  "promise-broken": "holds",
  "generation-unknown": "restore",
  "generation-gone": "restore",
};

/** The page about the state of a service. */
export function findServicePage({
  state,
  code,
  refusedSecrets,
}: {
  state: ServiceState;
  code: string;
  refusedSecrets?: ServiceDocument["refusedSecrets"] | readonly unknown[] | undefined;
}): HelpTopic | undefined {
  if (state === "refused" && (refusedSecrets ?? []).length > 0) return "secrets";
  return state === "held" ? (OF_CODE[code] ?? OF_STATE[state]) : OF_STATE[state];
}

/** The page about a source that is not in force. */
export function findSourcePage(holds: readonly { kind: HoldKind }[]): HelpTopic {
  const [hold] = holds;
  return hold === undefined ? "git" : OF_HOLD[hold.kind];
}

/** The pages about all that is not as it should be on a node; the runbook first. */
export function listTroublePages({ services, source, secrets, webhook, engine, turn }: StatusDocument): HelpTopic[] {
  const pages: (HelpTopic | undefined)[] = services.map(findServicePage);
  if (source !== null && source.trouble !== null) pages.push(findSourcePage(source.holds));
  if (secrets !== null) pages.push("secrets");
  if (webhook !== null && webhook.trouble !== null) pages.push("git");
  const known = pages.filter((page) => page !== undefined);
  const isTroubled = known.length > 0 || !engine.reachable || turn.trouble !== null;
  return [...new Set<HelpTopic>(isTroubled ? ["runbook", ...known] : [])];
}
