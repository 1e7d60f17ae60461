// What a change brings, in words: the same for every form of `orca plan`. Pure.

import type { ChangeFact } from "../../../shared/document/plan-preview.ts";
import { describeCaps } from "../../../shared/text/describe-caps.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";

/** Says one thing of a change. */
export function describeFact(fact: ChangeFact): string {
  switch (fact.code) {
    case "image":
      return fact.from === undefined ? fact.to : `image: ${fact.from} → ${fact.to}`;
    case "caps":
      return describeMove(fact);
    case "spec":
      return "its spec changed";
    case "content":
      return `${fact.target} has new content: ${describeThen(fact.then)}`;
    case "runs":
      return fact.schedule === "@once" ? "it runs once" : `it runs at its times (${fact.schedule})`;
    case "after-backup":
      return `after a verified backup of ${fact.of.join(", ")}`;
    case "agent-only":
      return "no container is touched";
    case "started":
      return "it is started";
    case "stopped":
      return "it is stopped; its data stays";
    case "state-stopped":
      return 'its manifest says state = "stopped"';
    case "removed":
      return describeRemoved(fact.ran);
    case "container":
      return `its container is ${fact.status}`;
    case "objected":
      return describeObjected(fact);
    case "kept":
      return describeReason(fact.why, 0);
    case "obstacle":
      return describeReason({ code: "cannot-start", why: fact.why }, 0);
    default:
      return fact satisfies never;
  }
}

function describeMove({ from, to }: Extract<ChangeFact, { code: "caps" }>): string {
  return from === undefined ? describeCaps(to) : `${describeCaps(from)} → ${describeCaps(to)}`;
}

function describeRemoved(ran: boolean): string {
  const kept = "its container is kept for an hour, its volumes for good";
  return ran ? `it is stopped; ${kept}` : kept;
}

function describeObjected({ why, standing }: Extract<ChangeFact, { code: "objected" }>): string {
  const words = describeReason(why, 0);
  if (standing === undefined) return words;
  return `${words}; ${standing ? "its release before stays in force" : "nothing runs for it"}`;
}

function describeThen(then: Extract<ChangeFact, { code: "content" }>["then"]): string {
  if (then === "restart") return "it restarts";
  return "signal" in then ? `it gets ${then.signal}` : `${then.exec[0]} runs in it`;
}
