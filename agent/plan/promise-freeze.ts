// A service that promises to stand still (`slo.freeze`): while its error budget is used up or its data is not backed up in time, a change
// of it waits and its release goes on being healed. Pure; report/promise/ judges the promises.
// Held by test/scenario/start/promise-freeze.test.ts.

import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { ReleasesMemory } from "../../shared/state/memory.ts";
import type { BrokenPromises } from "../../shared/state/promise.ts";
import type { Reason } from "../../shared/state/reason.ts";

/** What is known of a change that may wait. */
interface ChangeView {
  /** The release that would go on; undefined where it is not kept. */
  release: DesiredService | undefined;
  memory: ReleasesMemory;
  emergency: DesiredState["emergency"] | undefined;
  /** Undefined while nobody has looked yet. */
  broken: BrokenPromises | undefined;
  /** The change that was begun before, by service. */
  begun: ReadonlyMap<string, string>;
}

/**
 * Why a change waits; undefined where it does not. The release in force says whether it stands still, so no change lifts its own hold.
 * One that is being tried already goes on, and what makes no other container waits for nothing.
 */
export function findPromiseHold(
  wanted: DesiredService,
  { release, memory, emergency, broken, begun }: ChangeView,
): Reason | undefined {
  const { name, fingerprint } = wanted;
  const promise = broken === undefined ? "unknown" : Object.hasOwn(broken, name) ? broken[name] : undefined;
  if (promise === undefined || release?.slo?.freeze !== true || emergency !== undefined) return undefined;
  const isBegun = memory.rollout?.fingerprint === fingerprint || begun.get(name) === fingerprint;
  return isBegun || runsAlike(wanted, release) ? undefined : { code: "promise-broken", service: name, promise };
}

/** True where the same container would do, with the same files and as much room, and is wanted to run or not alike. */
function runsAlike(wanted: DesiredService, release: DesiredService): boolean {
  const pick = ({ specHash, files, caps, running }: DesiredService): string =>
    JSON.stringify([specHash, files, caps, running]);
  return pick(wanted) === pick(release);
}
