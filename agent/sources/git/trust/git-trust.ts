// Judges whether a branch may be followed from what is in force to its tip: each first-parent commit that changes a part of
// this node's inputs needs the signature of a key that is allowed for that part. Where the commit in force is not behind
// the tip, a signature must vouch for each part that is another one now. Runs in the child that fetches.

import { describeKey } from "../../../../shared/config/trusted-key.ts";
import type { SignerFault } from "../../../../shared/state/hold.ts";
import { brokenAnswer, GitFailure } from "../wire/git-failure.ts";
import { type History, MOST_COMMITS, type PastCommit } from "../store/git-history.ts";
import type { BaseInputs } from "../poll/git-exchange.ts";
import { shorten } from "../wire/git-packets.ts";
import { describeScope, listChanged, mayChange, readFleetValues, type Scope, type ScopeValues } from "./git-scopes.ts";
import { splitCommit } from "./git-signature.ts";
import type { Signer, SignerFinder } from "./git-signer.ts";

/** What a judgement rests on. */
export interface TrustQuestion {
  node: string;
  history: History;
  signers: SignerFinder;
  /** What is in force; undefined at a first installation. */
  base: BaseInputs | undefined;
  readFleet: (id: string) => Promise<string>;
}

/** Follows one branch. */
export class TrustJudge {
  readonly #question: TrustQuestion;
  readonly #signers = new Map<string, Signer>();
  #signer: string | undefined;
  /** What fleet.toml last held: most commits leave it as it is. */
  #fleet: { id: string; values: ScopeValues } | undefined;

  constructor(question: TrustQuestion) {
    this.#question = question;
  }

  /** Judges; answers what people should know. Throws a `GitFailure` that says whose commit is not allowed, and why. */
  async judge(): Promise<string[]> {
    const { base, history } = this.#question;
    const tip = await this.#readTip();
    if (base?.revision === tip.id) return [];
    const before =
      base === undefined ? new Map<Scope, string>() : this.#buildValues(base.objects, readFleetValues(base.fleet));
    const changed = listChanged(before, await this.#readValues(tip));
    // What is as it was needs nobody's word, whatever lies between.
    if (changed.length === 0) return [];
    const commits = base === undefined ? undefined : await this.#listSince(base.revision);
    if (commits !== undefined) {
      await this.#judgeEach(commits);
      return [];
    }
    await this.#judgeParts(changed);
    if (base === undefined) return [];
    const depth = history.isWhole ? "in the branch's history" : `among its last ${MOST_COMMITS} commits`;
    return [
      `the commit in force, ${base.revision.slice(0, 12)}, is not ${depth}: each part that has changed was vouched for by a signature`,
    ];
  }

  /** The key that has signed the newest change that was judged; undefined where there was none to judge. */
  get signer(): string | undefined {
    return this.#signer;
  }

  /** True where the tip's message may speak: a key that is allowed for this node's directory has signed it. */
  async isTipSigned(): Promise<boolean> {
    const { key } = await this.#findSigner(await this.#readTip());
    return key !== undefined && mayChange(key, `directory ${this.#question.node}`);
  }

  async #readTip(): Promise<PastCommit> {
    for await (const commit of this.#question.history.walk()) return commit;
    throw brokenAnswer("no-commit");
  }

  /** The commits after one, newest first, with that one at the end; undefined where it is not behind the tip. */
  async #listSince(revision: string): Promise<PastCommit[] | undefined> {
    const commits: PastCommit[] = [];
    for await (const commit of this.#question.history.walk()) {
      commits.push(commit);
      if (commit.id === revision) return commits;
    }
    return undefined;
  }

  /** Each commit by itself, the oldest first. */
  async #judgeEach(commits: readonly PastCommit[]): Promise<void> {
    let before: ScopeValues | undefined;
    for (const commit of commits.toReversed()) {
      const after = await this.#readValues(commit);
      const changed = before === undefined ? [] : listChanged(before, after);
      before = after;
      if (changed.length === 0) continue;
      const signer = await this.#findSigner(commit);
      const refused = changed.find((scope) => signer.key === undefined || !mayChange(signer.key, scope));
      if (refused !== undefined) this.#refuseCommit(commit, refused, signer);
      if (signer.key !== undefined) this.#signer = describeKey(signer.key);
    }
  }

  /** Each part as it is at the tip, by any commit that has it so: whoever signs a commit vouches for what is in it. */
  async #judgeParts(changed: readonly Scope[]): Promise<void> {
    let open = [...changed];
    let [oldest, tipValues]: [PastCommit | undefined, ScopeValues] = [undefined, new Map()];
    for await (const commit of this.#question.history.walk()) {
      const values = await this.#readValues(commit);
      if (oldest === undefined) tipValues = values;
      const outdated = open.find((scope) => values.get(scope) !== tipValues.get(scope));
      if (outdated !== undefined && oldest !== undefined)
        this.#refuseCommit(oldest, outdated, await this.#findSigner(oldest));
      oldest = commit;
      const { key } = await this.#findSigner(commit);
      if (key !== undefined && open.some((scope) => mayChange(key, scope))) this.#signer ??= describeKey(key);
      if (key !== undefined) open = open.filter((scope) => !mayChange(key, scope));
      if (open.length === 0) return;
    }
    if (oldest !== undefined && open[0] !== undefined)
      this.#refuseCommit(oldest, open[0], await this.#findSigner(oldest));
  }

  #refuseCommit(commit: PastCommit, scope: Scope, signer: Signer): never {
    const { id, info, parents } = commit;
    const { node } = this.#question;
    const { what, needs } = describeScope(scope);
    const why: SignerFault =
      signer.key === undefined ? signer.why : { code: "key-not-allowed", key: describeKey(signer.key) };
    const author = shorten(info.author);
    const [first, merged] = [parents.length === 0, isMerge(commit, signer)];
    throw new GitFailure(
      { code: "not-trusted", commit: id, author, node, first, what, why, needs, merged },
      { lasting: true },
    );
  }

  async #findSigner(commit: PastCommit): Promise<Signer> {
    const known = this.#signers.get(commit.id) ?? (await this.#question.signers.find(splitCommit(commit.content)));
    this.#signers.set(commit.id, known);
    return known;
  }

  async #readValues({ objects }: PastCommit): Promise<ScopeValues> {
    const { fleet: id } = objects;
    if (id === undefined) return this.#buildValues(objects, new Map());
    if (this.#fleet?.id !== id) this.#fleet = { id, values: readFleetValues(await this.#question.readFleet(id)) };
    return this.#buildValues(objects, this.#fleet.values);
  }

  #buildValues({ directory, peers = {} }: BaseInputs["objects"], fleet: ScopeValues): ScopeValues {
    const values = new Map<Scope, string>(fleet);
    for (const [node, id] of Object.entries(peers)) values.set(`directory ${node}`, id);
    if (directory !== undefined) values.set(`directory ${this.#question.node}`, directory);
    return values;
  }
}

/** True where nobody that counts has signed it, and a forge seems to have made it of a pull request. */
function isMerge({ info, parents }: PastCommit, { key }: Signer): boolean {
  return key === undefined && (parents.length > 1 || info.committer !== info.author);
}
