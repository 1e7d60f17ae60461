// Whether the escrow of this node would do: made at all where a spare may take the node's place, and not older than what is in it. Pure.

import { describeDuration } from "../../shared/text/duration.ts";
import type { HostView } from "./doctor-facts.ts";
import { type Finding, judge } from "./finding.ts";

const CHECK = "escrow";
const MOST_NAMED = 5;

/** Judges it; nothing where no takeover counts on this host. */
export function checkEscrow({ escrow, policy, baseline, config, nowMs }: HostView): Finding[] {
  if (policy.policy?.pinned.recovery_key === undefined) return [];
  if (escrow === undefined)
    return [
      {
        check: CHECK,
        severity: "warn",
        what: "no escrow of this node was made",
        why: "a spare cannot take this node's place: its credentials, keys and last known secrets are here alone",
        fix: "orca escrow create NODE --recovery-key FILE --out FILE, and carry the file away",
      },
    ];
  const changed = [
    ...escrow.files.filter(({ found }) => (found?.changedMs ?? 0) > escrow.createdMs).map(({ path }) => path),
    ...escrow.files.filter(({ found }) => found === undefined).map(({ path }) => `${path} (not there any more)`),
    ...baseline.secretAges.filter(({ sinceMs }) => sinceMs > escrow.createdMs).map(({ path }) => path),
  ];
  const more = changed.length > MOST_NAMED ? `, and ${changed.length - MOST_NAMED} more` : "";
  const age = describeDuration(nowMs - escrow.createdMs);
  return [
    judge(CHECK, changed.length > 0, {
      severity: "fail",
      what: `made ${age} ago, and changed since then: ${changed.slice(0, MOST_NAMED).join(", ")}${more}`,
      why: "a spare would come up with what no longer opens anything",
      fix: `orca escrow create NODE --recovery-key FILE --out FILE --config ${config}, and replace the one that was carried away`,
      good: `made ${age} ago, and nothing in it has changed since`,
    }),
  ];
}
