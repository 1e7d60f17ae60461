// From a decision to what status shows. Pure.

import { tellAt } from "../../shared/text/moment.ts";
import type { DesiredService } from "../../shared/state/desired-state.ts";
import { findCycles } from "../../shared/fleet/graph.ts";
import type { ObservedContainer } from "../../shared/state/observed-state.ts";
import { describeRefusals } from "../../shared/secret/secret-refusal.ts";
import type { ServiceState, ServiceView } from "../../shared/state/status.ts";
import { describeOwnData } from "./rules/own-data.ts";
import { describeRolledBack } from "./rules/rollout.ts";
import type { Decision, World } from "./world.ts";

/** States in which nothing that a person did not ask for can come of a refused secret. */
const AT_REST: ReadonlySet<ServiceState> = new Set(["stopped", "paused", "removing"]);

/** Builds the view of one service; an objection to its newest manifest shows over everything but trouble. */
export function buildView(
  world: World,
  desired: DesiredService,
  decision: Decision,
  container: ObservedContainer | undefined,
): ServiceView {
  const { state, reason } = describeShown(world, desired, decision);
  const shown = decision.memory.shown ?? world.memory.services[desired.name]?.shown;
  const nextMs = decision.retryMs ?? decision.nextMs;
  return {
    name: desired.name,
    state,
    ...tellReason(reason, world.nowMs),
    sinceMs: shown?.state === state ? shown.sinceMs : world.nowMs,
    waitingFor: decision.waitingFor ?? [],
    ...describeStart(decision),
    ...describeStop(desired),
    ...describeWayBack(decision),
    ...describeRefused(world, desired),
    nextMs,
    settled: decision.memory.rolledBack === undefined && (decision.settled ?? false),
    restarts: decision.memory.restarts,
    revision: container?.revision,
    desiredRevision: world.desired.objections.has(desired.name)
      ? world.desired.revision
      : (world.wanted.get(desired.name) ?? desired).revision,
    container: container?.id,
    image: container?.image ?? desired.spec.image,
    owner: desired.owner,
    memoryCapBytes: container?.caps.memoryBytes ?? desired.caps.memoryBytes,
    notes: [
      ...(decision.notes ?? []),
      ...(world.desired.objections.has(desired.name) ? [] : describeOwnData(desired, decision.memory)),
      ...(world.desired.rotationNotes.get(desired.name) ?? []),
      ...desired.notes,
    ],
  };
}

/** A reason as it reads now, and as it can be read later. */
export function tellReason(reason: string, nowMs: number): Pick<ServiceView, "reason" | "timed"> {
  const now = tellAt(reason, nowMs);
  return now === reason ? { reason } : { reason: now, timed: reason };
}

function describeStart({ start, memory: { took } }: Decision): Pick<ServiceView, "start" | "tookMs"> {
  return { ...(start === undefined ? {} : { start }), ...(took?.ms === undefined ? {} : { tookMs: took.ms }) };
}

/** What its manifest stops is started by nobody else. */
function describeStop({ running }: DesiredService): Pick<ServiceView, "startBlocked"> {
  return running ? {} : { startBlocked: 'its manifest says state = "stopped"' };
}

function describeWayBack({ memory: { rolledBack } }: Decision): Pick<ServiceView, "wentBack"> {
  return rolledBack === undefined || rolledBack.uid !== undefined ? {} : { wentBack: rolledBack.reason };
}

function describeRefused({ desired: { refusedSecrets } }: World, { name }: DesiredService): Partial<ServiceView> {
  const refused = refusedSecrets.get(name);
  return refused === undefined ? {} : { refusedSecrets: refused };
}

/** An objection to the newest manifest shows over what runs, and so does a secret that is refused; an earlier release that runs well is not what Git wants. */
function describeShown(
  world: World,
  desired: DesiredService,
  { state, reason, memory }: Decision,
): Pick<ServiceView, "state" | "reason"> {
  const objection = world.desired.objections.get(desired.name);
  const back = memory.rolledBack;
  const why = back === undefined ? reason : `${describeRolledBack(back, objection !== undefined)}; ${reason}`;
  if (objection !== undefined)
    return {
      state: objection.state,
      reason: `${objection.reason}; its release ${desired.revision} is ${state}: ${why}`,
    };
  const shown = back !== undefined && state === "healthy" ? "rolled-back" : state;
  const refused = world.desired.refusedSecrets.get(desired.name);
  if (refused === undefined || AT_REST.has(shown)) return { state: shown, reason: why };
  return { state: "refused", reason: `${describeRefusals(refused)}; it is ${shown}: ${why}` };
}

/**
 * Says of services that wait for each other in a circle, across nodes too, that they do: no start will ever come of it. A note
 * says so on every node that hears of it, also where nothing here waits in it.
 */
export function nameCycles(world: World, views: readonly ServiceView[]): { views: ServiceView[]; notes: string[] } {
  const { node } = world.desired;
  const place = (name: string): string => (name.includes("/") ? name : placeName(node, name));
  const elsewhere = world.peers.kind === "known" ? Object.entries(world.peers.waits ?? {}) : [];
  const here = views.map((view) => [place(view.name), view.waitingFor.map(place)] as const);
  const cycles = findCycles(new Map([...elsewhere, ...here]));
  const local = `${node}/`;
  const named = views.map((view) => {
    const cycle = cycles.find((entry) => entry.includes(place(view.name)));
    if (cycle === undefined) return view;
    const names = cycle.map((name) => (name.startsWith(local) ? name.slice(local.length) : name));
    const ring = [...names, names[0]].join(" → ");
    const reason = `${view.timed ?? view.reason}; they wait for each other: ${ring}`;
    return { ...view, ...tellReason(reason, world.nowMs) };
  });
  const notes = cycles.map(
    (cycle) => `starts wait for each other, and none will come: ${[...cycle, cycle[0]].join(" → ")}`,
  );
  return { views: named, notes };
}

function placeName(node: string, service: string): string {
  return `${node}/${service}`;
}
