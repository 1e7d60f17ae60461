// Streams the log of one store, look by look: slot, receiver, base, in this order; then what is new is shipped. A log that is not the
// server's own any more is lost, which is told, and another one begins with a new base. Made by log-keeper.ts; decides nothing of what is
// kept.

import { rm } from "node:fs/promises";
import { join } from "node:path";

import type { RepositoryPlan, StorePlan, WalPlan } from "../../../shared/state/backup.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import type { OneShots } from "../../docker/one-shot.ts";
import type { Receivers } from "../../docker/receivers.ts";
import type { Clock } from "../../host/os/clock.ts";
import { askChild, askLight, type ChildParts } from "../ask-child.ts";
import type { ChildAnswer, RepositoryShipment } from "../backup-exchange.ts";
import type { StoreSource } from "../engines/store-engine.ts";
import type { OwnKey } from "../keeper/own-key.ts";
import type { RepositoryDesk } from "../keeper/repository-desk.ts";
import type { RepositoryPlace } from "../repository/repository-place.ts";
import { openSource } from "../store-source.ts";
import { BASE_AREA, readBaseRange } from "./core/choose-base.ts";
import { addMark, findBaseDue, findCaughtUp, findLogEnd, type WalMark } from "./core/judge-log.ts";
import { askLook, refuseServer, type WalLook } from "./core/wal-look.ts";
import { formatPosition, parsePosition } from "./core/wal-position.ts";
import { findOldest, findRoom, LogReceiver } from "./log-receiver.ts";
import { askServer, expectLook, NoServer } from "./wal-server.ts";
import type { LogMemory } from "./wal-state.ts";
import { makeDirectory } from "../../host/files/make-directory.ts";

/** What every stream of a node works with. */
export interface StreamParts extends ChildParts {
  clock: Clock;
  engine: { oneShots: OneShots; receivers: Receivers };
  desk: RepositoryDesk;
  identity: OwnKey;
  /** Runs a child beside one that dumps. */
  runLightChild: ChildParts["runChild"];
  /** Where what was received lies. */
  walDirectory: string;
  spoolBytes: number;
  signal: AbortSignal;
}

/** Where a stream's memory is kept. */
export interface LogNotebook {
  read(): LogMemory | undefined;
  /** On disk before it resolves. */
  write(memory: LogMemory | undefined): Promise<void>;
}

/** The server of a store, as it runs now. */
export interface LogServer {
  id: string;
  startedMs: number;
}

const PSQL_BYTES = 64 * 2 ** 20;
/** A receiver that is this far behind is behind. */
const CATCH_UP_MS = 200;
const CATCH_UP_TRIES = 3;

/** The stream of one store. */
export class LogStream {
  readonly #parts: StreamParts;
  readonly #notebook: LogNotebook;
  readonly #receiver: LogReceiver;
  #marks: WalMark[] = [];
  #basing: Promise<void> | undefined;
  /** Why what is to be shipped next is nowhere. */
  #broken: string | undefined;
  /** Why nothing is received, or not shipped somewhere. */
  trouble: string | undefined;

  constructor(parts: StreamParts, notebook: LogNotebook) {
    const { node, spoolBytes, memoryDirectory, engine } = parts;
    this.#parts = parts;
    this.#notebook = notebook;
    this.#receiver = new LogReceiver({ node, spoolBytes, memoryDirectory, receivers: engine.receivers });
  }

  /** True while a base is made. */
  get isBasing(): boolean {
    return this.#basing !== undefined;
  }

  /** One look, and what follows from it. Never throws. */
  async look(plan: StorePlan & { wal: WalPlan }, server: LogServer | undefined): Promise<void> {
    try {
      if (server === undefined) return await this.#receiver.stop();
      this.trouble = await this.#follow(plan, server);
    } catch (error) {
      // A server that starts or ends is looked at again: nothing of its log is lost by that.
      if (error instanceof NoServer && !error.isRefusal) return;
      this.trouble = readMessage(error);
      if (error instanceof NoServer) await this.#receiver.stop().catch(() => undefined);
    }
  }

