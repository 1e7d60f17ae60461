// New content for the files of a container that runs: delivered in place, and the service told as its manifest says. Pure.
// Held by test/scenario/runs/runs.test.ts.

import type { DesiredFile } from "../../../shared/state/desired-state.ts";
import { setPart } from "../../../shared/state/memory.ts";
import { fileKey } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import type { Cause, Step } from "../../../shared/state/step.ts";
import { buildCause } from "../cause.ts";
import { explainRotation, listRotatedIn } from "./replacement.ts";
import { listUnread } from "../memory/run.ts";
import { buildRestart, describeRunning, type Running } from "./running.ts";
import { askRestart } from "./start.ts";
import { buildFileSteps, buildOperation } from "../steps.ts";
import type { Decision } from "../world.ts";
import { nameContent, readContentName } from "../../../shared/state/file-content.ts";

/** New content goes into the files in place; then the run is told, in the way its manifest says, or ends for the next one. */
export function deliverFiles(context: Running): Decision | undefined {
  const { desired, memory, current, world } = context;
  const unread = listUnread(desired, memory.run.newest);
  const steps = buildFileSteps(desired, world.observed, current.id);
  if (unread.length === 0 && steps.length === 0) return undefined;
  const cause = explainDelivery(context, unread);
  const stale = memory.run.newest?.stale === true || isAnyFileLost(context);
  if (unread.length > 0 && (stale || unread.some((file) => file.onChange === "restart")))
    return restartWith(context, cause, steps);
  const operation = buildOperation(context, cause, [...steps, ...buildTells(context, unread)]);
  const telling = Object.fromEntries(unread.map(({ target, content }) => [target, nameContent(content)]));
  const newest = memory.run.newest && {
    ...memory.run.newest,
    ...(stale ? { stale } : {}),
    ...(unread.length === 0 ? {} : { telling }),
  };
  const next = newest === undefined ? memory : setPart(memory, "run", { newest });
  return { ...describeRunning({ ...context, memory: next }), operation };
}

/** What can only be read at a start: nothing is stopped before the gate has said yes to the next run. */
function restartWith(context: Running, cause: Cause, steps: readonly Step[]): Decision {
  const { memory, current } = context;
  const asked = askRestart({ ...context, memory: setPart(memory, "gate", { waiting: context.waited }) });
  if (!asked.go) return waitInPlace(context, cause.why, asked.decision);
  const next = setPart(asked.memory, "run", { stopping: current.id });
  const operation = buildOperation(context, cause, [...steps, ...buildRestart(context)]);
  const { notes, start } = asked;
  return { state: "starting", reason: cause.why, memory: next, notes, start, operation };
}

function buildTells({ desired, current }: Running, unread: readonly DesiredFile[]): Step[] {
  const tells = unread.flatMap((file): Step[] => {
    if (file.onChange === "restart") return [];
    const container = { service: desired.name, container: current.id };
    return "signal" in file.onChange
      ? [{ kind: "signal-container", ...container, signal: file.onChange.signal }]
      : [{ kind: "exec-in-container", ...container, command: file.onChange.exec }];
  });
  return [...new Map(tells.map((step) => [JSON.stringify(step), step])).values()];
}

/** It runs with what it has until the gate lets it start with what is new; that it is well says nothing of that. */
function waitInPlace(context: Running, cause: Reason, held: Decision): Decision {
  const { release: _release, ...shown } = describeRunning(context);
  const reason: Reason = { code: "starts-anew-later", why: shown.reason, cause, held: held.reason };
  const { waitingFor = [], memory, nextMs } = held;
  return { ...shown, ...(nextMs === undefined ? {} : { nextMs }), reason, waitingFor, memory, settled: false };
}

function explainDelivery({ desired, memory }: Running, unread: readonly DesiredFile[]): Cause {
  const { revision } = desired;
  if (unread.length === 0) return buildCause("drift", { code: "files-differ" }, { revision });
  const has = memory.run.newest?.files ?? {};
  const rotated = unread.map(({ target, content }) => listRotatedIn(readContentName(has[target] ?? ""), content));
  if (rotated.every((paths) => paths.length > 0)) return explainRotation([...new Set(rotated.flat())]);
  return buildCause("config", { code: "new-content", targets: unread.map(({ target }) => target) }, { revision });
}

function isAnyFileLost({ desired, world }: Running): boolean {
  return desired.files.some((file) => !world.observed.files.has(fileKey(desired.name, desired.specHash, file.target)));
}
