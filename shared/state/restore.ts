// A restore into place, as it is kept, carried out by backup/ and shown by serve/ and the command line. Types, and what follows from one.

/** How far a restore has come; each is written down before its work begins. */
type RestoreStage =
  /** It was asked for; nothing is made yet. */
  | "asked"
  /** The new volume is being filled; it is thrown away where that is cut off. */
  | "filling"
  /** The service gets the new volume, and is waited for. */
  | "switching"
  /** The service was not healthy with it, and gets the one before. */
  | "going-back"
  | "ended";

/** How it ended. */
export interface RestoreOutcome {
  kind: "restored" | "failed" | "went-back";
  detail: string;
}

/** The volume that a person says a service has its data in; `unproven` takes one that nothing here knows to be whole. */
export interface VolumeChoice {
  service: string;
  generation: string;
  unproven?: boolean;
}

/** A volume that gets another generation: the one that the manifest names, the one that was in force, and the new one. */
export interface VolumeSwitch {
  volume: string;
  from: string;
  to: string;
}

/** A moment that the log of a server is replayed to, and which log that is. */
export interface RestoreMoment {
  atMs: number;
  systemId: string;
  timeline: number;
}

/** One restore. */
export interface RestoreRecord extends VolumeSwitch {
  service: string;
  store: string;
  backup: string;
  /** When reading the source of that backup began. */
  backupMs: number;
  /** Of a base: up to when the log since is replayed. */
  moment?: RestoreMoment | undefined;
  /** To which commit that was. */
  replayed?: string | undefined;
  /** Of a store that lies in several volumes, the others. */
  also?: readonly VolumeSwitch[] | undefined;
  /** The image that made the backup; undefined of an earlier version's record. */
  image?: string | undefined;
  /** Who asked for it. */
  uid: number;
  stage: RestoreStage;
  startedMs: number;
  endedMs?: number | undefined;
  /** How often filling has begun: an agent that was killed begins anew. */
  tries: number;
  outcome?: RestoreOutcome | undefined;
}

/** How far the work of a stage is. */
export interface RestoreProgress {
  /** What is done now, in a few words. */
  doing: string;
  doneBytes: number;
  totalBytes: number;
  sinceMs: number;
}

/** A restore as people see it. */
export interface RestoreStatus extends RestoreRecord {
  progress?: RestoreProgress | undefined;
  /** What it waits for. */
  waitsFor?: string | undefined;
}

/** A volume that would get another generation, and where the service has its data in it. */
export interface PlannedVolume extends VolumeSwitch {
  target: string;
}

/** What a restore would do, with every name and size. */
export interface RestorePlan extends PlannedVolume {
  service: string;
  store: string;
  backup: string;
  backupMs: number;
  verified: boolean;
  /** Of a base: up to when the log since is replayed. */
  moment?: RestoreMoment | undefined;
  storedBytes: number;
  /** Of a store that lies in several volumes, the others. */
  also: readonly PlannedVolume[];
  /** The service's, of which the volume is filled. */
  image: string;
  /** What the new volume is thought to take, and what is free where the engine keeps volumes; undefined where nobody can say. */
  needBytes: number;
  freeBytes: number | undefined;
  memoryBytes: number;
  /** What is done, one line each. */
  steps: readonly string[];
}

/** Which backup is restored, of which store. */
export interface RestoreOrder {
  service: string;
  store: string;
  /** A backup's own name; also one that is not verified. */
  backup?: string | undefined;
  /** The newest one that is not after this moment. */
  atMs?: number | undefined;
}

/** Every volume that a restore gives another generation. */
export function listSwitches({
  volume,
  from,
  to,
  also = [],
}: VolumeSwitch & { also?: readonly VolumeSwitch[] | undefined }): VolumeSwitch[] {
  return [{ volume, from, to }, ...also];
}
