// What is done for one store when its time has come: a backup is made between its hooks, the newest is proved, retention is carried
// out, and what lies in the repositories is noted. Decides nothing about when; backup-keeper.ts does, one task at a time.

import type { BackupRun, RepositoryPlan, StorePlan, VerifyRun } from "../../../shared/state/backup.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { Clock } from "../../host/os/clock.ts";
import { askChild, type ChildParts, type ChildTask } from "../ask-child.ts";
import type { ChildAnswer, JudgedBackup } from "../backup-exchange.ts";
import { addVerdict, type BackupRecord, isAhead, listBad } from "../core/backup-record.ts";
import { sumStored } from "../core/size-envelope.ts";
import type { BackupList } from "../pipeline.ts";
import { findOtherMaker, findTwin } from "../core/other-maker.ts";
import { findNewestGood } from "../core/store-standing.ts";
import { sayAccept } from "./backup-notes.ts";
import type { OwnKey } from "./own-key.ts";
import type { RecordDesk } from "./record-desk.ts";
import { findRecord, type Listing, type RepositoryDesk } from "./repository-desk.ts";
import {
  addFault,
  addWarning,
  buildRetention,
  chooseProved,
  describeRun,
  isCutOff,
  judgeRun,
  nameExpectations,
  noteName,
  noteForeign,
  noteOther,
  noteRun,
  noteSetAside,
  readRepository,
  setRepository,
  withoutHooks,
} from "./repository-memory.ts";
import type { StandingStill } from "./standing-still.ts";
import type { StoreMemories } from "./store-memories.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What the keeper was made from, as far as the work needs it. */
interface WorkOptions extends ChildParts {
  clock: Clock;
  emit(event: AgentEvent): void;
  /** Names of a store's backups that a restore works with. */
  listHeld?: (plan: StorePlan) => readonly string[];
  /** Brings an image to this host; answers why it is not there. */
  fetchImage?: (image: string, signal: AbortSignal) => Promise<string | undefined>;
  /** Hears of a store of which a base and its log were judged. */
  onBaseJudged?: (plan: StorePlan) => void;
}

/** What it works with. */
export interface WorkParts {
  options: WorkOptions;
  memories: StoreMemories;
  desk: RepositoryDesk;
  records: RecordDesk;
  identity: OwnKey;
  still: StandingStill;
  /** The agent ends: what goes on is given up, and nothing more is told. */
  signal: AbortSignal;
  /** True while the wall clock is doubted: somebody has set it a short time ago. */
  isClockSet(): boolean;
}

/** What is proved, from where. */
interface Proved {
  repository: RepositoryPlan;
  listing: Listing;
  record: BackupRecord | undefined;
}

/** Does the work of every store of a node. */
export class StoreWork {
  readonly #parts: WorkParts;

  constructor(parts: WorkParts) {
    this.#parts = parts;
  }