  /** Waits for a base that is made; for the end of the agent. */
  async close(): Promise<void> {
    await this.#basing?.catch(() => undefined);
    await this.#receiver.stop().catch(() => undefined);
  }

  /** Its manifest does not ask for it any more: the server holds nothing for it from now on. Throws where that cannot be said to it. */
  async withdraw(plan: StorePlan, server: LogServer | undefined): Promise<void> {
    const log = this.#notebook.read();
    await this.#receiver.stop();
    if (log === undefined) return;
    if (server !== undefined) await askServer(await this.#openSource(plan, server), dropSlot(log.slot));
    await rm(join(this.#parts.walDirectory, log.directory), { recursive: true, force: true });
    await this.#notebook.write(undefined);
  }

  async #follow(plan: StorePlan & { wal: WalPlan }, server: LogServer): Promise<string | undefined> {
    const isRunning = await this.#receiver.isRunning(server);
    const atMs = this.#parts.clock.nowMs();
    const look = isRunning
      ? await this.#lookBeside(plan.wal.slot)
      : expectLook(await askServer(await this.#openSource(plan, server), askLook(plan.wal.slot)));
    const refusal = refuseServer(look, plan.wal.slot);
    if (refusal !== undefined) {
      await this.#letGo(plan, { server, look });
      return refusal;
    }
    const known = this.#notebook.read();
    const ended = known === undefined ? "" : (findLogEnd(known, look, plan.wal.slot) ?? this.#broken);
    if (ended !== undefined) return this.#begin(plan, { server, look, ended });
    const full = await this.#receive(plan, { server, look, isRunning });
    const troubles = [full, await this.#ship(plan, { look, atMs }), this.#baseIfDue(plan, server)];
    return troubles.find((text) => text !== undefined);
  }

  /** What was on the server's disk at the first look is waited for a little: the receiver has it some milliseconds later. */
  async #lookBeside(slot: string): Promise<WalLook> {
    const first = expectLook(await this.#receiver.ask(askLook(slot)));
    let last = first;
    for (let tries = 0; tries < CATCH_UP_TRIES && isBehind(last, first); tries += 1) {
      await new Promise<void>((resolve) => this.#parts.clock.after(CATCH_UP_MS, resolve));
      last = expectLook(await this.#receiver.ask(askLook(slot)));
    }
    return { ...last, flushed: first.flushed };
  }

  /** No slot may stay where nothing bounds it. */
  async #letGo(plan: StorePlan, { server, look }: { server: LogServer; look: WalLook }): Promise<void> {
    await this.#receiver.stop();
    const log = this.#notebook.read();
    if (log !== undefined && look.slot?.isPhysical === true)
      await askServer(await this.#openSource(plan, server), dropSlot(log.slot));
  }

  /** A new slot and a new directory; the receiver comes with the next look, and the base once it receives. */
  async #begin(
    plan: StorePlan & { wal: WalPlan },
    { server, look, ended }: { server: LogServer; look: WalLook; ended: string },
  ): Promise<string | undefined> {
    const { clock, walDirectory } = this.#parts;
    const { slot } = plan.wal;
    await this.#receiver.stop();
    const known = this.#notebook.read();
    const source = await this.#openSource(plan, server);
    if (known !== undefined && known.slot !== slot) await askServer(source, dropSlot(known.slot));
    // One that nobody remembers may hold what is long gone, and one that was lost holds nothing.
    if (look.slot !== undefined) await askServer(source, dropSlot(slot));
    await askServer(source, `select pg_create_physical_replication_slot('${slot}', true)`);
    const nowMs = clock.nowMs();
    const directory = `${plan.service}.${plan.store}.${nowMs}`;
    await makeDirectory(join(walDirectory, directory), 0o700);
    const { systemId, timeline, segmentBytes } = look;
    const { user, password, databases } = plan.source;
    this.#marks = [];
    this.#broken = undefined;
    await this.#notebook.write({
      systemId,
      timeline,
      segmentBytes,
      slot,
      directory,
      beganMs: nowMs,
      user,
      ...(password === undefined ? {} : { password }),
      ...(databases === undefined ? {} : { databases: [...databases] }),
      shipped: {},
      caughtUpMs: {},
      ...(ended === "" ? {} : { lost: { why: ended, atMs: nowMs } }),
    });
    if (known !== undefined) await rm(join(walDirectory, known.directory), { recursive: true, force: true });
    return this.#receive(plan, { server, look: { ...look, slot: undefined }, isRunning: false });
  }

  /** Has it received; answers why that cannot be. */
  async #receive(
    plan: StorePlan & { wal: WalPlan },
    { server, look, isRunning }: { server: LogServer; look: WalLook; isRunning: boolean },
  ): Promise<string | undefined> {
    const log = this.#expect();
    const directory = join(this.#parts.walDirectory, log.directory);
    await makeDirectory(directory, 0o700);
    if (isRunning) {
      // The bound that it was started with is its own; the disk is everybody's.
      if ((await findRoom(directory, this.#parts.spoolBytes)) > -log.segmentBytes) return undefined;
      await this.#receiver.stop();
      return "the receiver was stopped: less than a tenth of the disk is free where what it receives waits";
    }
    const settings = this.#readSettings(plan);
    return this.#receiver.start({
      key: `${plan.service}/${plan.store}`,
      server,
      image: await this.#findImage(plan, server),
      settings,
      slot: plan.wal.slot,
      segmentBytes: log.segmentBytes,
      directory,
      begin: look.slot?.received ?? look.flushed,
    });
  }

  async #ship(plan: StorePlan, { look, atMs }: { look: WalLook; atMs: number }): Promise<string | undefined> {
    const log = this.#expect();
    const directory = join(this.#parts.walDirectory, log.directory);
    const first = log.first ?? (await this.#findFirst(directory, log));
    const received = look.slot?.received;
    if (first === undefined || received === undefined) return undefined;
    this.#marks = addMark(this.#marks, { atMs, flushed: look.flushed });
    const shipped = (name: string): string => log.shipped[name] ?? first;
    const behind = plan.repositories.filter(({ name }) => (parsePosition(shipped(name)) ?? 0n) < received);
    const shipments = behind.length === 0 ? [] : await this.#send(plan, { log, behind, shipped, received });
    if (typeof shipments === "string") return shipments;
    const now = new Map(plan.repositories.map(({ name }) => [name, shipped(name)] as const));
    for (const shipment of shipments) now.set(shipment.repository, shipment.shipped);
    await this.#note(first, now, shipments);
    await this.#noteBroken(shipments, { log, lagging: behind.length < plan.repositories.length });
    const failed = shipments.find(({ reason }) => reason !== undefined);
    return failed === undefined ? undefined : `${failed.repository}: ${failed.reason}`;
  }

  /** What lies there first is what was received first. */
  async #findFirst(directory: string, log: LogMemory): Promise<string | undefined> {
    const oldest = await findOldest(directory, log.segmentBytes);
    return oldest === undefined ? undefined : formatPosition(oldest);
  }

  async #send(
    plan: StorePlan,
    {
      log,
      behind,
      shipped,
      received,
    }: { log: LogMemory; behind: readonly RepositoryPlan[]; shipped: (name: string) => string; received: bigint },
  ): Promise<RepositoryShipment[] | string> {
    const { desk, identity, node, walDirectory, program, runLightChild, signal } = this.#parts;
    if (plan.recipients.length > 0) await identity.ensure();
    const placed = behind.map((repository) => ({ repository, place: desk.resolve(repository, plan) }));
    const refused = placed.flatMap(({ repository: { name }, place }): RepositoryShipment[] =>
      typeof place === "string" ? [{ repository: name, shipped: shipped(name), reason: place }] : [],
    );
    const repositories = placed.flatMap(({ repository: { name }, place }) =>
      typeof place === "string" ? [] : [{ place: place satisfies RepositoryPlace, shipped: shipped(name) }],
    );
    // What one does not have must not go from here because the others have it.
    const holdBack = plan.repositories
      .filter(({ name }) => !repositories.some(({ place }) => place.name === name))
      .map(({ name }) => shipped(name));
    const { systemId, timeline, segmentBytes } = log;
    const answer = await askLight({ program, runChild: runLightChild }, signal, {
      kind: "ship",
      folder: { node, service: plan.service, store: plan.store },
      log: { systemId, timeline, segmentBytes },
      directory: join(walDirectory, log.directory),
      received: formatPosition(received),
      repositories,
      holdBack,
      lenders: plan.repositories.flatMap((repository) => {
        const place = desk.resolve(repository, plan);
        return typeof place === "string" ? [] : [place];
      }),
      minSuccess: plan.minSuccess,
      spoolBytes: this.#parts.spoolBytes,
      recipients: identity.listRecipients(plan),
    });
    if (answer.kind === "shipped") return [...refused, ...answer.repositories];
    return answer.kind === "failed" ? `nothing of the log was shipped: ${answer.reason}` : "the child gave no answer";
  }

  /**
   * What one repository needs next is nowhere any more. Where others go on, that one has a gap and goes on after it, with the next base;
   * where none does, the log is lost.
   */
  async #noteBroken(
    shipments: readonly RepositoryShipment[],
    { log, lagging }: { log: LogMemory; lagging: boolean },
  ): Promise<void> {
    const broken = shipments.filter(({ isBroken }) => isBroken === true);
    const [first] = broken;
    if (first === undefined) return;
    if (!lagging && broken.length === shipments.length) {
      this.#broken = first.reason;
      return;
    }
    const now = this.#expect();
    const [gaps, shipped] = [{ ...log.gaps }, { ...now.shipped }];
    for (const { repository, shipped: from, oldest: to } of broken) {
      if (to === undefined) continue;
      gaps[repository] = { from, to };
      shipped[repository] = to;
    }
    await this.#notebook.write({ ...now, gaps, shipped });
  }

  async #note(
    first: string,
    shipped: ReadonlyMap<string, string>,
    shipments: readonly RepositoryShipment[],
  ): Promise<void> {
    const log = this.#expect();
    const caughtUpMs = { ...log.caughtUpMs };
    for (const [name, text] of shipped) {
      const caughtUp = findCaughtUp(this.#marks, parsePosition(text) ?? 0n);
      if (caughtUp !== undefined) caughtUpMs[name] = caughtUp;
    }
    const unindexed = { ...log.unindexed };
    for (const { repository, stored } of shipments)
      if (stored !== undefined) unindexed[repository] = [...(unindexed[repository] ?? []), ...stored];
    const { lost, ...rest } = { ...log, unindexed, first, shipped: Object.fromEntries(shipped), caughtUpMs };
    const stop = parsePosition(log.base?.stop ?? "");
    const isWhole = stop !== undefined && [...shipped.values()].every((text) => (parsePosition(text) ?? 0n) >= stop);
    await this.#notebook.write({ ...rest, ...(lost === undefined || isWhole ? {} : { lost }) });
  }

  /** Begins one where it is due; what is shipped goes on meanwhile. */
  #baseIfDue(plan: StorePlan & { wal: WalPlan }, server: LogServer): undefined {
    const log = this.#expect();
    const nowMs = this.#parts.clock.nowMs();
    if (this.#basing !== undefined || log.first === undefined || findBaseDue(log, plan, nowMs) > nowMs) return;
    this.#basing = this.#makeBase(plan, { server, log })
      .catch(() => undefined)
      .finally(() => (this.#basing = undefined));
  }

  async #makeBase(
    plan: StorePlan & { wal: WalPlan },
    { server, log }: { server: LogServer; log: LogMemory },
  ): Promise<void> {
    const { desk, identity, signal, clock } = this.#parts;
    if (plan.recipients.length > 0) await identity.ensure();
    const placed = plan.repositories.map((repository) => desk.resolve(repository, plan));
    const repositories = placed.filter((place) => typeof place !== "string");
    const answer: ChildAnswer =
      repositories.length === 0
        ? { kind: "failed", reason: placed.find((place) => typeof place === "string") ?? "no repository is named" }
        : await askChild(this.#parts, signal, {
            kind: "make",
            plan: { ...plan, engine: "postgres-base", source: { ...plan.source, hooks: { before: [], after: [] } } },
            trigger: "schedule",
            container: { id: server.id, isStopped: false, address: undefined },
            repositories,
            recipients: identity.listRecipients(plan),
            identities: identity.listOpening(plan),
            maker: identity.recipient,
            checkOnly: false,
            area: BASE_AREA,
          });
    if (signal.aborted) return;
    desk.forget({ ...plan, area: BASE_AREA });
    const now = this.#notebook.read();
    // Another log has begun meanwhile: the base is none of it.
    if (now === undefined || now.directory !== log.directory) return;
    await this.#notebook.write({ ...now, ...noteBase(now, answer), baseTriedMs: clock.nowMs() });
  }

  #expect(): LogMemory {
    const log = this.#notebook.read();
    if (log === undefined) throw new Error("no log was begun");
    return log;
  }

  #readSettings({ source }: StorePlan): StoreSource["settings"] {
    const { user, databases, command, exec, volumes, minBytes, password: path } = source;
    const secret = path === undefined ? undefined : this.#parts.readSecret(path);
    if (secret !== undefined && "reason" in secret) throw new Error(`the secret ${path}: ${secret.reason}`);
    return { user, databases, command, exec, volumes, minBytes, password: secret?.value, passwordPath: path };
  }

  async #findImage({ source }: StorePlan, server: LogServer): Promise<string> {
    return source.image ?? (await this.#parts.engine.oneShots.findImage(server.id));
  }

  async #openSource(plan: StorePlan, server: LogServer): Promise<StoreSource> {
    const { node, memoryDirectory, engine } = this.#parts;
    return openSource(
      {
        folder: { node, service: plan.service, store: plan.store },
        settings: this.#readSettings(plan),
        container: server.id,
        memoryBytes: PSQL_BYTES,
        memoryDirectory,
        isStopped: false,
        binds: [],
      },
      await this.#findImage(plan, server),
      engine.oneShots,
    );
  }
}

function isBehind({ slot }: WalLook, { flushed }: WalLook): boolean {
  return slot?.isActive === true && (slot.received ?? 0n) < flushed;
}

/** What a base, or none, changes in what is remembered. */
function noteBase(log: LogMemory, answer: ChildAnswer): Pick<LogMemory, "base" | "baseReason"> {
  const range = answer.kind === "made" ? readBaseRange(answer.record) : undefined;
  if (answer.kind !== "made" || range === undefined) {
    const baseReason = answer.kind === "failed" ? answer.reason : "the base does not say what it needs of the log";
    return { baseReason };
  }
  if (range.timeline !== log.timeline || range.systemId !== log.systemId)
    return { baseReason: "the base is of other data than the log" };
  const { name, startedMs, endedMs } = answer.record;
  const has = answer.repositories.filter(({ reason }) => reason === undefined).map(({ repository }) => repository);
  const [start, stop] = [formatPosition(range.start), formatPosition(range.stop)];
  return { base: { name, startedMs, endedMs, start, stop, repositories: has }, baseReason: undefined };
}

/** By its name, and only a physical one: nobody else's is dropped. */
function dropSlot(slot: string): string {
  return `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${slot}' and slot_type = 'physical'`;
}
