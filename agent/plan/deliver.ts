// New content for the files of a container that runs: delivered in place, and the service told as its manifest says. Pure.

import type { DesiredFile } from "../../shared/desired-state.ts";
import { fileKey } from "../../shared/observed-state.ts";
import type { Cause, Step } from "../../shared/step.ts";
import { describeRotation, listRotatedIn } from "./replacement.ts";
import { buildRestart, describeRunning, type Running } from "./running.ts";
import { askRestart } from "./start.ts";
import { buildFileSteps, buildOperation } from "./steps.ts";
import type { Decision } from "./world.ts";

/** New content goes into the files in place; then the service is told, in the way its manifest says. */
export function deliverFiles(scene: Running): Decision | undefined {
  const { desired, memory, current, world } = scene;
  const told = memory.applied?.files ?? {};
  const changed = desired.files.filter((file) => told[file.target] !== file.hash);
  const steps = buildFileSteps(desired, world.observed, current.id);
  if (changed.length === 0 && steps.length === 0) return undefined;
  const cause = explainDelivery(scene, changed);
  const { detail } = cause;
  const stale = memory.applied?.stale === true || isAnyFileLost(scene);
  if (changed.length > 0 && (stale || changed.some((file) => file.onChange === "restart"))) {
    const asked = askRestart({ ...scene, memory: { ...memory, ...(scene.waited && { waiting: scene.waited }) } });
    if (!asked.go) return waitInPlace(scene, detail, asked.decision);
    const next = { ...asked.memory, stopping: current.id };
    const operation = buildOperation(scene, cause, [...steps, ...buildRestart(scene)]);
    const { notes, start } = asked;
    return { state: "starting", reason: detail, memory: next, notes, start, operation };
  }
  const tells = changed.flatMap((file): Step[] => {
    if (file.onChange === "restart") return [];
    const container = { service: desired.name, container: current.id };
    return "signal" in file.onChange
      ? [{ kind: "signal-container", ...container, signal: file.onChange.signal }]
      : [{ kind: "exec-in-container", ...container, command: file.onChange.exec }];
  });
  const unique = [...new Map(tells.map((step) => [JSON.stringify(step), step])).values()];
  const operation = buildOperation(scene, cause, [...steps, ...unique]);
  const applied = { container: "", files: told, ...memory.applied, ...(stale ? { stale } : {}) };
  if (changed.length === 0) return { ...describeRunning(scene), memory: { ...memory, applied }, operation };
  // Its health says something of the new content from now on.
  const since = { ...memory, intentMs: world.nowMs };
  return { ...describeRunning({ ...scene, memory: since }), memory: { ...since, applied }, operation };
}

/** It runs with what it has until the gate lets it start with what is new; that it is well says nothing of that. */
function waitInPlace(scene: Running, detail: string, held: Decision): Decision {
  const { release: _release, ...shown } = describeRunning(scene);
  const reason = `${shown.reason}; it starts anew (${detail}) when it may: ${held.reason}`;
  const { waitingFor = [], memory, nextMs } = held;
  return { ...shown, ...(nextMs === undefined ? {} : { nextMs }), reason, waitingFor, memory, settled: false };
}

function explainDelivery({ desired, memory }: Running, changed: readonly DesiredFile[]): Cause {
  const { revision } = desired;
  if (changed.length === 0) return { kind: "drift", detail: "its delivered files were changed by hand", revision };
  const told = memory.applied?.files ?? {};
  const rotated = changed.map(({ target, hash }) => listRotatedIn(told[target] ?? "", hash));
  if (rotated.every((paths) => paths.length > 0)) return describeRotation([...new Set(rotated.flat())]);
  return { kind: "config", detail: `new content in ${changed.map((file) => file.target).join(", ")}`, revision };
}

function isAnyFileLost({ desired, world }: Running): boolean {
  return desired.files.some((file) => !world.observed.files.has(fileKey(desired.name, desired.specHash, file.target)));
}
