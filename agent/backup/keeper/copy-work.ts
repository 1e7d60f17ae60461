// What of a store's backups goes elsewhere: the last one into a repository that did not get it, and a bucket's into an empty place. Decides
// nothing about when; backup-keeper.ts does.

import type { CopyOutOrder, CopyOutRun, RepositoryPlan, StorePlan } from "../../../shared/state/backup.ts";
import { askCopy, type ChildTask } from "../ask-child.ts";
import type { ChildAnswer } from "../backup-exchange.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import type { RepositoryPlace } from "../repository/repository-place.ts";
import { chooseBackup } from "../restore/restore-choice.ts";
import { findRecord } from "./repository-desk.ts";
import { describeRun, findCopyDue, noteCopy, readRepository, setRepository } from "./repository-memory.ts";
import type { WorkParts } from "./store-work.ts";

/** Copies for every store of a node. */
export class CopyWork {
  readonly #parts: WorkParts;
  readonly #ask: (task: ChildTask) => Promise<ChildAnswer>;

  /** @param ask has a child do it, and cleans up after one that was killed */
  constructor(parts: WorkParts, ask: (task: ChildTask) => Promise<ChildAnswer>) {
    this.#parts = parts;
    this.#ask = ask;
  }

  /** Copies the last backup to a repository that did not get it, from one that has it, as it lies there. */
  async copy(plan: StorePlan): Promise<void> {
    const { options, memories, desk, records, signal } = this.#parts;
    const memory = memories.recall(plan);
    const due = findCopyDue(plan, memory);
    if (due === undefined) return;
    const { repository } = due;
    const to = desk.resolve(repository, plan);
    const source = await this.#findSource(plan, { besides: repository, sinceMs: memory.lastRun?.startedMs ?? 0 });
    const folder = { node: options.node, service: plan.service, store: plan.store };
    const answer: ChildAnswer =
      typeof to === "string"
        ? { kind: "failed", reason: to }
        : source === undefined
          ? { kind: "failed", reason: "no repository that has it can be read" }
          : await askCopy(options, signal, { folder, backup: source.record.name, from: source.place, to });
    desk.forget(plan);
    if (signal.aborted) return;
    if (answer.kind !== "copied" || source === undefined || typeof to === "string") {
      const reason = answer.kind === "failed" ? answer.reason : "no answer";
      const copies = {
        tries: (memory.repositories?.[repository.name]?.copies?.tries ?? 0) + 1,
        atMs: options.clock.nowMs(),
      };
      memories.change(plan, (now) =>
        setRepository(now, repository, { ...readRepository(now, repository), reason, copies }),
      );
      return;
    }
    const backup = source.record.name;
    // It may have been pinned while it was copied.
    await records.alone(plan, async (change) => {
      const pinnedUntilMs = (await findRecord(desk, { plan, repository: source.repository, name: backup }))
        ?.pinnedUntilMs;
      if (pinnedUntilMs !== source.record.pinnedUntilMs)
        await change({ place: to, folder, backup }, (record) => ({ ...record, pinnedUntilMs }));
    });
    memories.change(plan, (now) => noteCopy(plan, now, { repository, backup }));
  }

  /** The first repository that has the last backup. */
  async #findSource(
    plan: StorePlan,
    { besides, sinceMs }: { besides: RepositoryPlan; sinceMs: number },
  ): Promise<{ repository: RepositoryPlan; place: RepositoryPlace; record: BackupRecord } | undefined> {
    const { desk } = this.#parts;
    for (const repository of plan.repositories.filter(({ name }) => name !== besides.name)) {
      const place = desk.resolve(repository, plan);
      const listing = await desk.list(repository, plan);
      const record = "list" in listing ? listing.list.records.find(({ startedMs }) => startedMs >= sinceMs) : undefined;
      if (record !== undefined && typeof place !== "string") return { repository, place, record };
    }
    return undefined;
  }

  /** Restores a backup of a bucket into an empty place; from the first repository in the manifest's order that has it. */
  async copyOut(plan: StorePlan, order: CopyOutOrder): Promise<CopyOutRun> {
    const { options, desk, identity, still } = this.#parts;
    if (plan.recipients.length > 0) await identity.ensure();
    const reasons: string[] = [];
    for (const repository of plan.repositories) {
      const place = desk.resolve(repository, plan);
      const listing = typeof place === "string" ? { reason: place } : await desk.list(repository, plan);
      if (typeof place === "string" || "reason" in listing) {
        reasons.push(`${repository.name}: ${"reason" in listing ? listing.reason : ""}`);
        continue;
      }
      const record = chooseBackup(listing.list.records, order);
      if (typeof record === "string") {
        reasons.push(`${repository.name}: ${record}`);
        continue;
      }
      const { into } = order;
      const identities = identity.secrets;
      const container = still.find(plan);
      const task = { kind: "copy-out", plan, container, record, into, repository: place, identities } as const;
      const answer = await this.#ask(task);
      const detail = answer.kind === "copied-out" ? answer.detail : (describeRun(answer).reason ?? "no answer");
      return { backup: record.name, endedMs: options.clock.nowMs(), isDone: answer.kind === "copied-out", detail };
    }
    return { backup: order.backup ?? "", endedMs: options.clock.nowMs(), isDone: false, detail: reasons.join("; ") };
  }
}
