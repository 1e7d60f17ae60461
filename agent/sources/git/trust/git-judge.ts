// What is judged of a branch's newest commit before its inputs are given to the agent: signatures, approval, and since when the node that
// is waited for has had its part of it. Runs in the child that fetches; what holds a change is for desired/ to say.

import type { SnapshotObjects } from "../../../../shared/state/in-force.ts";
import { readToml } from "../../../../shared/text/read-toml.ts";
import type { Approvals, AwaitedPeer } from "../../../../shared/state/snapshot.ts";
import { findApproval, selectTags } from "./git-approval.ts";
import { isSameInputs } from "../poll/git-basis.ts";
import type { BaseInputs, FetchRequest } from "../poll/git-exchange.ts";
import { type DeepStore, History, type PastCommit } from "../store/git-history.ts";
import { SignerFinder } from "./git-signer.ts";
import { TrustJudge } from "./git-trust.ts";

/** How far back the awaited node's part is followed. */
const MOST_AWAITED = 100;

/** A store that is judged from. */
export interface JudgedStore extends DeepStore {
  fetchObjects(ids: readonly string[]): Promise<void>;
}

/** What was found. */
export interface Judgement {
  notes: string[];
  /** False where keys are listed and none that is allowed for this node has signed the newest commit. */
  mayInstruct: boolean;
  /** The key that has signed the newest change; undefined where none is asked for, or nothing has changed. */
  signer: string | undefined;
  approvals: Approvals | undefined;
  awaited: AwaitedPeer | undefined;
  /** The directories of other nodes that were judged too. */
  peers: SnapshotObjects["peers"];
}

/** Judges one commit. Throws a `GitFailure` where it is not trusted. */
export async function judgeCommit(
  store: JudgedStore,
  commit: string,
  request: FetchRequest,
  routed: readonly string[],
): Promise<Judgement> {
  const { keys, base, directory, node, path, tags } = request;
  const readText = async (id: string): Promise<string> => Buffer.from(await store.read(id, "blob")).toString("utf8");
  const signers = keys === undefined ? undefined : await SignerFinder.open(keys, directory);
  try {
    const question = { commit, path, node, routed: keys === undefined ? [] : routed };
    const first = new History(store, question);
    const tip = await readTip(first);
    const gates = readGates(await readJudgingFleet(tip, base, readText), node);
    const history = gates.after === undefined ? first : new History(store, { ...question, peer: gates.after });
    const judge = signers && new TrustJudge({ node, history, signers, base, readFleet: readText });
    const notes = (await judge?.judge()) ?? [];
    const mayInstruct = judge === undefined || !speaksToAgents(tip) || (await judge.isTipSigned());
    const isChange = !isSameInputs(tip.objects, base?.objects);
    const chosen = gates.approval && isChange ? selectTags(tags ?? [], commit) : undefined;
    if (chosen !== undefined) await store.fetchObjects(await listMissing(store, chosen));
    return {
      peers: keys === undefined ? undefined : tip.objects.peers,
      notes: mayInstruct ? notes : [...notes, IGNORED],
      mayInstruct,
      signer: judge?.signer,
      approvals: chosen && (await findApproval(store, chosen, { commit, path, node, objects: tip.objects, signers })),
      awaited: gates.after === undefined ? undefined : await findAwaited(history, gates.after, base),
    };
  } finally {
    await signers?.close();
  }
}

const IGNORED =
  "the newest commit's trailers Orca-… count for nothing: it is not signed with a key that is allowed for this node";

async function listMissing(store: JudgedStore, tags: readonly { id: string }[]): Promise<string[]> {
  const missing: string[] = [];
  for (const { id } of tags) if (!(await store.has(id))) missing.push(id);
  return missing;
}

/** fleet.toml is judged by the one in force, and where there is none by itself. */
async function readJudgingFleet(
  { objects: { fleet } }: PastCommit,
  base: BaseInputs | undefined,
  readText: (id: string) => Promise<string>,
): Promise<string | undefined> {
  if (base !== undefined) return base.fleet;
  return fleet === undefined ? undefined : readText(fleet);
}

async function readTip(history: History): Promise<PastCommit> {
  for await (const commit of history.walk()) return commit;
  throw new Error("a walk begins with the tip");
}

function speaksToAgents({ info }: PastCommit): boolean {
  return info.trailers.some(([key]) => key.toLowerCase().startsWith("orca-"));
}

/** A table of what nobody has checked. */
type Lenient<T> = Partial<Record<string, T>> | undefined;

/** What fleet.toml lets this node's changes wait for. It is read leniently: whether it is valid is judged elsewhere. */
function readGates(fleet: string | undefined, node: string): { approval: boolean; after: string | undefined } {
  const read = readToml(fleet ?? "");
  const nodes = read.ok ? (read.raw["nodes"] as Lenient<{ approval?: unknown; rollout?: Lenient<unknown> }>) : {};
  const entry = nodes?.[node];
  const after = entry?.rollout?.["after"];
  return { approval: entry?.approval === "tag", after: typeof after === "string" ? after : undefined };
}

/** The commits at which another node has had what it has now, back to the one that brought it. */
async function findAwaited(history: History, node: string, base: BaseInputs | undefined): Promise<AwaitedPeer> {
  const revisions: string[] = [];
  let newest: string | undefined;
  for await (const { id, objects } of history.walk()) {
    const inputs = `${objects.peer} ${objects.fleet}`;
    newest ??= inputs;
    if (inputs !== newest) break;
    // It had the same already when the commit in force was made: there is nothing new to wait for.
    if (id === base?.revision) return { node, revisions: [] };
    revisions.push(id);
    if (base === undefined || revisions.length >= MOST_AWAITED) break;
  }
  return { node, revisions };
}
