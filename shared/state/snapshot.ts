// The raw inputs of one revision: made by sources/, understood by desired/. Text and bytes only, nothing parsed.

import type { FileFaults } from "../manifest/file-fault.ts";
import type { RefusedTag, RolloutVerdict, UnreadSource } from "./hold.ts";
import type { InForce, SnapshotObjects } from "./in-force.ts";

/** What a commit says of itself. */
export interface CommitInfo {
  /** Name and address: `Jane Doe <jane@example.com>`. */
  author: string;
  committer: string;
  committedMs: number;
  subject: string;
  /** The lines `Key: value` at the end of its message, in order. */
  trailers: readonly (readonly [key: string, value: string])[];
  /** The trusted key that vouched for the newest change of this node in it; left out where no keys are asked for. */
  signer?: string;
}

/** Another node's part in a revision: this node waits until that one has settled on it. */
export interface AwaitedPeer {
  node: string;
  /** The revisions at which it has had the same inputs as now, newest first; empty where this is no change for it. */
  revisions: readonly string[];
}

/** Whether a tag approves a node's inputs. */
export interface Approvals {
  /** The tag that does; undefined while there is none. */
  granted: string | undefined;
  /** True where only a signed tag counts. */
  signed: boolean;
  /** Tags that look like an approval of these inputs and are none. */
  refused: readonly RefusedTag[];
}

/** What a source holds at one revision. */
export interface Snapshot {
  /** A commit, or `dir:` and 12 hex digits over the node's inputs. */
  revision: string;
  /** The commit, where the source has commits. */
  commit?: CommitInfo;
  /** The objects that are this node's inputs, where the source has objects. */
  objects?: SnapshotObjects;
  /** The node that this one's rollouts wait for, where the source knows its history. */
  awaited?: AwaitedPeer;
  /** Text of fleet.toml; undefined where there is none. */
  fleet: string | undefined;
  /** Node → service → manifest text. This node's directory is always there, others where the source has read them. */
  manifests: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Files below this node's directory that are no manifests, by relative path. */
  files: Readonly<Record<string, Uint8Array>>;
  /** Why other files of it gave nothing; left out where none did. */
  faults?: FileFaults;
  /** Where a service's manifest stands, for messages. */
  describeFile(node: string, service: string): string;
  /** Where fleet.toml stands, for messages. */
  fleetFile: string;
}

/** What reading a source gives. An error is not an empty snapshot: with `failed` the last known good stays in force. */
export type SourceReading = {
  /** True while a newer reading that was asked for is under way: its end is hinted at, whatever it finds. */
  refreshing?: boolean;
} & (
  | {
      kind: "read";
      snapshot: Snapshot;
      readMs: number;
      /** What people should know although all went well. */
      notes?: readonly string[];
      /** What the source has found of approvals of this snapshot; left out where nothing was looked for. */
      approvals?: Approvals;
      /** How the awaited node's rollout went; left out where nothing waits for it, or nothing is known yet. */
      rollout?: RolloutVerdict;
    }
  | {
      kind: "failed";
      why: UnreadSource;
      /** The newest revision was read, and its signatures do not allow it. */
      distrusted?: boolean;
      /** That revision. */
      revision?: string;
      /** When it is tried again; undefined where that waits for something else than time. */
      retryMs: number | undefined;
      /** When it was last read well, where the source remembers that longer than an agent lives. */
      readMs?: number;
    }
);

/** Where desired state comes from: a directory, or Git behind the same port. */
export interface Source {
  readonly kind: "directory" | "git";
  /** For people: the path or URL. */
  readonly location: string;
  /** Is told what is in force, at the start and whenever that changes: history is judged from there. */
  follow?(inForce: InForce | undefined): void;
  /** Reads the newest inputs; the same object as before when nothing changed. Never throws. */
  read(): Promise<SourceReading>;
  /** Begins to watch; calls back when a read may give something new. */
  watch(onHint: () => void): Promise<void>;
  /** Reads anew although no change was noticed. */
  invalidate(): void;
  close(): Promise<void>;
}
