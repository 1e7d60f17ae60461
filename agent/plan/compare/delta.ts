// What happens on a node when one desired state follows another, service by service, as a person wants to read it before it is
// merged. Pure; `orca plan --against` asks it. What really runs plays no part: changes.ts compares with that.

import type { DesiredFile, DesiredService, DesiredState, Objection } from "../../../shared/state/desired-state.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { describeCaps } from "../../../shared/text/describe-caps.ts";
import { sameCaps } from "../steps.ts";

/** What happens to one service. */
export interface ServiceDelta {
  service: string;
  action:
    | "create"
    | "recreate"
    | "update"
    | "deliver"
    | "start"
    | "stop"
    | "agent"
    | "remove"
    /** Git's word is not followed. */
    | Objection["state"];
  /** True when its container ends and another run of it begins. */
  restarts: boolean;
  /** What happens, one thing each. */
  effects: readonly string[];
}

/** Lists what changes; a service that stays as it is is left out. */
export function listDeltas(before: DesiredState, after: DesiredState): ServiceDelta[] {
  const names = [...after.services.keys(), ...after.objections.keys(), ...before.services.keys()];
  return [...new Set(names)].toSorted(compareText).flatMap((name) => {
    const objection = after.objections.get(name);
    // What was objected to before, for the same reason, is nothing that this change brings.
    if (objection !== undefined)
      return objection.reason === before.objections.get(name)?.reason
        ? []
        : [describeObjection(name, objection, after)];
    const delta = compareService(before.services.get(name), after.services.get(name));
    return delta === undefined ? [] : [delta];
  });
}

function describeObjection(service: string, { state, reason }: Objection, after: DesiredState): ServiceDelta {
  const kept = after.services.has(service) ? "its release before stays in force" : "nothing runs for it";
  return { service, action: state, restarts: false, effects: [reason, kept] };
}

function compareService(
  before: DesiredService | undefined,
  after: DesiredService | undefined,
): ServiceDelta | undefined {
  if (after === undefined) return before === undefined ? undefined : describeRemoval(before);
  if (before === undefined) return describeNew(after);
  const build = (action: ServiceDelta["action"], restarts: boolean, ...effects: string[]): ServiceDelta => ({
    service: after.name,
    action,
    restarts,
    effects,
  });
  if (before.running !== after.running)
    return after.running
      ? build("start", true, "it is started")
      : build("stop", false, "it is stopped; its data stays");
  const caps = sameCaps(before.caps, after.caps) ? [] : [`${describeCaps(before.caps)} → ${describeCaps(after.caps)}`];
  const files = listNewContents(before, after);
  const contents = files.map(describeFile);
  if (before.specHash !== after.specHash || before.kind !== after.kind) {
    const image = before.spec.image === after.spec.image ? [] : [`image: ${before.spec.image} → ${after.spec.image}`];
    return build("recreate", isStarted(after), ...describeRecreation(after), ...image, ...caps, ...contents);
  }
  const restarts = isStarted(after) && files.some(({ onChange }) => onChange === "restart");
  if (caps.length > 0) return build("update", restarts, ...caps, ...contents);
  if (contents.length > 0) return build("deliver", restarts, ...contents);
  if (before.fingerprint !== after.fingerprint) return build("agent", false, "no container is touched");
  return undefined;
}

function describeRemoval({ name, running }: DesiredService): ServiceDelta {
  const kept = "its container is kept for an hour, its volumes for good";
  const effects = [running ? `it is stopped; ${kept}` : kept];
  return { service: name, action: "remove", restarts: false, effects };
}

function describeNew(after: DesiredService): ServiceDelta {
  const { name, spec, caps, running } = after;
  const effects = [spec.image, describeCaps(caps), ...describeRecreation(after)];
  const isStopped = after.kind === "service" && !running;
  return {
    service: name,
    action: "create",
    restarts: isStarted(after),
    effects: isStopped ? [...effects, 'state = "stopped"'] : effects,
  };
}

/** A job on a cron starts at its time and not for the change. */
function isStarted({ kind, schedule, running }: DesiredService): boolean {
  return running && (kind === "service" || schedule === "@once");
}

function describeRecreation({ kind, schedule }: DesiredService): string[] {
  if (kind === "service") return [];
  return [schedule === "@once" ? "it runs once" : `it runs at its times (${schedule})`];
}

function listNewContents(before: DesiredService, after: DesiredService): DesiredFile[] {
  const old = new Map(before.files.map(({ target, hash }) => [target, hash]));
  // A file with another target, mode or owner is another spec.
  return after.files.filter(({ target, hash }) => old.has(target) && old.get(target) !== hash);
}

function describeFile({ target, onChange }: DesiredFile): string {
  const then =
    onChange === "restart"
      ? "it restarts"
      : "signal" in onChange
        ? `it gets ${onChange.signal}`
        : `${onChange.exec[0]} runs in it`;
  return `${target} has new content: ${then}`;
}

/** What a node's budget must hold, in bytes: the caps of what runs, fronts and the largest second copy of a start-first among it. */
export function sumCaps(state: DesiredState): number {
  const running = [...state.services.values()].filter((service) => service.running);
  const copies = running.filter(({ front }) => front !== undefined).map(({ caps }) => caps.memoryBytes);
  return running.reduce((sum, service) => sum + service.caps.memoryBytes, Math.max(0, ...copies));
}
