// Carries out restores into place, one at a time: a new volume is filled beside the one in force, the service gets it, and gets the one
// before where it is not healthy with it. Each stage is on disk before its work begins, so that the next agent goes on or takes it back.
// Made by daemon.ts; told of each turn. Never touches a volume that is or was in force.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { Actor, AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import type { Note } from "../../../shared/state/note.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import type { Request } from "../../../shared/state/request.ts";
import {
  listSwitches,
  type RestoreMoment,
  type RestoreOrder,
  type RestoreOutcome,
  type RestorePlan,
  type RestoreRecord,
  type RestoreStatus,
  type VolumeChoice,
} from "../../../shared/state/restore.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { DockerReader } from "../../docker/reader.ts";
import type { Restores } from "../../docker/restores.ts";
import { setNewerAside } from "../../host/newer-document.ts";
import { type Clock, waitAtMost } from "../../host/os/clock.ts";
import { askChild, type ChildParts } from "../ask-child.ts";
import type { AreaSource, BackupSource } from "../repository/store-sources.ts";
import { BASE_AREA } from "../wal/core/choose-base.ts";
import { findBase } from "./find-base.ts";
import { KeptVolumes } from "./kept-volumes.ts";
import { mergeSources } from "./restore-choice.ts";
import { noteRestore } from "./restore-notes.ts";
import { type FoundPlan, planRestore } from "./restore-plan.ts";
import { readProgress, readRestores, RESTORES_VERSION, writeRestores } from "./restore-record.ts";
import { readInForce, viewSwitch } from "./restore-watch.ts";
import { doubtVolume } from "./whole-volumes.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What the keeper is made from. */
export interface RestoreKeeperOptions extends ChildParts {
  clock: Clock;
  statePath: string;
  progressPath: string;
  engine: {
    reader: Pick<DockerReader, "info" | "findImage" | "inspectVolume" | "listGenerations">;
    restores: Pick<Restores, "readShape" | "createVolume" | "discardVolume">;
  };
  /** Every repository of a store that can be read. */
  listSources(service: string, store: string): Promise<BackupSource[]>;
  /** The same of one area of a store, with the names of what lies there. */
  listArea(service: string, store: string, area: string): Promise<AreaSource[]>;
  /** Stores what was received of a log by now; answers repository → a moment of which it has everything. */
  shipLog(service: string, store: string, log: RestoreMoment): Promise<Readonly<Record<string, number>>>;
  /** Resolves when what earlier agents have left of one-shot containers is taken away. */
  swept: Promise<void>;
  request(request: Request): void;
  emit(event: AgentEvent): void;
}

/** An agent that is killed again and again while it fills a volume gives up then. */
const MOST_TRIES = 5;
/** At its end the agent waits so long for the child to end. */
const CLOSE_MS = 5_000;

/** The agent ends: what is under way is left to the next one. */
class Ending extends Error {}

/** Restores into place. */
export class RestoreKeeper {
  readonly #options: RestoreKeeperOptions;
  readonly #abort = new AbortController();
  #restores: readonly RestoreRecord[];
  #turn: TurnSummary | undefined;
  #waiting = new Set<(turn: TurnSummary) => void>();
  #waitsFor: string | undefined;
  #carrying: Promise<void> | undefined;
  readonly #kept: KeptVolumes;

