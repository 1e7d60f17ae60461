// Rollouts: how long a new release has been tried, when it has failed, and what runs in its place then. Pure.
// Only the release itself can fail: while the registry, the disk, the engine or something it requires is at fault, its time
// stands still, and nothing is rolled back (behaviour, section 2).
// Held by test/scenario/start/rollout.test.ts.

import { describeReason } from "../../../shared/text/describe-reason.ts";
import type { BackupFacts } from "../../../shared/state/backup.ts";
import type { DesiredService, DesiredState, Objection } from "../../../shared/state/desired-state.ts";
import {
  findService,
  type NodeMemory,
  type ReleasesMemory,
  type ServiceMemory,
  setPart,
} from "../../../shared/state/memory.ts";
import { dropOutput, pickSaid, type Reason, type ReasonOf } from "../../../shared/state/reason.ts";
import type { BrokenPromises } from "../../../shared/state/promise.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import { followEphemeral } from "../../desired/build/ephemeral.ts";
import { carryAsItIs } from "../as-it-is.ts";
import { checkTarget } from "./gate.ts";
import { findBackupHold } from "./backup-first.ts";
import { findPromiseHold } from "../promise-freeze.ts";
import { judgeOwnData } from "./own-data.ts";
import { isRunOf, readBegunMs } from "../memory/run.ts";
import type { Decision, Reachable, ServiceContext, World } from "../world.ts";

/** Between two turns at most so much time counts: the rest was the agent's own absence, or a clock that jumped. */
const LONGEST_TURN_GAP_MS = 35_000;

/** What is known of what a change may wait for. */
export interface HoldFacts {
  /** The engine's volumes that services name; undefined while that is not known. */
  volumes: Reachable["volumes"] | undefined;
  backups: BackupFacts;
  /** Promises that are broken now; undefined while nobody has looked yet. */
  broken: BrokenPromises | undefined;
  /** The word of a commit whose changes wait for nobody. */
  emergency: string | undefined;
  /** What was last chosen of each service, by its fingerprint: a change that has begun goes on. */
  begun: ReadonlyMap<string, string>;
}

/** What is known of releases that are kept. */
export interface KeptReleases {
  /** Finds one by its fingerprint. */
  find(service: string, fingerprint: string): DesiredService | undefined;
  /** Why the host's policy refuses it now, though it may have run before; undefined where it may run. */
  judge(release: DesiredService): Reason | undefined;
}

/**
 * Puts earlier releases where the memory says that they stand in for what Git wants, and where a new container would begin without
 * data that is here: the old one goes on being healed meanwhile.
 */
export function applyRollbacks(
  desired: DesiredState,
  memory: NodeMemory,
  kept: KeptReleases,
  facts: HoldFacts,
): Pick<World, "desired" | "wanted" | "releases"> {
  const objections = new Map(desired.objections);
  const services = new Map<string, DesiredService>();
  const wanted = new Map<string, DesiredService>();
  const releases = new Map<string, DesiredService>();
  const object = (name: string, state: Objection["state"], why: Reason): void =>
    void objections.set(name, { state, why, problems: [] });
  /** Puts an earlier release in the place of what is wanted, where the host's policy lets it run. */
  const stand = (service: DesiredService, release: DesiredService): DesiredService | undefined => {
    const refusal = kept.judge(release);
    if (refusal !== undefined) {
      object(service.name, "refused", nameRefused(release, refusal));
      return undefined;
    }
    const standIn = carryAsItIs(service, release);
    services.set(service.name, standIn);
    wanted.set(service.name, service);
    return standIn;
  };
  const put = (service: DesiredService): DesiredService | undefined => {
    const { name, fingerprint } = service;
    const known = findService(memory.services, name);
    const back = known?.release.rolledBack?.wanted === fingerprint ? known.release.rolledBack : undefined;
    const held = back === undefined ? holdBack(service, known, kept, facts) : undefined;
    if (held !== undefined) {
      if (!objections.has(name)) object(name, "held", held.reason);
      return stand(service, held.release);
    }
    const release = back === undefined ? undefined : kept.find(name, back.to);
    if (release !== undefined) return stand(service, release);
    services.set(name, service);
    const good = back === undefined ? findGood(service, known, kept) : undefined;
    if (good === undefined) return service;
    const refusal = kept.judge(good);
    if (refusal === undefined) releases.set(name, good);
    else services.set(name, { ...service, notes: [...service.notes, describeReason(nameRefused(good, refusal), 0)] });
    return service;
  };
  for (const service of desired.services.values()) {
    if (service.frontOf !== undefined) continue;
    // A release brings the front that it ran with.
    const front = put(service)?.front;
    if (front !== undefined) put(front.service);
  }
  for (const [name, { state, why }] of desired.objections) {
    // What the host's policy refuses is not started again; what cannot be read any more is held at its release.
    const release = services.has(name) || state !== "invalid" ? undefined : findHeldRelease(name, memory, kept);
    if (release === undefined) continue;
    const refusal = kept.judge(release);
    if (refusal !== undefined) {
      object(name, state, { ...nameRefused(release, refusal), objection: why });
      continue;
    }
    const { front } = put(release) ?? release;
    if (front !== undefined) put(front.service);
  }
  // Jobs fill what the release that stands has.
  return { desired: followEphemeral({ ...desired, services, objections }), wanted, releases };
}