  /** Makes a backup, and says what came of it. */
  async make(plan: StorePlan, trigger: BackupRun["trigger"]): Promise<BackupRun> {
    const { options, memories, desk, identity, signal } = this.#parts;
    const { clock } = options;
    const startedMs = clock.nowMs();
    if (plan.recipients.length > 0) await identity.ensure();
    const resolved = plan.repositories.map((repository) => ({ repository, place: desk.resolve(repository, plan) }));
    const answer = await this.#makeBetweenHooks(plan, {
      trigger,
      repositories: resolved.flatMap(({ place }) => (typeof place === "string" ? [] : [place])),
      recipients: identity.listRecipients(plan),
      identities: identity.listOpening(plan),
      maker: identity.recipient,
    });
    const unusable = resolved.flatMap(({ repository: { name }, place }) =>
      typeof place === "string" ? [{ repository: name, reason: place }] : [],
    );
    const run: BackupRun = {
      trigger,
      startedMs,
      endedMs: clock.nowMs(),
      ...describeRun(answer),
      ...judgeRun(plan, answer, unusable),
    };
    memories.change(plan, (memory) => noteName(noteRun(plan, memory, run), answer));
    desk.forget(plan);
    if (signal.aborted) return run;
    await this.#waitForService(plan);
    const bytes = answer.kind === "made" ? sumStored(answer.record) : 0;
    const { service, store } = plan;
    options.emit({ kind: "backup-ended", atMs: run.endedMs, service, store, run, bytes });
    return run;
  }

  /** Whoever asked for the backup goes on once the service serves again, or hears that it does not. */
  async #waitForService(plan: StorePlan): Promise<void> {
    const { memories, still, signal } = this.#parts;
    if (!plan.source.stop) return;
    // Killed meanwhile, the next agent must not take the run for one that is owed.
    await memories.save();
    const back = await still.untilBack(plan, signal);
    if (back === "healthy" || signal.aborted) return;
    const what = back === "runs" ? "was not healthy" : "did not run";
    memories.change(plan, (memory) => addWarning(memory, `${plan.service} ${what} again two minutes after it`));
  }

  /**
   * Proves the newest one: each is proved while it is the one that a bad hour would take. From each repository in turn. Answers true
   * where it is good.
   * @param named another one, which a person asks for: where it was set aside and is good, it is not any more
   */
  async verify(plan: StorePlan, named?: string): Promise<boolean> {
    const { options, memories, desk, identity, signal } = this.#parts;
    const { clock } = options;
    const startedMs = clock.nowMs();
    if (plan.recipients.length > 0) await identity.ensure();
    const { lastRun } = memories.recall(plan);
    const found = await (named === undefined ? this.#findNewest(plan, startedMs) : this.#findNamed(plan, named));
    if (found === undefined) return false;
    const { repository, record } = found;
    const beganMs = clock.monotonicMs();
    const answer = await this.#prove(plan, found);
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    if (signal.aborted) return false;
    const { about: _about, ...judged } = await this.#noteVerdict(plan, found, answer);
    const isReleased = named !== undefined && judged.verdict === "good" && (await this.#release(plan, named));
    desk.forget(plan);
    const isAside = record?.quarantined !== undefined && judged.verdict === "good" && !isReleased;
    const detail = isReleased
      ? `${judged.detail}; it is not set aside any more, and its size is usual from now on`
      : isAside
        ? `${judged.detail}; it is still set aside (${record.quarantined}): ${sayAccept(plan, record.name)}`
        : judged.detail;
    const backup = record?.name ?? named ?? lastRun?.made ?? "";
    const run: VerifyRun = { backup, repository: repository.name, endedMs: clock.nowMs(), ...judged, detail };
    memories.change(plan, (memory) => {
      const own = { ...readRepository(memory, repository), proof: { ...run } };
      const judgedNow = { ...run, expects: nameExpectations(plan) };
      return { ...setRepository(memory, repository, own), proofAccountedMs: startedMs, lastVerify: judgedNow };
    });
    const { service, store } = plan;
    options.emit({ kind: "backup-judged", atMs: run.endedMs, service, store, run, tookMs });
    return run.verdict === "good";
  }

  async #findNewest(plan: StorePlan, nowMs: number): Promise<Proved | undefined> {
    const { memories, desk } = this.#parts;
    const repository = chooseProved(plan, memories.recall(plan).lastVerify?.repository);
    if (repository === undefined) return undefined;
    const listing = await desk.list(repository, plan);
    // One of a clock that was ahead would be proved again and again, and none that was made since.
    const records = "list" in listing ? listing.list.records : [];
    const record = records.find((entry) => !isAhead(entry, nowMs)) ?? records[0];
    return "list" in listing && record === undefined ? undefined : { repository, listing, record };
  }

  /** From the first repository that has it. */
  async #findNamed(plan: StorePlan, named: string): Promise<Proved | undefined> {
    for (const repository of plan.repositories) {
      const listing = await this.#parts.desk.list(repository, plan);
      const record = "list" in listing ? listing.list.records.find(({ name }) => name === named) : undefined;
      if (record !== undefined) return { repository, listing, record };
    }
    const [repository] = plan.repositories;
    return repository && { repository, listing: { reason: `${named} is gone` }, record: undefined };
  }

  /** What the record says is what counts: a verdict that could not be written is none. */
  async #noteVerdict(plan: StorePlan, { repository, record }: Proved, answer: ChildAnswer): Promise<JudgedBackup> {
    const { desk, records, options } = this.#parts;
    const place = desk.resolve(repository, plan);
    if (answer.kind !== "judged" || record === undefined || typeof place === "string")
      return { verdict: "unknown", detail: answer.kind === "failed" ? answer.reason : "no answer" };
    const { verdict } = answer;
    const { damaged, ...judged } = verdict;
    const folder = { node: options.node, service: plan.service, store: plan.store };
    try {
      await records.alone(plan, (change) =>
        change({ place, folder, backup: record.name }, (now) =>
          noteDamaged(addVerdict(now, { atMs: options.clock.nowMs(), ...judged }), damaged),
        ),
      );
      return verdict;
    } catch (error) {
      const why = readMessage(error);
      return { verdict: "unknown", detail: `what came of it could not be noted: ${why}` };
    }
  }

  /** A person looked at one that was set aside, and it is good: it counts from now on, in every repository. */
  async #release(plan: StorePlan, named: string): Promise<boolean> {
    const { desk, records, memories, options } = this.#parts;
    const folder = { node: options.node, service: plan.service, store: plan.store };
    const acceptedMs = options.clock.nowMs();
    let isReleased = false;
    for (const repository of plan.repositories) {
      const place = desk.resolve(repository, plan);
      const record = await findRecord(desk, { plan, repository, name: named });
      if (record?.quarantined === undefined || typeof place === "string") continue;
      await records.alone(plan, (change) =>
        change({ place, folder, backup: named }, ({ quarantined: _word, ...rest }) => ({ ...rest, acceptedMs })),
      );
      isReleased = true;
    }
    if (isReleased)
      memories.change(plan, ({ lastRun, ...memory }) => {
        if (lastRun === undefined) return memory;
        const { quarantined: _word, ...run } = lastRun;
        return run.made === named ? { ...memory, madeMs: run.startedMs, lastRun: run } : { ...memory, lastRun };
      });
    return isReleased;
  }

  /** True where a run began whose hooks after it were not seen to end, and they can be run now. */
  owesHooks(plan: StorePlan): boolean {
    const { memories, still } = this.#parts;
    return memories.find(plan)?.owesHooks === true && still.find(plan)?.isStopped === false;
  }

  /** What was begun before a backup is ended after it, also where the agent was not there to do it. */
  async finish(plan: StorePlan): Promise<void> {
    const { memories, still, signal } = this.#parts;
    const answer = await this.ask({ kind: "finish", plan, container: still.find(plan) });
    if (signal.aborted) return;
    this.#owe(plan, false);
    const fault = answer.kind === "finished" ? answer.warning : describeRun(answer).reason;
    memories.change(plan, (memory) => addFault(memory, fault));
  }

  /** Carries out retention in each repository by itself: one that stands still or cannot be asked holds up no other. */
  async keepFew(plan: StorePlan): Promise<void> {
    const { options, memories, desk, records, identity } = this.#parts;
    const { clock } = options;
    const { service, store } = plan;
    const maker = identity.recipient;
    for (const repository of plan.repositories) {
      const memory = memories.recall(plan);
      const input = buildRetention(plan, memory, readRepository(memory, repository));
      try {
        const held = options.listHeld?.(plan) ?? [];
        const clockSet = this.#parts.isClockSet();
        const { count, removed, kept, stoodStill } = await records.alone(plan, () =>
          desk.retain(repository, plan, { ...input, held, clockSet, maker, nowMs: clock.nowMs() }),
        );
        this.#noteRetention(plan, repository, { expected: count, kept: kept ?? stoodStill });
        for (const backup of removed)
          options.emit({ kind: "backup-removed", atMs: clock.nowMs(), service, store, backup });
      } catch (error) {
        this.#noteRetention(plan, repository, { kept: readMessage(error) });
      }
    }
    desk.forget(plan);
  }

  /**
   * Notes what lies in the repositories. That counts, and not what was once made: it may be found bad, removed, or copied back by hand.
   * One that cannot be read says nothing: what was known of it stays.
   */
  async noteGood(plan: StorePlan, isMeant: (repository: RepositoryPlan) => boolean): Promise<void> {
    const { options, memories, desk, identity } = this.#parts;
    const found: ({ repository: RepositoryPlan } & Pick<BackupList, "records" | "foreign">)[] = [];
    for (const repository of plan.repositories.filter(isMeant)) {
      const listing = await desk.list(repository, plan);
      if ("list" in listing) found.push({ repository, ...listing.list });
    }
    const all = found.flatMap(({ records }) => records);
    for (const { repository, records, foreign } of found) {
      const maker = identity.recipient;
      const { names = [] } = memories.recall(plan);
      const other = findOtherMaker(records, maker) ?? findTwin(records, maker, names);
      memories.change(plan, (memory) => noteForeign(noteOther(memory, repository, other), repository, foreign));
    }
    const nowMs = options.clock.nowMs();
    memories.change(plan, (memory) => {
      const bad = listBad(memory.bad ?? [], all);
      const goodMs = { ...memory.goodMs };
      for (const {
        repository: { name },
        records,
      } of found) {
        const newestMs = findNewestGood(records, { bad, nowMs });
        if (newestMs === undefined) delete goodMs[name];
        else goodMs[name] = newestMs;
      }
      const isWhole = found.length === plan.repositories.length;
      return noteSetAside({ ...memory, bad, goodMs }, all, { isWhole, nowMs });
    });
  }

  #noteRetention(
    plan: StorePlan,
    repository: RepositoryPlan,
    found: { expected?: number; kept: string | undefined },
  ): void {
    this.#parts.memories.change(plan, (memory) =>
      setRepository(memory, repository, { ...readRepository(memory, repository), ...found }),
    );
  }

  async #prove(plan: StorePlan, { repository, listing, record }: Proved): Promise<ChildAnswer> {
    const place = this.#parts.desk.resolve(repository, plan);
    if (record === undefined || typeof place === "string") {
      const why = "reason" in listing ? listing.reason : "it cannot be used";
      return { kind: "failed", reason: `${repository.name}: ${why}` };
    }
    const identities = this.#parts.identity.secrets;
    return this.ask({ kind: "verify", plan, record, repository: place, identities });
  }

  #owe(plan: StorePlan, owesHooks: boolean): void {
    this.#parts.memories.change(plan, ({ owesHooks: _before, ...memory }) =>
      owesHooks ? { ...memory, owesHooks } : memory,
    );
  }

  async #makeBetweenHooks(
    plan: StorePlan,
    order: Pick<
      Extract<ChildTask, { kind: "make" }>,
      "trigger" | "repositories" | "recipients" | "identities" | "maker"
    >,
  ): Promise<ChildAnswer> {
    const { memories, still, signal } = this.#parts;
    const hasHooks = plan.source.hooks.after.length > 0;
    if (hasHooks) {
      this.#owe(plan, true);
      await memories.save();
    }
    const ask = (checkOnly: boolean): Promise<ChildAnswer> =>
      this.ask({ kind: "make", plan, container: still.find(plan), checkOnly, ...order });
    const answer = await still.during(plan, signal, { check: () => ask(true), work: () => ask(false) });
    // A child that was killed has run none of them: that is done next.
    if (hasHooks && !signal.aborted && !isCutOff(answer)) this.#owe(plan, false);
    return answer;
  }

  /** What the manifest names beside the service's own image is pulled as that one is. */
  async #fetchImage({ kind, plan }: ChildTask): Promise<string | undefined> {
    const { options, signal } = this.#parts;
    const image = kind === "make" ? plan.source.image : kind === "verify" ? plan.verify?.image : undefined;
    return image === undefined ? undefined : options.fetchImage?.(image, signal);
  }

  /**
   * A child that was killed has left its containers, and one of them may hold the server's snapshot: none waits for the next run. Another
   * child takes them away, in its turn: what a restore has begun meanwhile looks like them.
   */
  async ask(task: ChildTask): Promise<ChildAnswer> {
    const { options, signal } = this.#parts;
    const away = await this.#fetchImage(task);
    if (away !== undefined) return { kind: "failed", reason: away };
    const answer = await askChild(options, signal, task);
    if (isCutOff(answer) && !signal.aborted)
      await askChild(options, signal, { kind: "finish", plan: withoutHooks(task.plan), container: { id: "" } });
    return answer;
  }
}

/** Of a bucket: what this proof has found takes the place of what the one before has. */
function noteDamaged({ damaged: _before, ...record }: BackupRecord, damaged: readonly string[] = []): BackupRecord {
  return damaged.length === 0 ? record : { ...record, damaged: [...damaged] };
}
