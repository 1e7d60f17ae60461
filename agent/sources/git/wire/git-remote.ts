// One branch of one repository on a Git server: asks for its tip with one small request, and for its pack. Token and CA are
// read anew for every request, so that both can be changed while the agent runs. Used by the poll and by the child.

import type { WholeAnswer } from "../../../http/exchange.ts";
import { Origin } from "../../../http/origin.ts";
import type { GitLocation, TagRef } from "../poll/git-exchange.ts";
import { brokenAnswer, GitFailure } from "./git-failure.ts";
import { askGit, type GitAccess, type GitQuestion } from "./git-http.ts";
import { type Advertisement, encodePacket, parseAdvertisement, parseLsRefs } from "./git-packets.ts";

/** Where a branch stands. */
export interface GitTip {
  id: string;
  /** What people should know although all went well. */
  notes: readonly string[];
  /** The tags that were asked for. */
  tags: readonly TagRef[];
}

/** What bounds one request. */
export interface RequestLimits {
  deadlineMs: number;
  /** The whole time that the deadline is the rest of: people are told this. */
  ofMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** What is wanted, and who takes its pack. */
export interface PackWish extends RequestLimits {
  /** Objects that a ref names; undefined for the branch's newest commit. */
  wants: readonly string[] | undefined;
  /** How many commits of the history, counted from what is wanted; undefined where no commit is. */
  depth: number | undefined;
  /** A commit whose objects are there already. */
  have: string | undefined;
  /** What of the objects behind it is left out, in Git's words; for servers that can. */
  filter?: string | undefined;
  limitBytes: number;
  sink: (piece: Buffer) => Promise<void>;
}

const SERVICE = "git-upload-pack";
const TAGS = "refs/tags/";
/** What a server of protocol 0 and 2 alike is made to say of the commit behind a tag. */
const PEELED = "^{}";
const POST = {
  headers: { "content-type": `application/x-${SERVICE}-request`, accept: `application/x-${SERVICE}-result` },
  expect: `application/x-${SERVICE}-result`,
};
/** How long a request that asks for no pack may take at most. */
const SMALL_MS = 10_000;
/** A server of protocol 0 lists every ref it has, and a forge has one for each pull request. */
const REFS = { limitBytes: 16 * 1024 ** 2, limitOf: "the list of refs" };

const LIMIT_HINT = "raise source.git.max_size, or take out of the repository what is so large";

type ListLimits = RequestLimits & { tagPrefix?: string | undefined };

interface Discovery {
  advertisement: Advertisement;
  /** The repository's URL as the server has it. */
  base: URL;
}

/** A branch on a server. */
export class GitRemote {
  readonly #location: GitLocation;
  readonly #url: URL;
  readonly #origin: Origin;
  /** Known from an earlier answer: then the first request is saved. */
  #speaksV2 = false;
  /** What the server said of itself, for whoever fetches: a child asks once. */
  #discovered: Discovery | undefined;

  constructor(location: GitLocation) {
    this.#location = location;
    this.#url = new URL(location.url.replace(/\/+$/, ""));
    this.#origin = new Origin(this.#url, location);
  }

