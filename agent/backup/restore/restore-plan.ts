// What a restore would do here and now: which backup, into which volume, with which image, and whether there is room for it. Looks, and
// changes nothing.

import { freemem } from "node:os";
import { statfs } from "node:fs/promises";

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { DesiredService } from "../../../shared/state/desired-state.ts";
import type { ObservedContainer } from "../../../shared/state/observed-state.ts";
import {
  listSwitches,
  type PlannedVolume,
  type RestoreMoment,
  type RestoreOrder,
  type RestorePlan,
} from "../../../shared/state/restore.ts";
import { describeSize } from "../../../shared/text/size.ts";
import type { DockerReader } from "../../docker/reader.ts";
import type { ContainerShape, Restores } from "../../docker/restores.ts";
import type { BackupRecord } from "../core/backup-record.ts";
import { isVerified } from "../core/backup-record.ts";
import { sumPlain, sumStored } from "../core/size-envelope.ts";
import { describeUnplaced, findDataVolumes, findPlaceKind } from "./data-places.ts";
import { chooseBackup, describeSteps, nameGeneration } from "./restore-choice.ts";

/** What is asked of the engine. */
export interface PlanEngine {
  reader: Pick<DockerReader, "info" | "findImage" | "inspectVolume" | "listGenerations">;
  restores: Pick<Restores, "readShape">;
}

/** What is known of the service. */
export interface PlanSubject {
  node: string;
  plan: StorePlan;
  service: DesiredService;
  container: ObservedContainer;
  /** Every service that is in force. */
  others: readonly DesiredService[];
  /** Newest first. */
  records: readonly BackupRecord[];
  /** Of a base: up to when the log since is replayed. */
  moment?: RestoreMoment | undefined;
}

/** A plan with what carries it out. */
export interface FoundPlan {
  plan: RestorePlan;
  record: BackupRecord;
}

/** The child beside the server. */
const CHILD_BYTES = 96 * 2 ** 20;

/** Plans a restore; a text says why there is none. */
export async function planRestore(
  engine: PlanEngine,
  subject: PlanSubject,
  order: RestoreOrder,
): Promise<FoundPlan | string> {
  const { plan, service, container, records } = subject;
  const record = chooseBackup(records, order);
  // What cannot be restored into place is told first: no other backup of it could.
  if (findPlaceKind(plan.engine) === undefined) {
    const shown = typeof record === "string" ? records[0] : record;
    return describeByHand(service.name, describeUnplaced(plan), shown);
  }
  if (typeof record === "string") return record;
  const shape = await engine.restores.readShape(container.id);
  if (shape === undefined) return `the container of ${service.name} is gone: try again when it is there`;
  if ((await engine.reader.findImage(shape.image)) === undefined)
    return `the image of ${service.name} is not on this host any more: its server cannot be made`;
  const volumes = await planVolumes(engine, { ...subject, shape, record });
  // What a person does in its place is said with it.
  if (typeof volumes === "string") return describeByHand(service.name, volumes, record);
  const { also, ...first } = volumes;
  const { room, runsServer } = findPlaceKind(plan.engine) ?? { room: { factor: 1, bytes: 0 }, runsServer: false };
  const found = {
    service: plan.service,
    store: plan.store,
    backup: record.name,
    backupMs: record.startedMs,
    verified: isVerified(record),
    ...(subject.moment === undefined ? {} : { moment: subject.moment }),
    storedBytes: sumStored(record),
    ...first,
    also,
    image: shape.image,
    needBytes: Math.ceil(sumPlain(record) * room.factor) + room.bytes,
    freeBytes: await readFree(engine),
    memoryBytes: runsServer ? plan.source.memoryBytes : 0,
  };
  const trouble = findShortage(found);
  if (trouble !== undefined) return trouble;
  return { plan: { ...found, steps: describeSteps(found, container.image, listSharers(subject, found)) }, record };
}

/** Why there is no restore into place, and how a person does it. */
function describeByHand(service: string, why: string, record: BackupRecord | undefined): string {
  const refusal = `${service} cannot be restored into place: ${why}`;
  return record === undefined ? refusal : [`${refusal}. Without Orca:`, ...record.restoreWith].join("\n  ");
}

/** Each volume with its data, and the generation that it gets; a text says why there is none. */
async function planVolumes(
  engine: PlanEngine,
  { node, plan, service, shape, record }: PlanSubject & { shape: ContainerShape; record: BackupRecord },
): Promise<(PlannedVolume & { also: PlannedVolume[] }) | string> {
  const data = findDataVolumes({ shape, plan, record });
  if (typeof data === "string") return data;
  const taken = (await engine.reader.listGenerations(node)).map(({ name }) => name);
  const planned: PlannedVolume[] = [];
  for (const { target } of data) {
    const mount = (service.spec.volumes ?? []).find((volume) => volume.target === target);
    if (mount?.name === undefined) return `[[volumes]] of its manifest does not have ${target}`;
    const volume = mount.of ?? mount.name;
    const to = await findFree(engine, volume, taken);
    planned.push({ volume, from: mount.name, to, target });
  }
  const [first, ...also] = planned;
  return first === undefined ? "the backup holds no volume" : { ...first, also };
}

/** Other services that have one of these volumes: they get the new one too. */
function listSharers({ service, others }: PlanSubject, plan: Omit<RestorePlan, "steps">): string[] {
  const volumes = new Set(listSwitches(plan).map(({ volume }) => volume));
  return others
    .filter(({ name }) => name !== service.name)
    .filter(({ spec }) =>
      (spec.volumes ?? []).some(({ name, of: base = name }) => base !== undefined && volumes.has(base)),
    )
    .map(({ name }) => name);
}

function findShortage({ needBytes, freeBytes, memoryBytes }: Omit<RestorePlan, "steps">): string | undefined {
  if (freeBytes !== undefined && freeBytes < needBytes)
    return `the restore takes about ${describeSize(needBytes)}, and ${describeSize(freeBytes)} are free where the engine keeps volumes`;
  const memory = memoryBytes + CHILD_BYTES;
  if (freemem() < memory)
    return `the restore takes up to ${describeSize(memory)} of memory beside what runs, and ${describeSize(freemem())} are free`;
  return undefined;
}

/** A name that no volume of this engine has, whoever made it. */
async function findFree(engine: PlanEngine, volume: string, taken: readonly string[]): Promise<string> {
  const known = [...taken];
  for (;;) {
    const name = nameGeneration(volume, known);
    if ((await engine.reader.inspectVolume(name)) === undefined) return name;
    known.push(name);
  }
}

/** Undefined where the engine's files are not this host's. */
async function readFree({ reader }: PlanEngine): Promise<number | undefined> {
  try {
    const { rootDir } = await reader.info();
    const { bavail, bsize } = await statfs(rootDir);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
