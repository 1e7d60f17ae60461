// The short-lived child behind `orca git-fetch`: fetches a branch's newest commit and reads a node's inputs from it. The
// agent starts it and nobody else; a request on stdin, an answer on stdout. Ends when its stdin does.

import { join } from "node:path";

import { LARGEST_FILE_BYTES } from "../../../../shared/manifest/file-fault.ts";
import { encodeFailure, encodeRead, type FetchRequest, type ReadParts } from "../poll/git-exchange.ts";
import { GitFailure } from "../wire/git-failure.ts";
import { parseCommit } from "./git-objects.ts";
import { type JudgedStore, judgeCommit } from "../trust/git-judge.ts";
import { GitRemote } from "../wire/git-remote.ts";
import { RoutedCache } from "./git-routed-cache.ts";
import { GitStore } from "./git-store.ts";
import { PartialObjects } from "./git-partial.ts";
import { readTree } from "./git-tree.ts";
import { readMessage } from "../../../../shared/text/read-message.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export async function runFetch(): Promise<never> {
  const answer = await answerRequest(await readRequest(process.stdin));
  await new Promise<void>((resolve) => process.stdout.write(answer, () => resolve()));
  process.exit(0);
}

/** Reads one line; what ends before that line does has no parent any more. */
async function readRequest(input: AsyncIterable<Buffer>): Promise<FetchRequest> {
  const iterator = input[Symbol.asyncIterator]();
  const pieces: Buffer[] = [];
  while (pieces.at(-1)?.includes("\n") !== true) {
    const { done, value } = await iterator.next();
    if (done === true) throw new Error("fetch: there is no request on stdin; the agent asks this, not people");
    pieces.push(value);
  }
  void waitForEnd(iterator);
  return JSON.parse(Buffer.concat(pieces).toString("utf8")) as FetchRequest;
}

/** The agent is gone when stdin ends: nobody waits for the answer. */
async function waitForEnd(iterator: AsyncIterator<Buffer>): Promise<void> {
  for (let ended = false; !ended;) {
    ended = await iterator.next().then(
      ({ done }) => done === true,
      () => true,
    );
  }
  process.exit(1);
}

/** Fetches, reads and judges once. Answers what `decodeAnswer` takes, a failure too. */
export async function answerRequest(request: FetchRequest): Promise<Buffer> {
  try {
    return encodeRead(await fetchAndRead(request));
  } catch (error) {
    if (error instanceof GitFailure) return encodeFailure(error);
    return encodeFailure(new GitFailure({ code: "said", message: `fetch: ${readMessage(error)}` }));
  }
}

async function fetchAndRead(request: FetchRequest): Promise<ReadParts> {
  const { directory, location, limitBytes } = request;
  const place = join(directory, "store");
  const remote = new Remote(request);
  const store = await GitStore.open(place, location);
  const partial = await remote.git.canFilter(remote.limits);
  // A server that leaves nothing out takes it that what was fetched is all there.
  const isUsable = store !== undefined && (partial || !store.isPartial) && !(await store.isWorn(limitBytes));
  if (isUsable) {
    store.isPartial = partial;
    try {
      const { commit, rewritten } = await fetchNewest(store, remote, request.tip);
      return { ...(await readCommit({ store, remote, request }, commit)), rewritten };
    } catch (error) {
      // What the server or the repository did is told; a store that is damaged is fetched anew.
      if (error instanceof GitFailure) throw error;
    }
  }
  const fresh = await GitStore.create(join(directory, "store.new"), location, store);
  fresh.isPartial = partial;
  const { commit, rewritten } = await fetchNewest(fresh, remote, request.tip);
  await fresh.moveTo(place);
  return { ...(await readCommit({ store: fresh, remote, request }, commit)), rewritten };
}

/** The server, with one deadline for all that it is asked. */
class Remote {
  readonly git: GitRemote;
  readonly #limitBytes: number;
  readonly #ofMs: number;
  readonly #endMs: number;

  constructor({ location, limitBytes, deadlineMs }: FetchRequest) {
    this.git = new GitRemote(location);
    this.#limitBytes = limitBytes;
    this.#ofMs = deadlineMs;
    this.#endMs = performance.now() + deadlineMs;
  }

  get limits(): { deadlineMs: number; ofMs: number; limitBytes: number } {
    const deadlineMs = Math.max(1, Math.round(this.#endMs - performance.now()));
    return { deadlineMs, ofMs: this.#ofMs, limitBytes: this.#limitBytes };
  }
}

async function fetchNewest(
  store: GitStore,
  remote: Remote,
  tip: string,
): Promise<{ commit: string; rewritten: boolean }> {
  if (store.tip === tip) return { commit: tip, rewritten: false };
  const commit = await store.fetch(remote.git, remote.limits);
  const { parents } = parseCommit(await store.read(commit, "commit"));
  return { commit, rewritten: await store.finish(commit, parents) };
}

/** Reads a commit's inputs, and answers them where it may be followed. */
async function readCommit(
  { store, remote, request }: { store: GitStore; remote: Remote; request: FetchRequest },
  commit: string,
): Promise<Omit<ReadParts, "rewritten">> {
  const objects = store.isPartial ? new PartialObjects(store, (ids) => fetchFiles(store, remote, ids)) : store;
  const deepStore: JudgedStore = {
    read: (id, type) => objects.read(id, type),
    has: (id) => store.has(id),
    deepen: (depth) => store.deepen(remote.git, depth, remote.limits),
    fetchObjects: (ids) => store.fetchObjects(remote.git, ids, remote.limits),
  };
  const { directory, path, node, location } = request;
  const cache = await RoutedCache.open(directory);
  const inputs = await readTree(objects, { commit, path, node, branch: location.branch }, cache);
  // A disk that takes no cache costs time at the next fetch, and nothing else.
  await cache.save().catch(() => undefined);
  const judged = await judgeCommit(deepStore, commit, request, listRouted(inputs, request));
  const { notes, mayInstruct, signer, approvals, awaited, peers } = judged;
  const trailers = mayInstruct ? inputs.commit.trailers : [];
  return {
    ...inputs,
    objects: { ...inputs.objects, ...(peers && { peers }) },
    commit: { ...inputs.commit, trailers, ...(signer === undefined ? {} : { signer }) },
    notes,
    awaited,
    ...(approvals && { approvals }),
  };
}

function fetchFiles(store: GitStore, { git, limits }: Remote, ids: readonly string[]): Promise<void> {
  return store.fetchFiles(git, ids, { ...limits, largestBytes: LARGEST_FILE_BYTES });
}

/** The nodes whose routes this one's templates render, or rendered before: whoever changes those changes what runs here. */
function listRouted({ manifests }: Pick<ReadParts, "manifests">, { node, base }: FetchRequest): string[] {
  const says = (content: Uint8Array, word: string): boolean => Buffer.from(content).includes(word);
  if (!manifests.some((entry) => entry.node === node && says(entry.content, "template"))) return [];
  const now = manifests.filter((entry) => entry.node !== node && says(entry.content, "routes"));
  return [...new Set([...now.map((entry) => entry.node), ...(base?.routed ?? [])])];
}