  /** Asks where the branch stands, and for the tags below a prefix such as `orca/`. Throws a `GitFailure`. */
  async readTip({ tagPrefix, ...limits }: RequestLimits & { tagPrefix?: string | undefined }): Promise<GitTip> {
    const access = await this.#openAccess(limits);
    const spokeV2 = this.#speaksV2;
    this.#speaksV2 = false;
    const { advertisement, base } = spokeV2
      ? await this.#listRefs(this.#url, { ...limits, tagPrefix }, access)
      : await this.#discoverRefs({ ...limits, tagPrefix }, access);
    this.#speaksV2 = advertisement.version === 2 && base.href === this.#url.href;
    const moved = `${this.#url.href} redirects to ${base.href}: the repository was renamed; write its new URL into source.git.url`;
    const tags = tagPrefix === undefined ? [] : selectTags(advertisement.refs, tagPrefix);
    return { id: this.#selectTip(advertisement), notes: base.href === this.#url.href ? [] : [moved], tags };
  }

  /** Asks for a pack; answers the id of what is wanted first. Throws a `GitFailure`. */
  async fetchPack({ wants, have, depth, filter, limitBytes, sink, ...limits }: PackWish): Promise<string> {
    const access = await this.#openAccess(limits);
    const small = shortenDeadline(limits);
    this.#discovered ??= await this.#discover(small, access);
    const { advertisement, base } = this.#discovered;
    const { version, capabilities } = advertisement;
    const named = wants ?? [this.#selectTip(await this.#readRefs(this.#discovered, small, access))];
    const [first = ""] = named;
    const build = version === 0 ? buildFetchV0 : buildFetchV2;
    const body = Buffer.from(build({ wants: named, have, depth, filter }, capabilities));
    const url = appendPath(base, SERVICE);
    const limitOf = `the pack of ${this.#location.branch}`;
    const headers = version === 0 ? POST.headers : { ...POST.headers, "git-protocol": "version=2" };
    await askGit({ url, body, ...POST, headers, ...limits, limitBytes, limitOf, limitHint: LIMIT_HINT, sink }, access);
    return first;
  }

  /** True where the server leaves out of a pack what it is told to, and gives any object by its id. */
  async canFilter(limits: RequestLimits): Promise<boolean> {
    const small = shortenDeadline(limits);
    this.#discovered ??= await this.#discover(small, await this.#openAccess(limits));
    const { version, capabilities } = this.#discovered.advertisement;
    return version === 2 && capabilities.some((word) => /^fetch=.*\bfilter\b/.test(word));
  }

  async #readRefs(
    { advertisement, base }: Discovery,
    limits: RequestLimits,
    access: GitAccess,
  ): Promise<Advertisement> {
    return advertisement.version === 0 ? advertisement : (await this.#listRefs(base, limits, access)).advertisement;
  }

  async #discoverRefs(limits: ListLimits, access: GitAccess): Promise<Discovery> {
    const found = await this.#discover(limits, access);
    return found.advertisement.version === 0 ? found : this.#listRefs(found.base, limits, access);
  }

  async #discover(limits: RequestLimits, access: GitAccess): Promise<Discovery> {
    const url = appendPath(this.#url, `info/refs?service=${SERVICE}`);
    const expect = `application/x-${SERVICE}-advertisement`;
    const answer = await askGit({ url, headers: { "git-protocol": "version=2" }, expect, ...limits, ...REFS }, access);
    return { advertisement: parseAdvertisement(answer.content), base: findBase(answer) };
  }

  async #listRefs(base: URL, { tagPrefix, ...limits }: ListLimits, access: GitAccess): Promise<Discovery> {
    const tags = tagPrefix === undefined ? [] : [`${TAGS}${tagPrefix}`];
    const wanted = ["HEAD", `refs/heads/${this.#location.branch}`, ...tags].map((name) => `ref-prefix ${name}\n`);
    const peel = tagPrefix === undefined ? [] : ["peel\n"];
    const body = Buffer.from(buildCommand("ls-refs", [...peel, "symrefs\n", ...wanted]));
    const headers = { ...POST.headers, "git-protocol": "version=2" };
    const question: GitQuestion = { url: appendPath(base, SERVICE), body, ...POST, headers, ...limits, ...REFS };
    const answer = await askGit(question, access);
    return { advertisement: parseLsRefs(answer.content), base: findBase(answer) };
  }

  #selectTip({ refs, head }: Advertisement): string {
    const { branch } = this.#location;
    const id = refs.get(`refs/heads/${branch}`);
    if (id !== undefined) return id;
    throw new GitFailure({
      code: "branch-missing",
      branch,
      empty: refs.size === 0,
      head: head?.replace("refs/heads/", ""),
    });
  }

