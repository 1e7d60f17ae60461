// What of promises and of the node's room somebody must be told: availability and recovery, memory that was not enough, a node that is
// nearly full, and nodes that are lost. Pure; alerts.ts asks with the rest of the conditions.

import { describeDuration } from "../../../shared/text/duration.ts";
import { type DrillStanding, isDrillOverdue } from "../../../shared/drill/drill.ts";
import { judgeAvailability, judgeRto, type ServiceStanding } from "../../../shared/state/promise.ts";
import type { HelpTopic } from "../../../shared/text/help-topic.ts";
import { formatSize } from "../../../shared/text/size.ts";
import type { PeerView } from "../../gossip/core/gossip.ts";
import { describeAvailability, describeRto } from "../promise/describe-promise.ts";
import type { ReportState, ServiceRecord } from "../status/report-state.ts";
import type { Condition, Severity } from "./alert-judge.ts";

/** Memory that was not enough is told for so long after it, in case a first message gets lost; then it is over. */
const OOM_MS = 3_600_000;
/** A node is nearly full once it has been so without a break. */
const SUSTAINED_MS = 600_000;
/** A node that is away is told once it has been so. */
const LOST_MS = 60_000;

type Trouble = [state: string, severity: Severity | "undecided", reason: string];

/** Lists how the promises of every measured service stand. */
export function listPromiseConditions(services: readonly ServiceStanding[], nowMs: number): Condition[] {
  return services
    .filter(({ slo }) => slo !== undefined)
    .flatMap((standing) => {
      const { service } = standing;
      const isBroken = judgeAvailability(standing) === "broken";
      const isLate = judgeRto(standing, nowMs) === "broken";
      return [
        build({ subject: `@availability:${service}`, service, page: "backup" }, [
          isBroken && ["availability-broken", "critical", describeAvailability(standing) ?? ""],
        ]),
        build({ subject: `@rto:${service}`, service, page: "backup" }, [
          isLate && ["rto-broken", "critical", describeRto(standing, nowMs) ?? ""],
        ]),
      ];
    });
}

/** Lists how the drills of every store stand. */
export function listDrillConditions(drills: readonly DrillStanding[], nowMs: number): Condition[] {
  return drills.map((standing) => {
    const { service, store, drilledMs, dueMs } = standing;
    const last =
      drilledMs === undefined ? "there was none" : `the last one was ${describeDuration(nowMs - drilledMs)} ago`;
    const reason = `a drill of ${store} is due for ${describeDuration(Math.max(0, nowMs - dueMs))}: ${last}`;
    return build({ subject: `@drill:${service}/${store}`, service, page: "drill" }, [
      isDrillOverdue(standing, nowMs) && ["drill-overdue", "warning", reason],
    ]);
  });
}

/** Lists, for every service, whether the kernel has killed it for memory a short time ago. */
export function listOomConditions(state: ReportState, nowMs: number): Condition[] {
  return [...state.services.values()].map((record) => {
    const { view, oom } = record;
    const isFresh = oom !== undefined && nowMs - oom.lastMs < OOM_MS;
    return build({ subject: `@oom:${view.name}`, service: view.name, page: "runbook" }, [
      isFresh && ["oom", "warning", describeOom(record)],
    ]);
  });
}

function describeOom({ view, oom }: ServiceRecord): string {
  const cap = oom?.capBytes === undefined ? "" : ` of ${formatSize(oom.capBytes)}`;
  return `the kernel killed it for memory: its cap${cap} was not enough; see orca why ${view.name}`;
}

/** Whether the node has been nearly full for a while, and who takes most of it. */
export function listCapacityConditions(state: ReportState, nowMs: number): Condition[] {
  const { pressure } = state;
  const judge = (kind: "memory" | "cpu", describe: (used: number) => string): Condition => {
    const { sinceMs, used } = pressure[kind] ?? {};
    const isFull = sinceMs !== undefined && used !== undefined;
    const severity = isFull && nowMs - sinceMs >= SUSTAINED_MS ? "warning" : "undecided";
    return build({ subject: `@capacity:${kind}`, service: undefined, page: "runbook" }, [
      isFull && [`${kind}-full`, severity, describe(used)],
    ]);
  };
  return [
    judge("memory", (used) => `${used} % of the node's memory is in use${nameLargest(state, "memory")}`),
    judge("cpu", (used) => `the processors have been ${used} % busy for ten minutes${nameLargest(state, "cpu")}`),
  ];
}

function nameLargest({ services, pressure }: ReportState, kind: "memory" | "cpu"): string {
  if (kind === "cpu") {
    const { largest } = pressure.cpu ?? {};
    return largest === undefined ? "" : `; ${largest} takes most of it`;
  }
  const used = [...services.values()].map(({ view, memoryUsedBytes = 0 }) => ({ name: view.name, memoryUsedBytes }));
  const [largest] = used.toSorted((left, right) => right.memoryUsedBytes - left.memoryUsedBytes);
  if (largest === undefined || largest.memoryUsedBytes === 0) return "";
  return `; ${largest.name} takes most of it: ${formatSize(largest.memoryUsedBytes)}`;
}

/** Lists every other node; of those that are lost the reachable node with the lowest name tells. */
export function listPeerConditions(peers: readonly PeerView[], own: string): Condition[] {
  const isTeller = !peers.some(({ node, state }) => state === "alive" && node < own);
  return peers.map(({ node, state, why, forMs }) => {
    const severity = isTeller && forMs >= LOST_MS ? "critical" : "undecided";
    const isAway = state === "dead" || state === "suspect" || state === "unknown";
    // A node that nobody has heard since this agent began may be one that is yet to be set up.
    const trouble: Trouble = ["lost", state === "dead" ? severity : "undecided", describeAway(why, forMs)];
    return build({ subject: `@node:${node}`, service: undefined, page: "runbook" }, [isAway && trouble]);
  });
}

function describeAway(why: string, forMs: number): string {
  return `no node reaches it for ${describeDuration(forMs)}: ${why}`;
}

function build(
  { subject, service, page }: { subject: string; service: string | undefined; page: HelpTopic },
  [trouble]: readonly [Trouble | false],
): Condition {
  const [state, severity, reason] = trouble === false ? (["ok", undefined, ""] as const) : trouble;
  return { subject, service, state, severity, reason, revision: undefined, page };
}
