// What is known of one run, which is one start of one container: what its processes have read, and how old it is. Pure; the rules
// ask it whether a run has what its service should have. Nothing here is ever carried to another run.

import type { DesiredFile, DesiredService } from "../../../shared/state/desired-state.ts";
import { type RunMemory, type ServiceMemory, setPart } from "../../../shared/state/memory.ts";
import { fileKey, isBetweenRuns, nameRun, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { OperationOutcome } from "../../../shared/state/step.ts";
import type { World } from "../world.ts";
import { nameContent } from "../../../shared/state/file-content.ts";

/** Begins the record of a run at its first sight; the same run keeps its own. */
export function rememberRun(
  memory: ServiceMemory,
  world: World,
  { desired, container }: { desired: DesiredService; container: ObservedContainer },
): ServiceMemory {
  const { startedMs, id } = container;
  // Between two runs the engine's list may show either.
  if (startedMs === undefined || isBetweenRuns(world.observed.operations, id)) return memory;
  const name = nameRun(container);
  const { newest: before, byEarlierVersion, lastHealthy } = memory.run;
  if (before?.name === name) return memory;
  const known = byEarlierVersion?.container === name ? byEarlierVersion : undefined;
  const newest: RunMemory = {
    name,
    number: (before?.number ?? 0) + 1,
    begunMs: findBegunMs(world, container, startedMs),
    files: known?.files ?? readFiles(world, desired),
    ...(known?.stale === true ? { stale: true } : {}),
  };
  // A version before this one did not say which run was healthy; since when tells it.
  const isOwn = before === undefined && lastHealthy?.container === id && (lastHealthy.sinceMs ?? 0) >= startedMs;
  const healthy = isOwn ? { ...lastHealthy, run: name } : lastHealthy;
  return setPart(memory, "run", { newest, byEarlierVersion: undefined, lastHealthy: healthy });
}

/** Since when this run of a container has been healthy; undefined while it is not. */
export function findHealthySince({ run }: ServiceMemory, container: ObservedContainer): number | undefined {
  return run.lastHealthy?.run === nameRun(container) ? run.lastHealthy.sinceMs : undefined;
}

/**
 * A run has read what lay on the disk when it started, and nothing is written there between its start and its first sight. What
 * is not known to lie there is taken at its word: a run that is adopted is not restarted for a lost memory.
 */
function readFiles({ observed }: World, { name, specHash, files }: DesiredService): RunMemory["files"] {
  return Object.fromEntries(
    files.map(({ target, content }) => [
      target,
      observed.files.get(fileKey(name, specHash, target)) ?? nameContent(content),
    ]),
  );
}

/** The engine names the start by the wall clock, which may have been set since: what the agent itself knows bounds it. */
function findBegunMs({ observed, nowMs }: World, { service }: ObservedContainer, startedMs: number): number {
  const own = observed.outcomes.findLast(
    ({ operation, startBegunMs }) => operation.lane === service && startBegunMs !== undefined,
  );
  const earliestMs = own?.startBegunMs ?? Number.NEGATIVE_INFINITY;
  if (startedMs >= earliestMs && startedMs <= nowMs) return startedMs;
  return own?.startBegunMs ?? nowMs;
}

/** When the run that is seen of a container began; for one without a record, as the engine says. */
export function readBegunMs(memory: ServiceMemory | undefined, container: ObservedContainer, nowMs: number): number {
  const newest = memory?.run.newest;
  return newest?.name === nameRun(container) ? newest.begunMs : Math.min(container.startedMs ?? nowMs, nowMs);
}

/** The delivered files of which the processes of this run do not have the wanted content, or may not. */
export function listUnread({ files }: DesiredService, run: RunMemory | undefined): DesiredFile[] {
  return files.filter(
    ({ target, content }) => run?.files[target] !== nameContent(content) || run?.telling?.[target] !== undefined,
  );
}

/** True when this container's newest run has all that its service should have: then it is a run of this release. */
export function isRunOf(
  desired: DesiredService,
  memory: ServiceMemory,
  container: ObservedContainer | undefined,
): boolean {
  const { newest } = memory.run;
  if (container?.startedMs === undefined || newest?.name !== nameRun(container)) return false;
  return listUnread(desired, newest).length === 0;
}

/** Takes over how telling a run of new content ended. What was not told to the end is told again, whatever is wanted by then. */
export function rememberTold(memory: ServiceMemory, { operation, result, endedMs }: OperationOutcome): ServiceMemory {
  const { newest } = memory.run;
  const tells = operation.steps.some(({ kind }) => kind === "signal-container" || kind === "exec-in-container");
  if (newest?.telling === undefined || result.kind !== "done" || !tells) return memory;
  const { telling, ...rest } = newest;
  // Its health says something of the new content from now on.
  const told = setPart(memory, "run", { newest: { ...rest, files: { ...newest.files, ...telling } } });
  return setPart(told, "intent", { sinceMs: endedMs });
}
