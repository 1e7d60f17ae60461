// Proves the newest base of a store with the log since, from each repository in turn, and writes into the base's record what came of it.
// Decides nothing about when; backup-keeper.ts does.

import type { RepositoryPlan, StorePlan, VerifyRun } from "../../../shared/state/backup.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import type { ChildTask } from "../ask-child.ts";
import type { ChildAnswer, JudgedBackup } from "../backup-exchange.ts";
import { addVerdict, type BackupRecord } from "../core/backup-record.ts";
import { BASE_AREA, listBases } from "../wal/core/choose-base.ts";
import { chooseProved } from "./repository-memory.ts";
import type { WorkParts } from "./store-work.ts";

/** What is proved, from where; a text is why nothing is. */
interface Proved {
  repository: RepositoryPlan;
  found: BackupRecord | string;
}

/** Proves bases of every store of a node. */
export class BaseProof {
  readonly #parts: WorkParts;
  readonly #ask: (task: ChildTask) => Promise<ChildAnswer>;

  /** @param ask has a child do it, and cleans up after one that was killed */
  constructor(parts: WorkParts, ask: (task: ChildTask) => Promise<ChildAnswer>) {
    this.#parts = parts;
    this.#ask = ask;
  }

  /** @param named another one than the newest */
  async verify(plan: StorePlan, named?: string): Promise<void> {
    const { options, memories, identity, signal } = this.#parts;
    const { clock } = options;
    const [startedMs, beganMs] = [clock.nowMs(), clock.monotonicMs()];
    if (plan.recipients.length > 0) await identity.ensure();
    const proved = await this.#find(plan, named);
    if (proved === undefined) return;
    const { repository, found } = proved;
    const { verdict, detail } = await this.#prove(plan, proved);
    if (signal.aborted) return;
    const backup = typeof found === "string" ? (named ?? "no base") : found.name;
    const run: VerifyRun = { backup, repository: repository.name, endedMs: clock.nowMs(), verdict, detail };
    memories.change(plan, (memory) => ({
      ...memory,
      baseProofAccountedMs: startedMs,
      lastBaseVerify: { ...run },
    }));
    const { service, store } = plan;
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    options.emit({ kind: "backup-judged", atMs: run.endedMs, service, store, run, tookMs });
    if (verdict !== "unknown") options.onBaseJudged?.(plan);
  }

  async #find(plan: StorePlan, named: string | undefined): Promise<Proved | undefined> {
    const { desk, memories } = this.#parts;
    const turn = chooseProved(plan, memories.recall(plan).lastBaseVerify?.repository);
    const all = named === undefined ? plan.repositories.filter((entry) => entry === turn) : plan.repositories;
    let first: Proved | undefined;
    for (const repository of all) {
      const listing = await desk.list(repository, { ...plan, area: BASE_AREA });
      const bases = "list" in listing ? listBases(listing.list.records) : [];
      const found = named === undefined ? bases[0] : bases.find(({ name }) => name === named);
      if (found !== undefined) return { repository, found };
      const why = "reason" in listing ? listing.reason : `${named ?? "a base"} is not there`;
      first ??= { repository, found: why };
    }
    return first;
  }

  /** What the record says is what counts: a verdict that could not be written is none. */
  async #prove(plan: StorePlan, { repository, found }: Proved): Promise<JudgedBackup> {
    const { desk, records, options, identity } = this.#parts;
    const place = desk.resolve(repository, plan);
    if (typeof found === "string") return { verdict: "unknown", detail: `${repository.name}: ${found}` };
    if (typeof place === "string") return { verdict: "unknown", detail: `${repository.name}: ${place}` };
    const identities = identity.secrets;
    const answer = await this.#ask({ kind: "verify", plan, record: found, repository: place, identities });
    if (answer.kind !== "judged")
      return { verdict: "unknown", detail: answer.kind === "failed" ? answer.reason : "no answer" };
    const folder = { node: options.node, service: plan.service, store: plan.store, area: BASE_AREA };
    const { damaged: _none, ...verdict } = answer.verdict;
    try {
      await records.alone(plan, (change) =>
        change({ place, folder, backup: found.name }, (now) =>
          addVerdict(now, { atMs: options.clock.nowMs(), ...verdict }),
        ),
      );
      desk.forget({ ...plan, area: BASE_AREA });
      return verdict;
    } catch (error) {
      return { verdict: "unknown", detail: `what came of it could not be noted: ${readMessage(error)}` };
    }
  }
}