  async #openAccess({ signal }: RequestLimits): Promise<GitAccess> {
    const { tokenFile, caFile } = this.#location;
    const opened = await this.#origin.open().catch(refuseFile);
    return { ...opened, signal, host: this.#url.host, tokenFile, caFile };
  }
}

function refuseFile(error: Error): never {
  throw new GitFailure({ code: "said", message: error.message }, { cause: error });
}

function appendPath(base: URL, path: string): URL {
  return new URL(`${base.href.replace(/\/+$/, "")}/${path}`);
}

/** The repository's URL behind the URL that answered. */
function findBase({ url }: WholeAnswer): URL {
  return new URL(url.href.replace(/\/(info\/refs\?.*|git-upload-pack)$/, ""));
}

/** A command of protocol 2. */
function buildCommand(command: string, parameters: readonly string[]): string {
  return `${encodePacket(`command=${command}\n`)}${encodePacket("agent=git/orca\n")}0001${parameters.map(encodePacket).join("")}0000`;
}

interface FetchWords {
  wants: readonly string[];
  have: string | undefined;
  depth: number | undefined;
  filter: string | undefined;
}

function shortenDeadline<T extends RequestLimits>(limits: T): T {
  const { deadlineMs, ofMs = deadlineMs } = limits;
  return { ...limits, deadlineMs: Math.min(deadlineMs, SMALL_MS), ofMs: Math.min(ofMs, SMALL_MS) };
}

/**
 * No more of the history than is asked for, as a thin pack: without that a server sends every file again for each commit,
 * since a commit at depth 1 has no parent whose files it could leave out (seen: 2.8 MB in place of 1 KB).
 */
function buildFetchV2({ wants, have, depth, filter }: FetchWords, capabilities: readonly string[]): string {
  if (!capabilities.some((word) => /^fetch=.*\bshallow\b/.test(word))) refuseShallow();
  const known = have === undefined ? [] : [`shallow ${have}\n`];
  const haves = have === undefined ? [] : [`have ${have}\n`];
  const wanted = wants.map((id) => `want ${id}\n`);
  // Files that are fetched by themselves may lean on nothing: what is at hand of their directory is not known to the server.
  const history = depth === undefined ? [] : ["thin-pack\n", ...known, `deepen ${depth}\n`];
  const filters = filter === undefined ? [] : [`filter ${filter}\n`];
  const wishes = ["no-progress\n", "ofs-delta\n", ...history, ...filters, ...wanted];
  return buildCommand("fetch", [...wishes, ...haves, "done\n"]);
}

/** Nothing is left out here: how a server of this protocol is asked for files by themselves is not worth its code. */
function buildFetchV0({ wants, have, depth = 1 }: FetchWords, capabilities: readonly string[]): string {
  if (!capabilities.includes("shallow") || !capabilities.includes("side-band-64k")) refuseShallow();
  const chosen = ["side-band-64k", "thin-pack", "ofs-delta", "no-progress"].filter((word) =>
    capabilities.includes(word),
  );
  const [first, ...more] = wants;
  const wanted = [`want ${first} ${chosen.join(" ")} agent=git/orca\n`, ...more.map((id) => `want ${id}\n`)];
  const known = have === undefined ? "" : encodePacket(`shallow ${have}\n`);
  const haves = have === undefined ? "" : encodePacket(`have ${have}\n`);
  const words = `${wanted.map(encodePacket).join("")}${known}${encodePacket(`deepen ${depth}\n`)}`;
  return `${words}0000${haves}${encodePacket("done\n")}`;
}

function refuseShallow(): never {
  throw brokenAnswer("no-shallow");
}

/** The tags below a prefix, each with the commit behind it where it is annotated. */
function selectTags(refs: ReadonlyMap<string, string>, prefix: string): TagRef[] {
  return [...refs]
    .filter(([ref]) => ref.startsWith(`${TAGS}${prefix}`) && !ref.endsWith(PEELED))
    .map(([ref, id]) => ({ name: ref.slice(TAGS.length), id, commit: refs.get(`${ref}${PEELED}`) }));
}
