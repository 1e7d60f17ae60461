// Prunes a node: follows what is in force and what runs, and takes away what nobody needs, weekly and when the engine's disk runs full.
// Made by daemon.ts; told of each turn, and never holds one up. One thing at a time, each by one call, and never beside a pull or start.

import type { AgentEvent, TurnSummary } from "../../shared/state/event.ts";
import type { Note } from "../../shared/state/note.ts";
import type {
  ImageNeed,
  PruneChoice,
  PrunedItem,
  PruneInventory,
  PruneItem,
  PruneNeeds,
  PruneRun,
  PruneTrigger,
} from "../../shared/state/prune.ts";
import type { ReleaseRecord } from "../../shared/state/memory.ts";
import type { Pruner } from "../docker/pruner.ts";
import { setNewerAside } from "../host/newer-document.ts";
import { type Clock, ClockSteps, nameMoment, waitAtMost } from "../host/os/clock.ts";
import { choosePrune, EARLY_AGES, rememberImages, WEEKLY_AGES } from "./core/choose-prune.ts";
import { listNeeds, nameTag } from "./core/list-needs.ts";
import { type DiskShares, findPruneDue, findWeekly } from "./core/prune-due.ts";
import { PRUNE_VERSION, type PruneMemory, readPruneState, writePruneState } from "./prune-state.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What the keeper is made from. */
export interface PruneOptions {
  node: string;
  clock: Clock;
  statePath: string;
  pruner: Pruner;
  /** The id of an image that is on this host, or undefined. */
  findImage(reference: string): Promise<string | undefined>;
  listReleases(service: string, most: number): readonly ReleaseRecord[];
  /** Images that a restore of a backup would take; rejects where that cannot be known. */
  listBackupImages(): Promise<readonly string[]>;
  /** True while the agent pulls, starts or ends anything. */
  isBusy(): boolean;
  /** What is left of the engine's disk; undefined where that cannot be read. */
  readDisk(): Promise<DiskShares | undefined>;
  emit(event: AgentEvent): void;
}

/** How prunes stand, for people. */
export interface PruneStatus {
  nextMs: number;
  runningSinceMs: number | undefined;
  lastRun: PruneRun | undefined;
}

/** Due prunes and the disk are looked at so often at most. */
const LOOK_MS = 60_000;
/** Since when an image lies idle is known to within so much. */
const REMEMBER_MS = 6 * 3_600_000;
/** Work that the agent does meanwhile is waited for so long; the rest is for the next prune. */
const PATIENCE_MS = 1_800_000;
const QUIET_LOOK_MS = 1_000;
const LONGEST_END_MS = 5_000;
/** Of the names that are chosen so many are told. */
const MOST_TOLD = 100;

/** Prunes one node. */
export class PruneKeeper {
  readonly #options: PruneOptions;
  /** By the monotonic clock: the other one may be set. */
  readonly #startedMs: number;
  readonly #steps: ClockSteps;
  #memory: PruneMemory;
  #turn: TurnSummary | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #rememberedMs = Number.NEGATIVE_INFINITY;
  #runningSinceMs: number | undefined;
  #working: Promise<void> = Promise.resolve();
  #looking = false;
  #closed = false;

