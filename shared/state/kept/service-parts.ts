// What is remembered of one service as it is stored: one flat record, which versions before the parts wrote and read as well, and
// which therefore stays. Between that and the parts of the memory stands one mapping each way. Pure; used by the agent's store alone.

import {
  type BackoffMemory,
  EMPTY_MEMORY,
  type ExitRecord,
  type GateMemory,
  type IntentMemory,
  type JobMemory,
  type NodeMemory,
  type OperatorMemory,
  type ReleasesMemory,
  type RunsMemory,
  type ServiceMemory,
} from "../memory.ts";

type Field<P, F extends keyof P> = Required<P>[F];
type Waiting = Field<GateMemory, "waiting">;

/** The record of one service. Its names are those of the first versions: memory.ts says what they mean. */
export interface StoredService {
  fingerprint: string;
  intentMs?: number;
  attempt: number;
  restarts: number;
  nextStartMs?: number;
  lastExit?: ExitRecord;
  exitMs?: number;
  run?: Field<RunsMemory, "newest">;
  seen?: Field<RunsMemory, "lastSeen">;
  healthy?: Field<RunsMemory, "lastHealthy">;
  took?: Field<RunsMemory, "startTook">;
  stopping?: string;
  waiting?: Omit<Waiting, "healthySeen"> & { met?: Field<Waiting, "healthySeen"> };
  ungated?: string;
  failure?: Field<BackoffMemory, "failure">;
  release?: Field<ReleasesMemory, "lastGood">;
  rollout?: Field<ReleasesMemory, "rollout">;
  rolledBack?: Field<ReleasesMemory, "rolledBack">;
  stoppedBy?: Field<OperatorMemory, "stoppedBy">;
  emptyBy?: Field<OperatorMemory, "emptyBy">;
  startAsked?: Field<OperatorMemory, "startAsked">;
  applied?: Field<RunsMemory, "byEarlierVersion">;
  own?: Field<RunsMemory, "ownVolumes">;
  backup?: Field<ReleasesMemory, "backup">;
  heldFor?: string;
  restartAsked?: Field<OperatorMemory, "restartAsked">;
  job?: JobMemory;
  repeated?: Field<BackoffMemory, "repeated">;
  later?: Field<RunsMemory, "byLaterVersion">;
  shown?: Field<ServiceMemory, "shownState">;
}

/** The node's memory as it is stored: all but its services is as it is remembered. */
export type StoredNode = Omit<NodeMemory, "services"> & { services: Readonly<Record<string, StoredService>> };

/** Every field has to be named, also where there is nothing in it: one that is forgotten does not compile. */
type Fields<T> = { [F in keyof Required<T>]: undefined extends T[F] ? T[F] | undefined : T[F] };

/** Leaves out what means nothing. */
function pack<T extends object>(fields: Fields<T>): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** From what is stored to what is remembered; what could not be read of it is empty. */
export function mapFromStored({ services = {}, ...rest }: Partial<StoredNode>): NodeMemory {
  return { ...EMPTY_MEMORY, ...rest, services: mapValues(services, mapServiceFromStored) };
}

/** From what is remembered to what is stored. */
export function mapToStored(memory: NodeMemory): StoredNode {
  return { ...memory, services: mapValues(memory.services, mapServiceToStored) };
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}

function mapServiceFromStored(stored: StoredService): ServiceMemory {
  return pack<ServiceMemory>({
    intent: pack<IntentMemory>({ fingerprint: stored.fingerprint, sinceMs: stored.intentMs }),
    run: pack<RunsMemory>({
      newest: stored.run,
      lastSeen: stored.seen,
      lastHealthy: stored.healthy,
      startTook: stored.took,
      stopping: stored.stopping,
      lastExit: stored.lastExit,
      lastExitMs: stored.exitMs,
      ownVolumes: stored.own,
      byEarlierVersion: stored.applied,
      byLaterVersion: stored.later,
    }),
    gate: pack<GateMemory>({
      waiting: stored.waiting && mapWaitingFromStored(stored.waiting),
      startedWithout: stored.ungated,
    }),
    backoff: pack<BackoffMemory>({
      attempt: stored.attempt,
      restarts: stored.restarts,
      nextStartMs: stored.nextStartMs,
      failure: stored.failure,
      repeated: stored.repeated,
    }),
    operator: pack<OperatorMemory>({
      stoppedBy: stored.stoppedBy,
      emptyBy: stored.emptyBy,
      startAsked: stored.startAsked,
      restartAsked: stored.restartAsked,
    }),
    release: pack<ReleasesMemory>({
      lastGood: stored.release,
      rollout: stored.rollout,
      rolledBack: stored.rolledBack,
      backup: stored.backup,
      heldFor: stored.heldFor,
    }),
    job: stored.job,
    shownState: stored.shown,
  });
}

function mapServiceToStored({
  intent,
  run,
  gate,
  backoff,
  operator,
  release,
  job,
  shownState,
}: ServiceMemory): StoredService {
  return pack<StoredService>({
    fingerprint: intent.fingerprint,
    intentMs: intent.sinceMs,
    attempt: backoff.attempt,
    restarts: backoff.restarts,
    nextStartMs: backoff.nextStartMs,
    lastExit: run.lastExit,
    exitMs: run.lastExitMs,
    run: run.newest,
    seen: run.lastSeen,
    healthy: run.lastHealthy,
    took: run.startTook,
    stopping: run.stopping,
    waiting: gate.waiting && mapWaitingToStored(gate.waiting),
    ungated: gate.startedWithout,
    failure: backoff.failure,
    release: release.lastGood,
    rollout: release.rollout,
    rolledBack: release.rolledBack,
    stoppedBy: operator.stoppedBy,
    emptyBy: operator.emptyBy,
    startAsked: operator.startAsked,
    applied: run.byEarlierVersion,
    own: run.ownVolumes,
    backup: release.backup,
    heldFor: release.heldFor,
    restartAsked: operator.restartAsked,
    job,
    repeated: backoff.repeated,
    later: run.byLaterVersion,
    shown: shownState,
  });
}

function mapWaitingFromStored({ met, ...rest }: Field<StoredService, "waiting">): Waiting {
  return met === undefined ? rest : { ...rest, healthySeen: met };
}

function mapWaitingToStored({ healthySeen, ...rest }: Waiting): Field<StoredService, "waiting"> {
  return healthySeen === undefined ? rest : { ...rest, met: healthySeen };
}
