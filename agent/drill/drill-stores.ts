// `orca drill`: every store of this node is restored from its newest backup into a throw-away container, as a proof does it, and looked
// into; one after the other. Used by drill-keeper.ts. The service of the store runs on meanwhile.

import type { Clock } from "../host/os/clock.ts";
import type { KnownBackup, StorePlan, StoreStatus } from "../../shared/state/backup.ts";
import type { DesiredService } from "../../shared/state/desired-state.ts";
import type { DrillPart } from "../../shared/drill/drill.ts";
import type { AgentEvent } from "../../shared/state/event.ts";
import type { DrillEars } from "./drill-ears.ts";

/** What a drill of stores works with. */
export interface StoreDrillParts {
  clock: Clock;
  ears: DrillEars;
  /** What there is of every store. */
  listStores: () => Promise<readonly StoreStatus[]>;
  /** Asks for a proof of a backup; answers why there is none, or undefined once it is queued. Its end is an event. */
  proveStore: (store: { service: string; store: string; backup: string }) => string | undefined;
  /** Says what is done now. */
  tell: (doing: string) => void;
  add: (part: DrillPart) => Promise<void>;
}

type Judged = Extract<AgentEvent, { kind: "backup-judged" }>;

/** Restores every store. */
export async function drillStores(parts: StoreDrillParts): Promise<void> {
  const { ears, listStores, tell, add } = parts;
  tell("the repositories are read");
  const known = await listStores();
  const plans = ears.turn?.desired?.backups ?? [];
  for (const [at, plan] of plans.entries()) {
    tell(`${plan.service}/${plan.store} is restored, ${at + 1} of ${plans.length}`);
    const status = known.find(({ service, store }) => service === plan.service && store === plan.store);
    await add(await drillStore(parts, plan, status));
  }
}

async function drillStore(
  parts: StoreDrillParts,
  plan: StorePlan,
  status: StoreStatus | undefined,
): Promise<DrillPart> {
  const { service, store } = plan;
  const desired = parts.ears.turn?.desired?.services.get(service);
  const promised = { service, store, ...describePromise(desired) };
  if (plan.engine === "command")
    return {
      ...promised,
      verdict: "skipped",
      detail: "what reads the output of its command again, Orca does not know",
    };
  const backup = chooseNewest(status?.backups ?? []);
  if (backup === undefined && status?.trouble !== undefined)
    return { ...promised, verdict: "unknown", detail: status.trouble };
  if (backup === undefined) return { ...promised, verdict: "bad", detail: "it has no backup that could be restored" };
  const { name } = backup;
  const judged = await prove(parts, { service, store, backup: name });
  if (typeof judged === "string") return { ...promised, backup: name, verdict: "unknown", detail: judged };
  const { run, tookMs } = judged;
  const { repository, verdict, detail } = run;
  const part: DrillPart = { ...promised, backup: name, repository, verdict, detail };
  if (verdict !== "good" || tookMs === undefined) return part;
  const startMs = parts.ears.turn?.services.find((view) => view.name === service)?.tookMs;
  return { ...part, restoreMs: tookMs, startMs, recoveryMs: tookMs + (startMs ?? 0) };
}

/** What the manifest says of recovery and of the time that a stop may take. */
export function describePromise(desired: DesiredService | undefined): Pick<DrillPart, "rtoMs" | "graceMs"> {
  const { rtoMs, stopTimeoutMs: graceMs } = desired ?? {};
  return { ...(rtoMs === undefined ? {} : { rtoMs }), ...(graceMs === undefined ? {} : { graceMs }) };
}

/** The newest one that was not set aside, verified or not: a drill shows what the bad hour would find. */
function chooseNewest(newestFirst: readonly KnownBackup[]): KnownBackup | undefined {
  return newestFirst.find(({ quarantined }) => quarantined === undefined);
}

/** Asks, and waits for the end; a text says why there is none. */
async function prove(
  { ears, proveStore }: StoreDrillParts,
  asked: { service: string; store: string; backup: string },
): Promise<Judged | string> {
  const { service, store, backup } = asked;
  const isOf = (entry: { service: string; store: string }): boolean =>
    entry.service === service && entry.store === store;
  const ended = ears.until((event): Judged | string | undefined => {
    if (event.kind === "backup-judged" && isOf(event) && event.run.backup === backup) return event;
    if (event.kind !== "turn" || event.turn.desired?.backups?.some(isOf) !== false) return undefined;
    return "its manifest does not have it any more";
  });
  const refusal = proveStore(asked);
  if (refusal === undefined) return ended;
  ended.catch(() => undefined);
  return refusal;
}