  constructor(options: PruneOptions) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
    this.#steps = new ClockSteps(options.clock);
    const newer = setNewerAside(options.statePath, PRUNE_VERSION);
    if (newer !== undefined)
      options.emit({ kind: "state-not-saved", atMs: options.clock.nowMs(), message: `prune: ${newer}` });
    this.#memory = readPruneState(options.statePath, options.clock.nowMs());
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(turn: TurnSummary): void {
    this.#turn = turn;
    this.#followClock();
    const { clock } = this.#options;
    if (this.#closed || this.#looking || clock.monotonicMs() - this.#lookedMs < LOOK_MS || !this.#isQuiet) return;
    this.#lookedMs = clock.monotonicMs();
    this.#looking = true;
    this.#working = this.#look().finally(() => (this.#looking = false));
  }

  /** Asks for a prune now; answers why there is none, or undefined once it has begun. */
  ask(early: boolean): string | undefined {
    if (this.#closed) return "the agent ends";
    if (this.#looking) return "a prune goes on: try again in a moment";
    const trouble = this.#findTrouble();
    if (trouble !== undefined) return trouble;
    this.#looking = true;
    this.#working = this.#run("asked", early).finally(() => (this.#looking = false));
    return undefined;
  }

  /** What a prune would do now. Rejects where that cannot be known. */
  async preview(early: boolean): Promise<PruneChoice> {
    const trouble = this.#findTrouble();
    if (trouble !== undefined) throw new Error(trouble);
    const { choice } = await this.#choose(early);
    return choice;
  }

  /** How it stands. */
  get status(): PruneStatus {
    const { node, clock } = this.#options;
    const { dueMs } = findWeekly(this.#memory, { node, nowMs: clock.nowMs(), startedMs: this.#agentStartedMs });
    return { nextMs: dueMs, runningSinceMs: this.#runningSinceMs, lastRun: this.#memory.lastRun };
  }

  /** What is not as it should be. */
  get notes(): Note[] {
    const { lastRun } = this.#memory;
    const [trouble] = lastRun?.troubles ?? [];
    if (trouble === undefined) return [];
    return [{ name: "prune", text: `the last prune has left something: ${trouble}: see orca help prune` }];
  }

  /** Ends; what is being removed is waited for, and nothing more begins. */
  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#looking) return;
    // An engine that hangs must not keep the agent from ending.
    await waitAtMost(this.#working, LONGEST_END_MS, this.#options.clock);
  }

  /** The wall clock was set: nothing has become older or younger by that. */
  #followClock(): void {
    const stepMs = this.#steps.take();
    if (stepMs === 0) return;
    const { accountedMs, earlyMs, images } = this.#memory;
    const moved = Object.entries(images).map(([id, image]) => [id, { ...image, sinceMs: image.sinceMs + stepMs }]);
    this.#memory = {
      ...this.#memory,
      accountedMs: accountedMs + stepMs,
      ...(earlyMs === undefined ? {} : { earlyMs: earlyMs + stepMs }),
      images: Object.fromEntries(moved),
    };
  }

  /** When the agent began, as the wall clock has it now. */
  get #agentStartedMs(): number {
    return nameMoment(this.#options.clock, this.#startedMs);
  }

  get #isQuiet(): boolean {
    return this.#turn?.observed.engine.reachable === true && !this.#options.isBusy();
  }

  #findTrouble(): string | undefined {
    if (this.#turn?.desired === undefined) return "nothing was read from Git yet: what is needed is not known";
    if (!this.#turn.observed.engine.reachable)
      return `the engine does not answer: ${this.#turn.observed.engine.reason}`;
    return undefined;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { node, clock } = this.#options;
    if (this.#findTrouble() !== undefined) return;
    const disk = await this.#options.readDisk().catch(() => undefined);
    const nowMs = clock.nowMs();
    const due = findPruneDue({ earlyMs: undefined, ...this.#memory }, disk, {
      node,
      nowMs,
      startedMs: this.#agentStartedMs,
    });
    if (due !== undefined) return this.#run(due, due === "low-disk");
    if (clock.monotonicMs() - this.#rememberedMs < REMEMBER_MS) return undefined;
    // What is idle from now on is known to be, also after the next start.
    return this.#read(false).then(
      () => this.#save(),
      () => undefined,
    );
  }

  async #run(trigger: PruneTrigger, early: boolean): Promise<void> {
    const { clock } = this.#options;
    const startedMs = clock.nowMs();
    this.#runningSinceMs = startedMs;
    // On disk before anything is removed: an agent that is killed in the middle does not begin again and again.
    this.#memory = {
      ...this.#memory,
      accountedMs: startedMs,
      ...(trigger === "low-disk" ? { earlyMs: startedMs } : {}),
    };
    const removed: PrunedItem[] = [];
    const troubles: string[] = [];
    try {
      await this.#save();
      await this.#carryOut({ trigger, early, removed, troubles });
    } catch (error) {
      troubles.push(readMessage(error));
    }
    const run: PruneRun = { trigger, startedMs, endedMs: clock.nowMs(), removed, troubles };
    this.#memory = { ...this.#memory, lastRun: run };
    this.#runningSinceMs = undefined;
    await this.#save();
    this.#options.emit({ kind: "prune-ended", atMs: run.endedMs, run });
  }

  async #carryOut({ trigger, early, removed, troubles }: Carrying): Promise<void> {
    const { clock, pruner } = this.#options;
    let chosen = await this.#choose(early);
    const tried = new Set<string>();
    const told = chosen.choice.remove.map((item) => nameItem(item));
    this.#options.emit({ kind: "prune-began", atMs: clock.nowMs(), trigger, chosen: told.slice(0, MOST_TOLD) });
    for (;;) {
      if (!(await this.#untilQuiet())) throw new Error("the agent had other work: the rest is for the next prune");
      // What is needed may have changed while this one waited or worked.
      if (this.#turn?.desired !== chosen.desired) chosen = await this.#choose(early);
      const item = chosen.choice.remove.find((entry) => !tried.has(nameItem(entry)));
      if (item === undefined) return;
      const name = nameItem(item);
      tried.add(name);
      const removal = await pruner.remove(item);
      if ("stays" in removal) {
        troubles.push(`${name}: ${removal.stays}`);
        continue;
      }
      if (item.kind === "build-cache" && removal.freedBytes === 0) continue;
      const gone: PrunedItem = { kind: item.kind, name, freedBytes: removal.freedBytes };
      removed.push(gone);
      this.#options.emit({ kind: "pruned", atMs: clock.nowMs(), trigger, item: gone });
    }
  }

  /** False once it has waited long enough, or the agent ends. */
  async #untilQuiet(): Promise<boolean> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + PATIENCE_MS;
    while (!this.#isQuiet || this.#findTrouble() !== undefined) {
      if (this.#closed || clock.monotonicMs() >= untilMs) return false;
      await new Promise<void>((resolve) => clock.after(QUIET_LOOK_MS, resolve));
    }
    return !this.#closed;
  }

  async #choose(early: boolean): Promise<{ choice: PruneChoice; desired: TurnSummary["desired"] }> {
    const desired = this.#turn?.desired;
    const { inventory, needs } = await this.#read(true);
    const ages = early ? EARLY_AGES : WEEKLY_AGES;
    const nowMs = this.#options.clock.nowMs();
    return { choice: choosePrune(inventory, needs, this.#memory.images, { nowMs, ages }), desired };
  }

  /** Reads the engine and what is needed of it, and remembers what is idle. Rejects where one of these cannot be known. */
  async #read(sizes: boolean): Promise<{ inventory: PruneInventory; needs: PruneNeeds }> {
    const { node, clock, pruner } = this.#options;
    const turn = this.#turn;
    if (turn?.desired === undefined) throw new Error("nothing was read from Git yet");
    const named = listNeeds({
      desired: turn.desired,
      views: turn.services,
      keeps: turn.keeps ?? [],
      listReleases: (service, most) => this.#options.listReleases(service, most),
      backupImages: await this.#options.listBackupImages(),
    });
    const images = new Map<string, ImageNeed>();
    for (const [reference, by] of named.images) {
      const id = await this.#options.findImage(reference);
      if (id !== undefined && !images.has(id)) images.set(id, by);
    }
    const inventory = { images: await pruner.readImages(sizes), containers: await pruner.readContainers(node) };
    const needs: PruneNeeds = { images, services: named.services };
    const names = new Set([...named.images.keys()].flatMap((reference) => nameTag(reference) ?? []));
    const remembered = rememberImages(this.#memory.images, inventory, { needs, names, nowMs: clock.nowMs() });
    this.#memory = { ...this.#memory, images: remembered };
    this.#rememberedMs = clock.monotonicMs();
    return { inventory, needs };
  }

  async #save(): Promise<void> {
    const { statePath, clock } = this.#options;
    await writePruneState(statePath, this.#memory).catch((error: unknown) => {
      const message = readMessage(error);
      this.#options.emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: `prune: ${message}` });
    });
  }
}

interface Carrying {
  trigger: PruneTrigger;
  early: boolean;
  removed: PrunedItem[];
  troubles: string[];
}

/** As people see it. */
function nameItem(item: PruneItem): string {
  switch (item.kind) {
    case "container":
      return item.name;
    case "image":
      return item.tags[0] ?? item.digests[0] ?? item.id;
    case "build-cache":
      return "build cache";
    default:
      return item satisfies never;
  }
}
