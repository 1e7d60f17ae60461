// From a decision to what status shows. Pure.

import type { DesiredService } from "../../shared/state/desired-state.ts";
import { findCycles } from "../../shared/fleet/graph.ts";
import { findService } from "../../shared/state/memory.ts";
import type { ObservedContainer } from "../../shared/state/observed-state.ts";
import { type Note, noteText } from "../../shared/state/note.ts";
import type { Reason } from "../../shared/state/reason.ts";
import type { ServiceState, ServiceView } from "../../shared/state/status.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";
import { isRunOf } from "./memory/run.ts";
import { noteOwnData } from "./rules/own-data.ts";
import { nameRolledBack } from "./rules/rollout.ts";
import { sameCaps } from "./steps.ts";
import { readTenure } from "./tenure.ts";
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
  const { state, reason: fact } = findShown(world, desired, decision);
  const shown = decision.memory.shownState ?? findService(world.memory.services, desired.name)?.shownState;
  const nextMs = decision.retryMs ?? decision.nextMs;
  const ownData = world.desired.objections.has(desired.name) ? [] : noteOwnData(desired, decision.memory);
  return {
    name: desired.name,
    state,
    fact,
    reason: describeReason(fact, world.nowMs),
    sinceMs: shown?.state === state ? shown.sinceMs : world.nowMs,
    waitingFor: decision.waitingFor ?? [],
    ...describeStart(decision),
    ...describeStop(world, desired),
    ...describeWayBack(decision),
    ...describeOverride(world, desired.name, decision),
    ...describeRefused(world, desired),
    nextMs,
    settled: decision.memory.release.rolledBack === undefined && (decision.settled ?? false),
    restarts: decision.memory.backoff.restarts,
    revision: findRevision(desired, decision, container),
    desiredRevision: world.desired.objections.has(desired.name)
      ? world.desired.revision
      : (world.wanted.get(desired.name) ?? desired).revision,
    container: container?.id,
    image: container?.image ?? desired.spec.image,
    owner: desired.owner,
    memoryCapBytes: container?.caps.memoryBytes ?? desired.caps.memoryBytes,
    notes: [
      ...[...(decision.notes ?? []), ...ownData].map((note) => describeReason(note, world.nowMs)),
      ...(world.desired.rotationNotes.get(desired.name) ?? []),
      ...desired.notes,
    ],
  };
}

/**
 * The revision that runs. A container's label names the commit that made it; a later one, or a release that is gone back to, may
 * have taken the same container over, with other files or caps or none.
 */
function findRevision(
  desired: DesiredService,
  { memory }: Decision,
  container: ObservedContainer | undefined,
): string | undefined {
  if (container === undefined) return undefined;
  const isTakenOver =
    container.specHash === desired.specHash &&
    sameCaps(container.caps, desired.caps) &&
    isRunOf(desired, memory, container);
  return isTakenOver ? desired.revision : container.revision;
}

function describeStart({ start, memory }: Decision): Pick<ServiceView, "start" | "tookMs"> {
  const tookMs = memory.run.startTook?.ms;
  return { ...(start === undefined ? {} : { start }), ...(tookMs === undefined ? {} : { tookMs }) };
}

/** What its manifest stops is started by nobody else, and nothing where a spare stands in the node's place. */
function describeStop(world: World, { running }: DesiredService): Pick<ServiceView, "startBlocked"> {
  const tenure = readTenure(world);
  if (tenure?.kind === "replaced")
    return { startBlocked: describeReason({ code: "replaced", spare: tenure.spare, term: tenure.term }, world.nowMs) };
  return running ? {} : { startBlocked: 'its manifest says state = "stopped"' };
}

function describeWayBack({ memory }: Decision): Pick<ServiceView, "wentBack"> {
  const { rolledBack } = memory.release;
  return rolledBack === undefined || rolledBack.uid !== undefined ? {} : { wentBack: rolledBack.reason };
}

function describeOverride(
  { memory: { pauses } }: World,
  name: string,
  { memory: { release, operator } }: Decision,
): Pick<ServiceView, "override"> {
  if (pauses[name] !== undefined) return { override: "paused" };
  if (operator.stoppedBy !== undefined) return { override: "stopped" };
  return release.rolledBack?.uid === undefined ? {} : { override: "rolled back" };
}

function describeRefused({ desired: { refusedSecrets } }: World, { name }: DesiredService): Partial<ServiceView> {
  const refused = refusedSecrets.get(name);
  return refused === undefined ? {} : { refusedSecrets: refused };
}

/** An objection to the newest manifest shows over what runs, and so does a secret that is refused; an earlier release that runs well is not what Git wants. */
function findShown(
  world: World,
  desired: DesiredService,
  { state, reason, memory }: Decision,
): Pick<Decision, "state" | "reason"> {
  const objection = world.desired.objections.get(desired.name);
  const back = memory.release.rolledBack;
  const why = back === undefined ? reason : nameRolledBack(back, objection !== undefined, reason);
  if (objection !== undefined)
    return {
      state: objection.state,
      reason: { code: "objection", objected: objection.why, revision: desired.revision, state, why },
    };
  const shown = back !== undefined && state === "healthy" ? "rolled-back" : state;
  const refused = world.desired.refusedSecrets.get(desired.name);
  if (refused === undefined || AT_REST.has(shown)) return { state: shown, reason: why };
  return { state: "refused", reason: { code: "secrets-refused", refusals: refused, state: shown, why } };
}

/**
 * Says of services that wait for each other in a circle, across nodes too, that they do: no start will ever come of it. A note
 * says so on every node that hears of it, also where nothing here waits in it.
 */
export function nameCycles(world: World, views: readonly ServiceView[]): { views: ServiceView[]; notes: Note[] } {
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
    const fact: Reason = { code: "beside", why: view.fact, ring: [...names, names[0] ?? ""] };
    return { ...view, fact, reason: describeReason(fact, world.nowMs) };
  });
  const notes = cycles.map((cycle) =>
    noteText(`starts wait for each other, and none will come: ${[...cycle, cycle[0]].join(" → ")}`),
  );
  return { views: named, notes };
}

function placeName(node: string, service: string): string {
  return `${node}/${service}`;
}
