// Makes the drills of a node, one at a time: says what is asked of backups and of the loop, waits for what comes of it, and keeps the record.
// Made by daemon/open-drills.ts, told of each turn and event. Changes nothing of the node itself: backup/ restores, the loop stops and starts.

import type { Clock } from "../host/os/clock.ts";
import { waitAtMost } from "../host/os/clock.ts";
import type { StorePlan } from "../../shared/state/backup.ts";
import type { DrillDocument } from "../../shared/document/drill-document.ts";
import type { DrillKind, DrillPart, DrillRecord, DrillStanding } from "../../shared/drill/drill.ts";
import type { Actor, AgentEvent } from "../../shared/state/event.ts";
import type { Note } from "../../shared/state/note.ts";
import type { StoreStanding } from "../../shared/state/promise.ts";
import { describeDuration } from "../../shared/text/duration.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import { listDrillStandings, noteOverdue } from "./core/drill-due.ts";
import { DrillJournal } from "./drill-journal.ts";
import { drillStop, type StopParts } from "./drill-stop.ts";
import { drillStores, type StoreDrillParts } from "./drill-stores.ts";
import { DrillEars, GivenUp } from "./drill-ears.ts";
import { drillFull, type FullParts, readDoing, refuseRoom } from "./drill-full.ts";

/** What the keeper is made from. */
export interface DrillKeeperOptions
  extends Pick<StoreDrillParts, "listStores" | "proveStore">, Pick<StopParts, "request"> {
  node: string;
  clock: Clock;
  /** What a drill of the whole node works with. */
  full: FullParts;
  /** Where the records lie. */
  directory: string;
  /** How the stores stand with what is promised of them: since when each is there. */
  listStandings: () => readonly StoreStanding[];
  emit: (event: AgentEvent) => void;
}

/** What is asked for. */
type DrillOrder = { kind: Exclude<DrillKind, "stop"> } | { kind: "stop"; service: string };

/** At its end the agent waits so long for the record of what it gives up. */
const CLOSE_MS = 5_000;

/** Makes the drills of one node. */
export class DrillKeeper {
  readonly #options: DrillKeeperOptions;
  readonly #journal: DrillJournal;
  readonly #ears: DrillEars;
  readonly #opened: Promise<void>;
  readonly #abort = new AbortController();
  #carrying: Promise<void> | undefined;
  #running: DrillRecord | undefined;
  #doing: string | undefined;
  #troubles: readonly string[] = [];

  constructor(options: DrillKeeperOptions) {
    this.#options = options;
    this.#journal = new DrillJournal(options.directory, options.node);
    this.#ears = new DrillEars();
    this.#opened = this.#open();
  }

  /** Hears what the agent tells of itself. Never throws, never waits. */
  hear(event: AgentEvent): void {
    this.#ears.hear(event);
  }

  /** Why a drill cannot begin now; undefined where it may. */
  async refuse(order: DrillOrder): Promise<string | undefined> {
    await this.#opened;
    return this.#refuse(order);
  }

