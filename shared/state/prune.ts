// What a prune may take from a node's engine, and why it leaves the rest: chosen by prune/core, carried out by prune/, shown by serve/.
// Types only. There is no word for a volume here.

import type { OwnContainerId } from "./identity.ts";

/** An image of this host. */
export interface PruneImage {
  id: string;
  /** Its names with a tag, as the engine writes them; one that has none may still be known by a digest. */
  tags: readonly string[];
  /** The digests of registries that lead to it. */
  digests: readonly string[];
  /** What removing it would free at least. */
  freesBytes: number;
  /** Somebody has labelled it `orca.keep`. */
  pinned: boolean;
}

/** A container of this host, whoever made it. */
export interface PruneContainer {
  id: string;
  name: string;
  imageId: string;
  status: "created" | "running" | "paused" | "restarting" | "exited" | "removing" | "dead";
  /** `own`: a service's of this node; `job`: a backup's or a check's; `peer`: another node's of Orca; `foreign`: somebody else's. */
  owner: { kind: "own"; id: OwnContainerId; service: string; specHash: string } | { kind: "job" | "peer" | "foreign" };
  /** When it ended, or was made where it never ran; undefined while it runs, or where nobody knows. */
  stoppedMs: number | undefined;
  /** It has a volume without a name, which nobody would find again. */
  hasUnnamedData: boolean;
  /** Somebody has labelled it `orca.keep`. */
  pinned: boolean;
}

/** Everything of the engine that a prune looks at. */
export interface PruneInventory {
  images: readonly PruneImage[];
  containers: readonly PruneContainer[];
}

/** Who needs an image that no container has. */
export type ImageNeed = "manifest" | "held-change" | "rollback" | "backup";

/** What the node needs, by the word of everybody who may. */
export interface PruneNeeds {
  /** Image id → who needs it. */
  images: ReadonlyMap<string, ImageNeed>;
  /** Service that is known here → the specs that it runs or goes back to. */
  services: ReadonlyMap<string, ReadonlySet<string>>;
}

/** What is remembered of an image: since when nobody is seen to use it, and under which names services here did. */
export interface ImageMemory {
  /** When it was first seen idle; while it is in use, when that was last seen. */
  sinceMs: number;
  idle: boolean;
  /** A service, job or backup of this node has used it. */
  used: boolean;
  /** The tags that it was used by. */
  tags: readonly string[];
}

/** One thing that goes. */
export type PruneItem =
  | { kind: "container"; id: OwnContainerId; name: string; service: string }
  | { kind: "image"; id: string; tags: readonly string[]; digests: readonly string[]; freesBytes: number }
  /** What the builder has not used for so long; the engine alone knows what that is. */
  | { kind: "build-cache"; unusedMs: number };

/** Why something stays. */
export type KeepReason =
  | { code: "needed"; by: ImageNeed }
  | { code: "has-container"; container: string }
  | { code: "not-stopped" }
  | { code: "of-service"; service: string }
  | { code: "foreign" }
  | { code: "job" }
  | { code: "other-node" }
  | { code: "pinned" }
  | { code: "unnamed-data" }
  | { code: "other-name"; name: string }
  | { code: "young"; forMs: number };

/** One thing that stays. */
export interface KeptItem {
  kind: "container" | "image";
  id: string;
  name: string;
  reason: KeepReason;
}

/** What a prune would do. */
export interface PruneChoice {
  remove: readonly PruneItem[];
  keep: readonly KeptItem[];
}

/** Why a prune runs. */
export type PruneTrigger = "schedule" | "catch-up" | "low-disk" | "asked";

/** One thing that went. */
export interface PrunedItem {
  kind: PruneItem["kind"];
  name: string;
  freedBytes: number;
}

/** What came of a prune. */
export interface PruneRun {
  trigger: PruneTrigger;
  startedMs: number;
  endedMs: number;
  removed: readonly PrunedItem[];
  /** What the engine did not let go, or why it ended before its end; empty where all went as chosen. */
  troubles: readonly string[];
}
