// What the agent and its short-lived fetching child say to each other: a request as one line of JSON on stdin, an answer
// with lengths on stdout. No token passes here: the child reads the token's file itself.

import type { FileFault, FileFaults } from "../../../../shared/manifest/file-fault.ts";
import type { SnapshotObjects } from "../../../../shared/state/in-force.ts";
import type { Approvals, AwaitedPeer, CommitInfo, Snapshot } from "../../../../shared/state/snapshot.ts";
import type { TrustedKey } from "../../../../shared/config/trusted-key.ts";
import type { SourceFault } from "../../../../shared/state/hold.ts";
import { canDescribeFault } from "../../../../shared/text/words/source-words.ts";
import { GitFailure } from "../wire/git-failure.ts";

/** Where a branch is, and how its server is reached. */
export interface GitLocation {
  url: string;
  branch: string;
  tokenFile: string | undefined;
  caFile: string | undefined;
}

/** The inputs in force, from where history is judged. */
export interface BaseInputs {
  revision: string;
  objects: SnapshotObjects;
  fleet: string | undefined;
  /** Nodes whose routes are rendered here. */
  routed: readonly string[];
}

/** A tag as the server lists it. */
export interface TagRef {
  /** Without `refs/tags/`. */
  name: string;
  id: string;
  /** The commit behind an annotated tag; undefined for a lightweight one. */
  commit: string | undefined;
}

/** What the child is asked to do. */
export interface FetchRequest {
  location: GitLocation;
  /** The directory in the repository that holds `orca/`, or `orca/` itself; empty for the root. */
  path: string;
  node: string;
  /** The child's own directory; nothing else is written. */
  directory: string;
  /** The commit that the branch was seen at. */
  tip: string;
  deadlineMs: number;
  /** The largest pack that is taken. */
  limitBytes: number;
  /** What is in force; left out at a first installation. */
  base?: BaseInputs | undefined;
  /** The keys whose signatures count; left out where none are asked for. */
  keys?: readonly TrustedKey[] | undefined;
  /** Tags that may approve this node's inputs. */
  tags?: readonly TagRef[] | undefined;
}

/** What is found of a commit besides the inputs in it. */
interface Findings {
  /** What people should know although all went well. */
  notes: readonly string[];
  /** Set where changes to this node wait for approval. */
  approvals?: Approvals;
}

/** What the child read. */
export interface FetchResult extends Findings {
  snapshot: Snapshot;
  /** True when the branch is known to have been rewritten since it was last fetched. */
  rewritten: boolean;
}

interface AnswerHead extends Partial<Findings> {
  kind: "read" | "failed";
  /** With `failed`: what was wrong, and in words for a version that does not know its code: files are replaced before an agent is. */
  fault?: SourceFault;
  reason?: string;
  lasting?: boolean;
  distrusted?: boolean;
  retryAfterMs?: number;
  /** With `read`. */
  revision?: string;
  commit?: CommitInfo;
  objects?: SnapshotObjects;
  awaited?: AwaitedPeer;
  shown?: string;
  rewritten?: boolean;
  /** Bytes of fleet.toml, which come first; null where there is none. */
  fleet?: number | null;
  /** `[node, service, bytes]` in the order of their content. */
  manifests?: [node: string, service: string, sizeBytes: number][];
  files?: [path: string, sizeBytes: number][];
  faults?: NodeFaults;
}

/** The node's own files that gave nothing, and why. */
interface NodeFaults {
  manifests: readonly (readonly [service: string, fault: FileFault])[];
  files: readonly (readonly [path: string, fault: FileFault])[];
}

const MAGIC = "orcagit1";

/** What was read, before it is encoded. */
export interface ReadParts extends Findings {
  revision: string;
  commit: CommitInfo;
  objects: SnapshotObjects;
  awaited?: AwaitedPeer | undefined;
  /** How messages name the directory that holds manifests/: `orca/`, or empty. */
  shown: string;
  rewritten: boolean;
  fleet: Uint8Array | undefined;
  manifests: readonly { node: string; service: string; content: Uint8Array }[];
  files: readonly { path: string; content: Uint8Array }[];
  faults?: NodeFaults;
}

/** Encodes what was read. */
export function encodeRead(parts: ReadParts): Buffer {
  const head: AnswerHead = {
    kind: "read",
    revision: parts.revision,
    commit: parts.commit,
    objects: parts.objects,
    notes: parts.notes,
    ...(parts.awaited === undefined ? {} : { awaited: parts.awaited }),
    ...(parts.approvals === undefined ? {} : { approvals: parts.approvals }),
    shown: parts.shown,
    rewritten: parts.rewritten,
    fleet: parts.fleet?.length ?? null,
    manifests: parts.manifests.map(({ node, service, content }) => [node, service, content.length]),
    files: parts.files.map(({ path, content }) => [path, content.length]),
    ...(parts.faults === undefined ? {} : { faults: parts.faults }),
  };
  const contents = [...parts.manifests, ...parts.files].map(({ content }) => content);
  return encode(head, parts.fleet === undefined ? contents : [parts.fleet, ...contents]);
}