  constructor(options: RestoreKeeperOptions) {
    this.#options = options;
    this.#kept = new KeptVolumes({ node: options.node, clock: options.clock, reader: options.engine.reader });
    const newer = setNewerAside(options.statePath, RESTORES_VERSION);
    if (newer !== undefined)
      options.emit({ kind: "state-not-saved", atMs: options.clock.nowMs(), message: `restores: ${newer}` });
    this.#restores = readRestores(options.statePath);
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(turn: TurnSummary): void {
    this.#turn = turn;
    for (const hear of this.#waiting) hear(turn);
    this.#kept.follow(turn);
    const [newest] = this.#restores;
    if (this.#carrying === undefined && newest !== undefined && newest.stage !== "ended" && turn.desired !== undefined)
      this.#begin(newest);
  }

  /** What a restore would do; a text says why there is none. */
  async plan(order: RestoreOrder): Promise<RestorePlan | string> {
    const found = await this.#find(order);
    return typeof found === "string" ? found : found.plan;
  }

  /** Begins one; answers what is done, or why nothing is. */
  async begin(order: RestoreOrder, actor: Actor): Promise<RestorePlan | string> {
    const found = await this.#find(order);
    if (typeof found === "string") return found;
    const busy = this.#findBusy();
    if (busy !== undefined) return busy;
    const { service, store, backup, backupMs, volume, from, to, moment } = found.plan;
    const record: RestoreRecord = {
      service,
      store,
      backup,
      backupMs,
      volume,
      from,
      to,
      also: found.plan.also.map((entry) => ({ volume: entry.volume, from: entry.from, to: entry.to })),
      image: found.record.image,
      ...(moment === undefined ? {} : { moment }),
      uid: actor.uid,
      stage: "asked",
      startedMs: this.#options.clock.nowMs(),
      tries: 0,
    };
    this.#restores = [record, ...this.#restores];
    this.#begin(record);
    return found.plan;
  }

  /** Says which volume a service has its data in from now on; a text says why that cannot be. One that nothing here calls whole is taken only as `unproven`. */
  async use({ service, generation, unproven = false }: VolumeChoice, actor: Actor): Promise<string | undefined> {
    const busy = this.#findBusy();
    if (busy !== undefined) return busy;
    const mounts = this.#turn?.desired?.services.get(service)?.spec.volumes ?? [];
    const bases = mounts.flatMap(({ name, of: base = name }) => base ?? []);
    const listed = await this.#options.engine.reader.listGenerations(this.#options.node);
    const volume =
      bases.find((base) => base === generation) ??
      listed.find(({ name, of: base }) => name === generation && bases.includes(base))?.of;
    if (volume === undefined) {
      const known = [...bases, ...listed.filter(({ of: base }) => bases.includes(base)).map(({ name }) => name)];
      return `${generation} is no volume of ${service}: it has ${known.length === 0 ? "none" : known.join(", ")}`;
    }
    const doubt = unproven ? undefined : doubtVolume({ volume, generation }, this.#turn, this.#restores);
    if (doubt !== undefined) return doubt;
    const also = this.#findFellows({ volume, generation }, [...bases, ...listed.map(({ name }) => name)]);
    this.#options.request({ kind: "use-volume", service, volume, generation, also, actor });
    return undefined;
  }

  /** A store that lies in several volumes has all of them from before a restore, or all from after it. */
  #findFellows(
    { volume, generation }: { volume: string; generation: string },
    there: readonly string[],
  ): { volume: string; generation: string }[] {
    for (const restore of this.#restores) {
      const switches = listSwitches(restore);
      const own = switches.find((entry) => entry.volume === volume && [entry.from, entry.to].includes(generation));
      if (own === undefined) continue;
      const side = own.to === generation ? "to" : "from";
      const fellows = switches.filter((entry) => entry !== own && there.includes(entry[side]));
      return fellows.map((entry) => ({ volume: entry.volume, generation: entry[side] }));
    }
    return [];
  }

  /** Newest first. */
  list(): RestoreStatus[] {
    const [newest, ...older] = this.#restores;
    if (newest === undefined || newest.stage === "ended") return [...this.#restores];
    const progress = newest.stage === "filling" ? readProgress(this.#options.progressPath) : undefined;
    return [{ ...newest, progress, waitsFor: this.#waitsFor }, ...older];
  }

  /** Names of a store's backups that retention leaves alone: what goes on may have to read them again. */
  listHeld({ service, store }: Pick<RestoreOrder, "service" | "store">): string[] {
    const [newest] = this.#restores;
    const isHeld = newest !== undefined && newest.stage !== "ended";
    return isHeld && newest.service === service && newest.store === store ? [newest.backup] : [];
  }

  /** Images that a prune leaves alone: of the backup that is being restored, until the service is settled with it or has it no more. */
  get heldImages(): string[] {
    const [newest] = this.#restores;
    return newest?.image === undefined || newest.stage === "ended" ? [] : [newest.image];
  }

  /** What goes on, how the last one ended where that was not well, and which volumes are kept beside the ones in force. */
  get notes(): Note[] {
    const [newest] = this.#restores;
    const notes = newest === undefined ? [] : noteRestore(newest, this.#options.clock.nowMs());
    const filled = newest?.stage === "filling" ? listSwitches(newest).map(({ to }) => to) : [];
    return [...notes, ...this.#kept.listNotes(this.#turn, filled)];
  }

  /** Ends; what goes on is left to the next agent. */
  async close(): Promise<void> {
    this.#abort.abort();
    for (const hear of this.#waiting) if (this.#turn !== undefined) hear(this.#turn);
    if (this.#carrying === undefined) return;
    // An engine that hangs must not keep the agent from ending.
    await waitAtMost(this.#carrying, CLOSE_MS, this.#options.clock);
  }

  #findBusy(): string | undefined {
    const [newest] = this.#restores;
    if (newest === undefined || newest.stage === "ended") return undefined;
    return `a restore of ${newest.service} goes on (${newest.stage}): orca backup restore --status follows it`;
  }

  async #find(order: RestoreOrder): Promise<FoundPlan | string> {
    const { node, engine } = this.#options;
    const subject = this.#findSubject(order);
    if (typeof subject === "string") return subject;
    const others = [...(this.#turn?.desired?.services.values() ?? [])];
    const base = await findBase(
      (area) => this.#options.listArea(order.service, order.store, area),
      subject.plan,
      order,
    );
    if (base !== undefined) {
      const plan = { ...subject.plan, engine: base.record.engine };
      const { record, moment } = base;
      return planRestore(
        engine,
        { node, ...subject, plan, others, records: [record], moment },
        { ...order, backup: record.name },
      );
    }
    const sources = await this.#options.listSources(order.service, order.store);
    return planRestore(
      engine,
      { node, ...subject, others, records: mergeSources(sources.map(({ records }) => records)) },
      order,
    );
  }

  #findSubject({ service: name, store }: Pick<RestoreOrder, "service" | "store">) {
    const turn = this.#turn;
    const plan: StorePlan | undefined = turn?.desired?.backups?.find(
      (entry) => entry.service === name && entry.store === store,
    );
    const service = turn?.desired?.services.get(name);
    if (plan === undefined || service === undefined) return `${name} has no backup ${store} that is in force here`;
    const container = turn === undefined ? undefined : findContainer(turn, name);
    if (container === undefined)
      return `${name} has no container here yet: let it be made once (orca why ${name} says what it waits for)`;
    return { plan, service, container };
  }

  #begin(record: RestoreRecord): void {
    this.#carrying = this.#carry(record).finally(() => {
      this.#carrying = undefined;
      this.#waitsFor = undefined;
      this.#kept.lookSoon();
    });
  }

  /** From the stage that it is in to its end. Never throws. */
  async #carry(begun: RestoreRecord): Promise<void> {
    let record = begun;
    try {
      await this.#options.swept;
      if (record.stage === "asked" || record.stage === "filling") record = await this.#fill(record);
      if (record.stage === "switching") record = await this.#switch(record);
      if (record.stage === "going-back") await this.#goBack(record);
    } catch (error) {
      if (error instanceof Ending || this.#abort.signal.aborted) return;
      const detail = readMessage(error);
      await this.#end(record, { kind: "failed", detail }).catch(() => undefined);
    }
  }

  /** The volume that is filled is thrown away where that fails, or was cut off: it was never in force. */
  async #fill(asked: RestoreRecord): Promise<RestoreRecord> {
    const { engine, node } = this.#options;
    let record = await this.#keep({ ...asked });
    // Which one is in force is in the memory before there is another: a restart meanwhile guesses nothing.
    await this.#putInForce(record, "from");
    await this.#discard(record);
    if (record.tries >= MOST_TRIES) throw new Error(`the agent ended ${MOST_TRIES} times while it was filled`);
    record = await this.#keep({ ...record, stage: "filling", tries: record.tries + 1 });
    const { service } = record;
    for (const { volume, to } of listSwitches(record))
      await engine.restores.createVolume({ name: to, of: volume, node, service });
    const detail = await this.#runChild(record);
    if (typeof detail !== "string") {
      await this.#discard(record).catch(() => undefined);
      return this.#end(record, { kind: "failed", detail: detail.reason });
    }
    const replayed = record.moment === undefined ? {} : { replayed: detail };
    return this.#keep({ ...record, ...replayed, stage: "switching" });
  }

  /** What was never in force. */
  async #discard(record: RestoreRecord): Promise<void> {
    const { engine, node } = this.#options;
    for (const { to } of listSwitches(record)) await engine.restores.discardVolume(to, node);
  }

  async #runChild(record: RestoreRecord): Promise<string | { reason: string }> {
    const { progressPath } = this.#options;
    const { service, store, backup } = record;
    const subject = this.#findSubject(record);
    if (typeof subject === "string") return { reason: subject };
    const { moment } = record;
    const wholeMs = moment === undefined ? {} : await this.#options.shipLog(service, store, moment);
    const sources =
      moment === undefined
        ? await this.#options.listSources(service, store)
        : await this.#options.listArea(service, store, BASE_AREA);
    const source = sources.find(({ records }) => records.some(({ name }) => name === backup));
    const found = source?.records.find(({ name }) => name === backup);
    if (source === undefined || found === undefined) return { reason: `${backup} is gone` };
    const { plan, container } = subject;
    const volumes: { name: string; target: string }[] = [];
    for (const { from, to } of listSwitches(record)) {
      const mount = (subject.service.spec.volumes ?? []).find(({ name }) => name === from);
      if (mount === undefined) return { reason: `${service} does not have ${from} any more` };
      volumes.push({ name: to, target: mount.target });
    }
    const answer = await askChild(this.#options, this.#abort.signal, {
      kind: "restore",
      plan: moment === undefined ? plan : { ...plan, engine: found.engine },
      ...(moment === undefined ? {} : { moment: { atMs: moment.atMs, wholeMs: wholeMs[source.place.name] } }),
      record: found,
      container: container.id,
      volumes,
      progressPath,
      repository: source.place,
      identities: source.identities,
    });
    if (this.#abort.signal.aborted) throw new Ending();
    if (answer.kind === "restored") return answer.detail;
    return { reason: answer.kind === "failed" ? answer.reason : "no answer" };
  }

  /** The service gets the new volume, and is waited for. */
  async #switch(record: RestoreRecord): Promise<RestoreRecord> {
    const { clock } = this.#options;
    await this.#putInForce(record, "to");
    let triedMs: number | undefined;
    const [kind, why] = await this.#until((turn): [string, string] | undefined => {
      const view = viewSwitch(turn, record.service);
      if (view.kind === "healthy") return [view.kind, ""];
      if (view.kind === "at-rest") return [view.kind, view.why];
      this.#waitsFor = view.why;
      if (view.kind === "waits") return undefined;
      triedMs ??= clock.monotonicMs();
      return clock.monotonicMs() - triedMs > view.withinMs
        ? ["failed", `not healthy within ${describeDuration(view.withinMs)}: ${view.why}`]
        : undefined;
    });
    if (kind === "failed")
      return this.#keep({ ...record, stage: "going-back", outcome: { kind: "went-back", detail: why } });
    const replayed = record.replayed === undefined ? "" : `${record.replayed}; `;
    const from = `${replayed}${nameAll(record, "from")} kept with what was there before${tellTries(record)}`;
    const detail = kind === "healthy" ? from : `${why}: it has the restored data from its next start on; ${from}`;
    return this.#end(record, { kind: "restored", detail });
  }

  async #goBack(record: RestoreRecord): Promise<void> {
    await this.#putInForce(record, "from");
    const reason = record.outcome?.detail ?? "it was not healthy";
    const has = listSwitches(record).map((entry) => entry.from);
    const detail = `${record.service} has ${has.join(" and ")} again, since with the restored data it was ${reason}; ${nameAll(record, "to")} kept`;
    await this.#end(record, { kind: "went-back", detail });
  }

  /** Resolves once a turn has all of them in its memory, which is on disk then: never some of them. */
  async #putInForce(record: RestoreRecord, which: "from" | "to"): Promise<void> {
    const { service, uid } = record;
    const used = listSwitches(record).map((entry) => ({ volume: entry.volume, generation: entry[which] }));
    const isIn = (turn: TurnSummary): boolean =>
      used.every(({ volume, generation }) => readInForce(turn, volume) === generation);
    if (this.#turn !== undefined && isIn(this.#turn)) return;
    const [first = { volume: record.volume, generation: record[which] }, ...also] = used;
    this.#options.request({ kind: "use-volume", service, ...first, also, actor: { uid, user: undefined } });
    await this.#until((turn) => (isIn(turn) ? true : undefined));
  }

  /** Waits for a turn that gives an answer. */
  #until<T>(answer: (turn: TurnSummary) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const hear = (turn: TurnSummary): void => {
        if (this.#abort.signal.aborted) reject(new Ending());
        const found = this.#abort.signal.aborted ? undefined : answer(turn);
        if (found === undefined && !this.#abort.signal.aborted) return;
        this.#waiting.delete(hear);
        if (found !== undefined) resolve(found);
      };
      this.#waiting.add(hear);
      if (this.#abort.signal.aborted && this.#turn !== undefined) hear(this.#turn);
    });
  }

