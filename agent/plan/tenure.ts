// A node in whose place a spare stands stops its services, the proxy first; one that has a spare and has heard nobody since it started
// waits for a peer's word before it starts any. Pure.
// Held by test/unit/plan/tenure.test.ts and, over whole fleets, by test/unit/gossip/takeover.test.ts.

import type { Tenure } from "../../shared/fleet/takeover.ts";
import { parsePublishedPort } from "../../shared/manifest/published-port.ts";
import { findFronted } from "../../shared/state/front.ts";
import { setPart } from "../../shared/state/memory.ts";
import { isAlive, type ObservedContainer } from "../../shared/state/observed-state.ts";
import type { DesiredService } from "../../shared/state/desired-state.ts";
import { type Note, noteText } from "../../shared/state/note.ts";
import type { Reason } from "../../shared/state/reason.ts";
import { buildCause } from "./cause.ts";
import { buildOperation, buildStop } from "./steps.ts";
import type { Decision, ServiceContext, World } from "./world.ts";

/** Where the world outside comes in. */
const WEB_PORTS: ReadonlySet<number> = new Set([80, 443]);
const ALONE = "no peer was heard since this agent's start";
/** How soon it is looked again whether the proxy has ended, or the data is there. */
const LOOK_AGAIN_MS = 1_000;

/** Whether this node may run its services; undefined where nobody could say otherwise. */
export function readTenure({ peers }: World): Tenure | undefined {
  return peers.kind === "known" ? peers.tenure : undefined;
}

/** A spare stands in this node's place: everything stops, whatever else is asked of it. */
export function yieldPlace(context: ServiceContext): Decision | undefined {
  const { world, desired, memory, current, others, inFlight } = context;
  const tenure = readTenure(world);
  if (tenure?.kind !== "replaced") return undefined;
  const { spare, term } = tenure;
  const reason: Reason = { code: "replaced", spare, term };
  const stopping: Reason = { code: "stopping", why: reason };
  if (inFlight !== undefined)
    return { state: "stopped", reason: stopping, memory, ...(inFlight.starts ? { cancel: true as const } : {}) };
  const running = [current, ...others].filter((entry) => entry !== undefined && isAlive(entry));
  if (running.length === 0) return { state: "stopped", reason, memory };
  if (!isDoor(desired) && listDoors(context).some(isAlive))
    return { state: "stopped", reason: stopping, memory, nextMs: world.nowMs + LOOK_AGAIN_MS };
  const stops = running.flatMap((entry) => (entry === undefined ? [] : [buildStop(desired, entry)]));
  return {
    state: "stopped",
    reason: stopping,
    memory: current === undefined ? memory : setPart(memory, "run", { stopping: current.id }),
    operation: buildOperation(context, buildCause("takeover", reason), stops),
  };
}

/** What does not run waits until the lost node's data is there, a peer was heard, or nobody for so long that the node goes on alone. What runs goes on. */
export function awaitPlace({ world, desired, memory, current }: ServiceContext): Decision | undefined {
  const tenure = readTenure(world);
  if (current !== undefined && isAlive(current)) return undefined;
  if (tenure?.kind === "restoring" && !tenure.services.includes(findFronted(desired.name) ?? desired.name))
    return { state: "waiting", reason: { code: "data-awaited" }, memory, nextMs: world.nowMs + LOOK_AGAIN_MS };
  if (tenure?.kind !== "awaiting") return undefined;
  const untilMs = world.nowMs + tenure.leftMs;
  return { state: "waiting", reason: { code: "peer-awaited", now: { untilMs } }, memory, nextMs: untilMs };
}

/** What is said of the node as a whole. */
export function noteTenure(world: World): Note[] {
  const tenure = readTenure(world);
  if (tenure?.kind === "replaced")
    return [
      noteText(
        `${tenure.spare} stands in this node's place (takeover ${tenure.term}): its services are stopped here, and their data stays`,
      ),
    ];
  if (tenure?.kind === "alone")
    return [noteText(`${ALONE}: this node goes on alone, although a spare may stand in its place`)];
  return [];
}

/** The services that the world outside comes in by. */
function isDoor({ spec }: DesiredService): boolean {
  return (spec.ports ?? []).some((text) => {
    const port = parsePublishedPort(text);
    return typeof port !== "string" && WEB_PORTS.has(port.hostPort);
  });
}

function listDoors({ world, engine }: ServiceContext): ObservedContainer[] {
  const doors = new Set([...world.desired.services.values()].filter(isDoor).map(({ name }) => name));
  return engine.containers.filter(({ service }) => doors.has(service));
}