/** Encodes a failure. */
export function encodeFailure(failure: GitFailure): Buffer {
  const { fault, message: reason, lasting, distrusted, retryAfterMs } = failure;
  return encode(
    { kind: "failed", fault, reason, lasting, distrusted, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
    [],
  );
}

function encode(head: AnswerHead, contents: readonly Uint8Array[]): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(text.length, 0);
  sizes.writeUInt32BE(
    contents.reduce((sum, content) => sum + content.length, 0),
    4,
  );
  return Buffer.concat([Buffer.from(MAGIC), sizes, text, ...contents]);
}

/** Decodes an answer; throws the failure that it holds, or one that says that it is not whole. */
export function decodeAnswer(answer: Buffer, node: string): FetchResult {
  try {
    return decode(answer, node);
  } catch (error) {
    if (error instanceof GitFailure) throw error;
    return failIncomplete(error);
  }
}

function decode(answer: Buffer, node: string): FetchResult {
  const { head, contents } = takeApart(answer);
  if (head.kind === "failed") throw decodeFailure(head);
  const cursor = new Cursor(contents);
  const { revision = "", commit, objects, awaited, shown = "", rewritten = false, fleet = null } = head;
  const fleetText = fleet === null ? undefined : cursor.text(fleet);
  const manifests = new Map<string, [string, string][]>([[node, []]]);
  for (const [place, service, size] of head.manifests ?? []) {
    const texts = manifests.get(place) ?? [];
    manifests.set(place, texts);
    texts.push([service, cursor.text(size)]);
  }
  const files = (head.files ?? []).map(([path, size]) => [path, cursor.bytes(size)] as const);
  cursor.end();
  return {
    rewritten,
    notes: head.notes ?? [],
    ...(head.approvals === undefined ? {} : { approvals: head.approvals }),
    snapshot: {
      revision,
      ...(commit === undefined ? {} : { commit }),
      ...(objects === undefined ? {} : { objects }),
      ...(awaited === undefined ? {} : { awaited }),
      fleet: fleetText,
      manifests: Object.fromEntries([...manifests].map(([place, texts]) => [place, Object.fromEntries(texts)])),
      files: Object.fromEntries(files),
      ...(head.faults === undefined ? {} : { faults: decodeFaults(head.faults, node) }),
      describeFile: (place, service) => `${shown}manifests/${place}/${service}.toml`,
      fleetFile: `${shown}fleet.toml`,
    },
  };
}

function decodeFailure(head: AnswerHead): GitFailure {
  const { fault, reason = "it says no reason", lasting = false, distrusted = false, retryAfterMs } = head;
  return new GitFailure(canDescribeFault(fault) ? fault : { code: "said", message: reason }, {
    lasting,
    distrusted,
    retryAfterMs,
  });
}

function decodeFaults({ manifests, files }: NodeFaults, node: string): FileFaults {
  return { manifests: { [node]: Object.fromEntries(manifests) }, files: Object.fromEntries(files) };
}

function takeApart(answer: Buffer): { head: AnswerHead; contents: Buffer } {
  const start = MAGIC.length + 8;
  if (answer.length < start || answer.toString("latin1", 0, MAGIC.length) !== MAGIC) failIncomplete();
  const headEnd = start + answer.readUInt32BE(MAGIC.length);
  if (answer.length !== headEnd + answer.readUInt32BE(MAGIC.length + 4)) failIncomplete();
  return {
    head: JSON.parse(answer.toString("utf8", start, headEnd)) as AnswerHead,
    contents: answer.subarray(headEnd),
  };
}

/** Takes contents one after the other. */
class Cursor {
  readonly #contents: Buffer;
  #at = 0;

  constructor(contents: Buffer) {
    this.#contents = contents;
  }

  text(sizeBytes: number): string {
    return this.#take(sizeBytes).toString("utf8");
  }

  /** A copy, so that the whole answer need not be kept for one file. */
  bytes(sizeBytes: number): Uint8Array {
    return new Uint8Array(this.#take(sizeBytes));
  }

  end(): void {
    if (this.#at !== this.#contents.length) failIncomplete();
  }

  #take(sizeBytes: number): Buffer {
    const end = this.#at + sizeBytes;
    if (end > this.#contents.length) failIncomplete();
    const part = this.#contents.subarray(this.#at, end);
    this.#at = end;
    return part;
  }
}

function failIncomplete(cause?: unknown): never {
  throw new GitFailure({ code: "child-answer-cut" }, { cause });
}