  /** Begins a drill; answers when it began, which names it, or why none begins. */
  async begin(order: DrillOrder, actor: Actor): Promise<{ startedMs: number } | string> {
    await this.#opened;
    const refusal = this.#refuse(order);
    if (refusal !== undefined) return refusal;
    const { clock } = this.#options;
    const record: DrillRecord = { kind: order.kind, startedMs: clock.nowMs(), uid: actor.uid, parts: [] };
    this.#running = record;
    this.#carrying = this.#carry(record, order, actor).finally(() => {
      this.#carrying = undefined;
      this.#running = undefined;
      this.#doing = undefined;
    });
    return { startedMs: record.startedMs };
  }

  /** What there is to know of drills. */
  async read(): Promise<DrillDocument> {
    await this.#opened;
    const { node, clock } = this.#options;
    const { directory, drills } = this.#journal;
    return {
      version: 1,
      node,
      nowMs: clock.nowMs(),
      drills,
      doing: this.#readDoing(),
      standings: this.standings,
      directory,
    };
  }

  /** How the stores stand with their drills. */
  get standings(): DrillStanding[] {
    const plans: readonly StorePlan[] = this.#ears.turn?.desired?.backups ?? [];
    const seen = new Map(
      this.#options.listStandings().map((entry) => [`${entry.service}/${entry.store}`, entry.seenMs]),
    );
    const stores = plans.flatMap(({ service, store, engine }) => {
      const seenMs = seen.get(`${service}/${store}`);
      return seenMs === undefined ? [] : [{ service, store, engine, seenMs }];
    });
    // What a wrong clock has dated in the future would else be a drill for as long.
    const nowMs = this.#options.clock.nowMs();
    const drills = this.#journal.drills.filter(({ startedMs }) => startedMs <= nowMs);
    return listDrillStandings(stores, drills);
  }

  /** What goes on, and what is overdue. */
  get notes(): Note[] {
    const nowMs = this.#options.clock.nowMs();
    const running = this.#running;
    const since = running === undefined ? "" : describeDuration(nowMs - running.startedMs);
    const goes: Note[] =
      running === undefined ? [] : [{ name: "drill goes on", text: `a drill goes on since ${since}${this.#say()}` }];
    const troubles = this.#troubles.map((text) => ({ name: `drill ${text}`, text }));
    return [...goes, ...noteOverdue(this.standings, nowMs), ...troubles];
  }

  /** Ends; a drill that goes on is given up and is in the record as such. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#ears.close();
    if (this.#carrying !== undefined) await waitAtMost(this.#carrying, CLOSE_MS, this.#options.clock);
  }

  #say(): string {
    const doing = this.#readDoing();
    return doing === undefined ? "" : `: ${doing}`;
  }

  /** Of a whole node the child says it. */
  #readDoing(): string | undefined {
    const { full } = this.#options;
    return this.#running?.kind === "full" ? (readDoing(full) ?? this.#doing) : this.#doing;
  }

  async #open(): Promise<void> {
    try {
      this.#troubles = await this.#journal.open();
    } catch (error) {
      this.#troubles = [`records of drills cannot be kept: ${readMessage(error)}`];
    }
  }

  #refuse(order: DrillOrder): string | undefined {
    if (this.#running !== undefined)
      return `a drill goes on${this.#say()}: orca drill --status follows it, and the next may begin after it`;
    const { turn } = this.#ears;
    if (turn?.desired === undefined) return "nothing is known of this node's services yet: try again in a moment";
    if (order.kind !== "stop") {
      const plans = turn.desired.backups ?? [];
      if (plans.length === 0) return "no service here has [[backups]]: there is nothing to restore";
      return order.kind === "full" ? refuseRoom(turn) : undefined;
    }
    const view = turn.services.find(({ name }) => name === order.service);
    const service = turn.desired.services.get(order.service);
    if (view === undefined || service === undefined) return `there is no service ${order.service} here`;
    if (service.kind === "job")
      return `${order.service} is a job: it does not run all the time, and nothing is to be measured`;
    if (view.state === "healthy" && view.startBlocked === undefined) return undefined;
    const why = view.startBlocked ?? `it is ${view.state}: ${view.reason}`;
    return `${order.service} is not stopped for a drill: ${why}`;
  }

  /** From its beginning to its end. Never throws. */
  async #carry(begun: DrillRecord, order: DrillOrder, actor: Actor): Promise<void> {
    const { clock, emit } = this.#options;
    const parts: DrillPart[] = [];
    let trouble: string | undefined;
    try {
      await this.#journal.keep(begun);
      const add = async (part: DrillPart): Promise<void> => {
        parts.push(part);
        await this.#journal.keep({ ...begun, parts: [...parts] });
      };
      await this.#work(order, actor, add);
    } catch (error) {
      trouble = error instanceof GivenUp ? "the agent ended in the middle of it" : readMessage(error);
    }
    const record: DrillRecord = {
      ...begun,
      endedMs: clock.nowMs(),
      parts,
      ...(trouble === undefined ? {} : { trouble }),
    };
    try {
      await this.#journal.keep(record);
      this.#troubles = [];
    } catch (error) {
      this.#troubles = [`the record of the last drill was not kept: ${readMessage(error)}`];
    }
    emit({ kind: "drill-ended", atMs: clock.nowMs(), record });
  }

  async #work(order: DrillOrder, actor: Actor, add: (part: DrillPart) => Promise<void>): Promise<void> {
    const { clock, full, listStores, proveStore, request } = this.#options;
    const tell = (doing: string): void => void (this.#doing = doing);
    const common = { clock, ears: this.#ears, tell, add };
    if (order.kind === "stop") return drillStop({ ...common, request, actor }, order.service);
    const { turn } = this.#ears;
    if (order.kind === "stores" || turn === undefined) return drillStores({ ...common, listStores, proveStore });
    tell("the backups are chosen");
    const { signal } = this.#abort;
    const parts = await drillFull(full, turn, signal);
    if (signal.aborted) throw new GivenUp();
    for (const part of parts) await add(part);
  }
}