/** The last release that was good, where it is another than this one. */
function findGood(
  { name, fingerprint }: DesiredService,
  known: ServiceMemory | undefined,
  kept: KeptReleases,
): DesiredService | undefined {
  const good = known?.release.lastGood?.fingerprint;
  return good === undefined || good === fingerprint ? undefined : kept.find(name, good);
}

function nameRefused({ revision }: DesiredService, why: Reason): ReasonOf<"release-refused"> {
  return { code: "release-refused", revision, why };
}

/**
 * The release of a service of which neither Git nor what was accepted before can be used: by a stricter version of the agent, or
 * for a file that is gone. One that was stopped stays stopped.
 */
function findHeldRelease(name: string, memory: NodeMemory, kept: KeptReleases): DesiredService | undefined {
  const known = findService(memory.services, name);
  const { lastGood, rolledBack } = known?.release ?? {};
  if (lastGood === undefined || known?.shownState?.state === "stopped") return undefined;
  const release = kept.find(name, rolledBack?.to ?? lastGood.fingerprint);
  return release?.kind === "service" ? release : undefined;
}

/** The release that goes on in place of a change that waits, and why. */
function holdBack(
  wanted: DesiredService,
  own: ServiceMemory | undefined,
  kept: KeptReleases,
  { volumes, backups, broken, begun, emergency }: HoldFacts,
): { release: DesiredService; reason: Reason } | undefined {
  const data = holdForData(wanted, own, kept, volumes);
  const lastGood = own?.release.lastGood;
  if (data !== undefined || lastGood === undefined) return data;
  const find = (): DesiredService | undefined => kept.find(wanted.name, lastGood.fingerprint);
  const mayFreeze = broken === undefined || Object.hasOwn(broken, wanted.name);
  const freeze = mayFreeze
    ? findPromiseHold(wanted, { release: find(), memory: own?.release ?? {}, emergency, broken, begun })
    : undefined;
  const reason = freeze ?? findBackupHold(wanted, own?.release.backup, backups);
  const release = reason === undefined ? undefined : find();
  return release === undefined || reason === undefined ? undefined : { release, reason };
}

/** The release that goes on where a new container would begin without its data, and why. */
function holdForData(
  wanted: DesiredService,
  known: ServiceMemory | undefined,
  kept: KeptReleases,
  volumes: Reachable["volumes"] | undefined,
): { release: DesiredService; reason: Reason } | undefined {
  const { ownVolumes: own } = known?.run ?? {};
  const { lastGood } = known?.release ?? {};
  if (own === undefined || lastGood?.specHash !== own.specHash) return undefined;
  const reason = judgeOwnData({ wanted, own, emptyBy: known?.operator.emptyBy }, volumes);
  const release = reason === undefined ? undefined : kept.find(wanted.name, lastGood.fingerprint);
  return release === undefined || reason === undefined ? undefined : { release, reason };
}

/**
 * A new value of a secret makes another release of the same manifest: what a person has said of a service stands, until they
 * take it back or its manifest changes.
 */
export function keepOperatorOverrides(memory: NodeMemory, desired: DesiredState): NodeMemory {
  const services = { ...memory.services };
  for (const name of desired.rotating.keys()) {
    const [known, wanted] = [findService(memory.services, name), desired.services.get(name)?.fingerprint];
    if (known === undefined || wanted === undefined) continue;
    const { stoppedBy } = known.operator;
    const { rolledBack } = known.release;
    const stopped =
      stoppedBy === undefined ? known : setPart(known, "operator", { stoppedBy: { ...stoppedBy, wanted } });
    services[name] =
      rolledBack?.uid === undefined ? stopped : setPart(stopped, "release", { rolledBack: { ...rolledBack, wanted } });
  }
  return { ...memory, services };
}

/**
 * Counts how long this release has been tried, from its first run on; forgets it where there is nothing to go back to. A run that
 * does not have what the release delivers is one of the release before: ending it, however slowly, is no time of this one.
 */
export function rememberRollout(
  memory: ServiceMemory,
  world: World,
  desired: DesiredService,
  current: ObservedContainer | undefined,
): ServiceMemory {
  const { rollout } = memory.release;
  const { failure } = memory.backoff;
  const canGoBack = desired.running && desired.kind === "service" && world.releases.has(desired.name);
  // One that cannot be started is tried as much as one that starts and is never healthy.
  const hasFailed = failure !== undefined && failure.failure !== "infrastructure";
  const isTried = hasFailed || isRunOf(desired, memory, current) || rollout?.fingerprint === desired.fingerprint;
  if (!canGoBack || !isTried)
    return rollout === undefined ? memory : setPart(memory, "release", { rollout: undefined });
  const engineRun = (world.observed.engine as Reachable).run;
  const begun = { fingerprint: desired.fingerprint, engineRun, spentMs: 0, seenMs: world.nowMs };
  if (rollout?.fingerprint !== desired.fingerprint || rollout.engineRun !== engineRun)
    return setPart(memory, "release", { rollout: begun });
  if (isNotReleaseFault(memory, world, desired))
    return setPart(memory, "release", { rollout: { ...rollout, seenMs: world.nowMs } });
  const gapMs = Math.min(Math.max(0, world.nowMs - rollout.seenMs), LONGEST_TURN_GAP_MS);
  const spent = { ...rollout, spentMs: rollout.spentMs + gapMs, seenMs: world.nowMs };
  return setPart(memory, "release", { rollout: spent });
}