  #end(record: RestoreRecord, outcome: RestoreOutcome): Promise<RestoreRecord> {
    return this.#keep({ ...record, stage: "ended", endedMs: this.#options.clock.nowMs(), outcome });
  }

  /** On disk, and told, before anything follows from it. */
  async #keep(record: RestoreRecord): Promise<RestoreRecord> {
    const { statePath, clock } = this.#options;
    this.#restores = [record, ...this.#restores.slice(1)];
    await writeRestores(statePath, this.#restores);
    this.#options.emit({ kind: "backup-restored", atMs: clock.nowMs(), record });
    return record;
  }
}

/** The container that is, or was last, the service's. */
function findContainer({ observed: { engine }, services }: TurnSummary, name: string): ObservedContainer | undefined {
  if (!engine.reachable) return undefined;
  const own = engine.containers.filter((entry) => entry.service === name);
  const shown = services.find((entry) => entry.name === name)?.container;
  return own.find(({ id }) => id === shown) ?? own[0];
}

function nameAll(record: RestoreRecord, which: "from" | "to"): string {
  const names = listSwitches(record).map((entry) => entry[which]);
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"}`;
}

/** What was half-filled is gone, and nobody has to look for it. */
function tellTries({ tries }: RestoreRecord): string {
  return tries < 2 ? "" : `; the agent ended while it was filled, and what was half-filled was thrown away`;
}
