// What is in force on a node: the inputs its containers were last made to follow. Stored by host/, judged by desired/.

import type { RotationMark } from "./rotation.ts";

/** The Git objects that are a node's inputs: the same ids are the same inputs. */
export interface SnapshotObjects {
  /** The node's directory. */
  directory: string | undefined;
  fleet: string | undefined;
  /** Other nodes' directories whose routes are rendered here, by node; known where signatures are asked for. */
  peers?: Readonly<Record<string, string>>;
}

/** One service's inputs as accepted. */
export interface AcceptedService {
  text: string;
  /** The revision it came from. */
  revision: string;
  /** Relative path → content hash of every file it mounts, for content that the store keeps. */
  files: Readonly<Record<string, string>>;
  /** Where it was before it turned up here, as `node/service`: seen, not said. */
  movedFrom?: string;
  /** Path → version of every secret it takes. */
  secrets?: Readonly<Record<string, string>>;
  rotation?: RotationMark;
}

/** The last known good inputs of a node. */
export interface InForce {
  revision: string;
  acceptedMs: number;
  fleet: string | undefined;
  /** The objects of its inputs, where they are Git's. */
  objects?: SnapshotObjects;
  /** Node → service → manifest text of those other nodes' services that this node's templates were rendered with. */
  others?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The services with volumes of other nodes, as `node/service`: 0, or when they were seen to be gone. */
  stateful?: Readonly<Record<string, number>>;
  services: Readonly<Record<string, AcceptedService>>;
}