/** True while something other than the release is at fault. */
export function isNotReleaseFault(memory: ServiceMemory, world: World, desired: DesiredService): boolean {
  if (memory.backoff.failure?.failure === "infrastructure" || world.memory.pauses[desired.name] !== undefined)
    return true;
  if (world.memory.pauses["*"] !== undefined || memory.operator.stoppedBy !== undefined) return true;
  if (world.memory.copies?.[desired.name] !== undefined) return true;
  return desired.requires.some((entry) => !checkTarget(world, entry.target).healthy);
}

/** Goes back to the last good release when this one cannot run, or has not settled in its time. */
export function rollBack(context: ServiceContext): Decision | undefined {
  const { desired, memory, world } = context;
  const release = world.releases.get(desired.name);
  if (release === undefined || !desired.update.rollback || !desired.running) return undefined;
  const fault = findFault(context);
  if (fault === undefined) return undefined;
  const why = dropOutput(fault);
  const reason = describeReason(why, world.nowMs);
  const calm = setPart(memory, "backoff", { failure: undefined, nextStartMs: undefined });
  const back = { wanted: desired.fingerprint, to: release.fingerprint, revision: release.revision, reason, why };
  return {
    state: "rolled-back",
    reason: { code: "takes-its-place", revision: release.revision },
    memory: setPart(calm, "release", { rollout: undefined, rolledBack: back }),
    // The next turn plans with the release that now stands in its place.
    nextMs: world.nowMs,
  };
}

/** Why this release has failed, or undefined while it has not. */
function findFault({ desired, memory, current, health, world }: ServiceContext): Reason | undefined {
  const { failure } = memory.backoff;
  const { rollout } = memory.release;
  if (failure?.failure === "artefact" && failure.fingerprint === desired.fingerprint)
    return { code: "said", said: pickSaid(failure) };
  if (rollout === undefined || rollout.spentMs < desired.update.healthy_within) return undefined;
  const tried = {
    code: "not-settled-within",
    revision: desired.revision,
    withinMs: desired.update.healthy_within,
  } as const;
  const failed = failure && ({ code: "said", said: pickSaid(failure) } as const);
  if (current?.status !== "running") return { ...tried, why: failed ?? readEnd(memory) };
  // Its manifest gives it this time to come up, whatever else is written there.
  if (world.nowMs - readBegunMs(memory, current, world.nowMs) < (desired.health?.start_period ?? 0)) return undefined;
  if (health === undefined || health.notMade) return undefined;
  // Healthy at the end of its time: it is given the rest of its settling.
  return health.status === "healthy" ? undefined : { ...tried, why: { code: "said", said: pickSaid(health) } };
}

function readEnd({ run: { lastExit }, backoff: { restarts }, release: { rollout } }: ServiceMemory): Reason {
  if (lastExit?.requested === "agent" && rollout?.sick !== undefined)
    return { code: "said", said: { message: rollout.sick } };
  if (lastExit === undefined) return { code: "does-not-run" };
  return { code: "ended-often", exitCode: lastExit.exitCode, now: { restarts } };
}

/** When the time of a release that is being tried ends; undefined where nothing would happen then. */
export function rolloutEndMs({ desired, memory, world, current }: ServiceContext): number | undefined {
  const { rollout } = memory.release;
  if (rollout === undefined || !desired.update.rollback) return undefined;
  const leftMs = desired.update.healthy_within - rollout.spentMs;
  // Nothing is judged before the time that its manifest gives it to come up is over, either.
  const begunMs = current?.status === "running" ? readBegunMs(memory, current, world.nowMs) : undefined;
  const upMs = begunMs === undefined ? 0 : begunMs + (desired.health?.start_period ?? 0) - world.nowMs;
  const waitMs = Math.max(leftMs, upMs);
  return waitMs > 0 ? world.nowMs + waitMs : undefined;
}

/**
 * Says over a reason that the service runs an earlier release.
 * @param over whether its manifest has changed since, to something that cannot be used: that is then what is waited for
 */
export function nameRolledBack(
  { uid, revision, reason, why: fault }: NonNullable<ReleasesMemory["rolledBack"]>,
  over: boolean,
  why?: Reason,
): ReasonOf<"rolled-back"> {
  // The version before kept words alone.
  const told: Reason = fault ?? { code: "said", said: { message: reason } };
  return { code: "rolled-back", revision, uid, fault: told, over, why };
}
