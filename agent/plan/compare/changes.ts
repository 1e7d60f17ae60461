// What a desired state changes, service by service, as a person wants to read it: against another desired state before it is merged,
// or against what runs on a node. Pure; every form of `orca plan` asks it. The loop itself goes by operations (plan.ts), which take
// several turns.

import type { ChangeAction, ChangeDocument, ChangeFact } from "../../../shared/document/plan-preview.ts";
import type { DesiredFile, DesiredService, DesiredState, Objection } from "../../../shared/state/desired-state.ts";
import { holdsSecret, nameContent } from "../../../shared/state/file-content.ts";
import { canonicalJson } from "../../../shared/state/identity.ts";
import { findService, type NodeMemory, type ServiceMemory } from "../../../shared/state/memory.ts";
import { fileKey, type HostFacts, isAlive, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Reason } from "../../../shared/state/reason.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { nameNeed } from "../rules/backup-first.ts";
import { nameRolledBack } from "../rules/rollout.ts";
import { listObstacles } from "../rules/start-obstacles.ts";
import { sameCaps } from "../steps.ts";
import type { Reachable } from "../world.ts";
import { describeFact } from "./describe-change.ts";

/** What is on a node, as far as who asks may know it. */
export interface Observed {
  engine: Reachable;
  /** Name of the content of each file that was delivered, by `fileKey`; undefined where nobody can say. */
  files: ReadonlyMap<string, string> | undefined;
  /** What the agent of this node remembers. */
  services: NodeMemory["services"];
  obstacles: HostFacts["obstacles"];
}

/** What a desired state is compared with. */
export type Before = { kind: "desired"; state: DesiredState } | { kind: "observed"; observed: Observed };

type Change = Omit<ChangeDocument, "effects">;

/** Lists what happens to every service when this is wanted; one that stays as it is has the action `none`. */
export function listChanges(before: Before, after: DesiredState): ChangeDocument[] {
  const compare =
    before.kind === "desired"
      ? (name: string): Change => compareDesired(before.state, after, name)
      : (name: string): Change => compareObserved(before.observed, after, name);
  const known =
    before.kind === "desired"
      ? [...before.state.services.keys()]
      : before.observed.engine.containers.map(({ service }) => service);
  const names = new Set([...after.services.keys(), ...after.objections.keys(), ...known]);
  return [...names].toSorted(compareText).map((name) => {
    const change = compare(name);
    return { ...change, effects: change.facts.map(describeFact) };
  });
}

/** A change in all its parts. */
function build(service: string, action: ChangeAction, restarts: boolean, ...facts: ChangeFact[]): Change {
  return { service, action, restarts, facts };
}

function compareDesired(before: DesiredState, after: DesiredState, name: string): Change {
  const objection = after.objections.get(name);
  if (objection !== undefined) {
    // What was objected to before, for the same reason, is nothing that this change brings. Invalid stays invalid: nobody merges on that.
    if (objection.state !== "invalid" && isSameObjection(objection, before.objections.get(name)))
      return build(name, "none", false);
    const standing = after.services.has(name);
    return build(name, objection.state, false, { code: "objected", why: objection.why, standing });
  }
  const [old, wanted] = [before.services.get(name), after.services.get(name)];
  if (wanted === undefined) return build(name, "remove", false, { code: "removed", ran: old?.running === true });
  if (old === undefined) return buildNew(wanted);
  if (old.running !== wanted.running)
    return wanted.running
      ? build(name, "start", true, { code: "started" })
      : build(name, "stop", false, { code: "stopped" });
  return compareSpecs(old, wanted);
}

/** By code and fields: no sentence is compared. */
function isSameObjection(left: Objection, right: Objection | undefined): boolean {
  return right !== undefined && left.state === right.state && canonicalJson(left.why) === canonicalJson(right.why);
}

function compareSpecs(old: DesiredService, wanted: DesiredService): Change {
  const { name } = wanted;
  const contents = new Map(old.files.map(({ target, content }) => [target, nameContent(content)]));
  // A file with another target, mode or owner is another spec.
  const files = wanted.files.filter(
    ({ target, content }) => contents.has(target) && contents.get(target) !== nameContent(content),
  );
  const kept = [...compareCaps(old, wanted), ...files.map(nameFile)];
  if (old.specHash !== wanted.specHash || old.kind !== wanted.kind)
    return build(name, "recreate", isStarted(wanted), ...nameRecreation(old.spec, wanted), ...kept);
  if (kept.length > 0) return buildKept(wanted, kept, files);
  return old.fingerprint === wanted.fingerprint
    ? build(name, "none", false)
    : build(name, "agent", false, { code: "agent-only" });
}

function nameRecreation(old: Pick<DesiredService["spec"], "image">, wanted: DesiredService): ChangeFact[] {
  return [...nameRuns(wanted), ...compareImage(old, wanted), ...nameBackups(wanted)];
}

function nameBackups({ backupFirst = [] }: DesiredService): ChangeFact[] {
  return backupFirst.length === 0 ? [] : [{ code: "after-backup", of: backupFirst.map(nameNeed) }];
}

function compareObserved(observed: Observed, after: DesiredState, name: string): Change {
  const containers = observed.engine.containers.filter(({ service }) => service === name);
  const objection = after.objections.get(name);
  if (objection !== undefined) return build(name, objection.state, false, { code: "objected", why: objection.why });
  const wanted = after.services.get(name);
  if (wanted === undefined)
    return build(name, "remove", false, { code: "removed", ran: containers.some((entry) => isAlive(entry)) });
  const kept = findKept(wanted, findService(observed.services, name), containers);
  if (kept !== undefined) return build(name, "none", false, { code: "kept", why: kept });
  const change = compareContainers(wanted, containers, observed.files);
  if (!BEGINS.has(change.action)) return change;
  // What begins a container also says what would keep it from starting here.
  const { engine, obstacles } = observed;
  const ways = listObstacles(wanted, engine, { obstacles, wanted: after });
  return { ...change, facts: [...change.facts, ...ways.map(({ why }) => ({ code: "obstacle" as const, why }))] };
}

const BEGINS: ReadonlySet<ChangeAction> = new Set<ChangeAction>(["create", "recreate", "start"]);

/** What is remembered of it, or how it ended, leaves it as it is as long as its manifest is the same. */
function findKept(
  { fingerprint, restart, specHash }: DesiredService,
  known: ServiceMemory | undefined,
  containers: readonly ObservedContainer[],
): Reason | undefined {
  const { rolledBack } = known?.release ?? {};
  if (rolledBack?.wanted === fingerprint) return nameRolledBack(rolledBack, false);
  const { stoppedBy } = known?.operator ?? {};
  if (stoppedBy?.wanted === fingerprint) return { code: "stopped-by", uid: stoppedBy.uid };
  const ended = containers.find((entry) => entry.specHash === specHash && entry.status === "exited");
  const exit = known?.run.lastExit;
  const isOwn = exit !== undefined && exit.container === ended?.id && exit.requested !== "agent" && !exit.engineStopped;
  const { policy } = restart;
  if (!isOwn || policy === "always" || (policy === "on-failure" && exit.exitCode !== 0)) return undefined;
  return { code: "policy-leaves-ended", exitCode: exit.exitCode, policy };
}

function compareContainers(
  wanted: DesiredService,
  containers: readonly ObservedContainer[],
  delivered: Observed["files"],
): Change {
  const { name, specHash } = wanted;
  const current = containers.find((container) => container.specHash === specHash);
  if (wanted.kind === "job") return build(name, "none", false, ...nameRuns(wanted));
  if (!wanted.running)
    return containers.some((entry) => isAlive(entry))
      ? build(name, "stop", false, { code: "state-stopped" })
      : build(name, "none", false);
  const [old] = containers;
  if (old === undefined) return buildNew(wanted);
  if (current === undefined) {
    const image = compareImage(old, wanted);
    const spec: ChangeFact[] = image.length > 0 ? image : [{ code: "spec" }];
    return build(name, "recreate", true, ...spec, ...nameBackups(wanted), ...compareCaps(old, wanted));
  }
  if (current.status !== "running") return build(name, "start", true, { code: "container", status: current.status });
  const files = wanted.files
    // Which version of a secret lies in memory is known to the agent alone.
    .filter(({ content }) => delivered !== undefined && !holdsSecret(content))
    .filter(({ target, content }) => delivered?.get(fileKey(name, specHash, target)) !== nameContent(content));
  const kept = [...compareCaps(current, wanted), ...files.map(nameFile)];
  return kept.length === 0 ? build(name, "none", false) : buildKept(wanted, kept, files);
}

function buildNew(wanted: DesiredService): Change {
  const { name, spec, caps, running, kind } = wanted;
  const stopped: ChangeFact[] = kind === "service" && !running ? [{ code: "state-stopped" }] : [];
  const facts: ChangeFact[] = [
    { code: "image", to: spec.image },
    { code: "caps", to: caps },
  ];
  return build(name, "create", isStarted(wanted), ...facts, ...nameRuns(wanted), ...stopped);
}

/** Its container stays: with other caps, other content in its files, or both. */
function buildKept(wanted: DesiredService, facts: readonly ChangeFact[], files: readonly DesiredFile[]): Change {
  const restarts = isStarted(wanted) && files.some(({ onChange }) => onChange === "restart");
  return build(wanted.name, facts.length > files.length ? "update" : "deliver", restarts, ...facts);
}

/** A job on a cron starts at its time and not for the change. */
function isStarted({ kind, schedule, running }: DesiredService): boolean {
  return running && (kind === "service" || schedule === "@once");
}

function nameRuns({ kind, schedule = "" }: DesiredService): ChangeFact[] {
  return kind === "service" ? [] : [{ code: "runs", schedule }];
}

function compareImage({ image: from }: { image: string }, { spec: { image: to } }: DesiredService): ChangeFact[] {
  return from === to ? [] : [{ code: "image", from, to }];
}

function compareCaps({ caps: from }: Pick<DesiredService, "caps">, { caps: to }: DesiredService): ChangeFact[] {
  return sameCaps(from, to) ? [] : [{ code: "caps", from, to }];
}

function nameFile({ target, onChange: then }: DesiredFile): ChangeFact {
  return { code: "content", target, then };
}

/** What a node's budget must hold, in bytes: the caps of what runs, fronts and the largest second copy of a start-first among it. */
export function sumCaps(state: DesiredState): number {
  const running = [...state.services.values()].filter((service) => service.running);
  const copies = running.filter(({ front }) => front !== undefined).map(({ caps }) => caps.memoryBytes);
  return running.reduce((sum, service) => sum + service.caps.memoryBytes, Math.max(0, ...copies));
}
