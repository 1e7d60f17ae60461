// Holds a log against what lies in the repositories: what is missing there, and what nobody needs any more: pieces of segments that are there
// whole, bases that are older than the window and the log before the oldest that stays. Called by log-keeper.ts once an hour.

import type { RepositoryPlan, StorePlan, WalPlan } from "../../../shared/state/backup.ts";
import { askLight, type ChildParts } from "../ask-child.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import { type BackupRecord, findFault } from "../core/backup-record.ts";
import type { RepositoryDesk } from "../keeper/repository-desk.ts";
import { BASE_AREA, followBase, nameLogArea, planWalExpiry } from "./core/choose-base.ts";
import { findGaps, listSparePieces, listWalObjects, type WalObject } from "./core/wal-object.ts";
import { formatPosition, parsePosition, type WalPosition } from "./core/wal-position.ts";
import type { IndexedLog } from "./log-index.ts";
import type { LogMemory } from "./wal-state.ts";

/** What it works with. */
interface CheckParts extends Pick<ChildParts, "program" | "runChild"> {
  desk: RepositoryDesk;
  node: string;
  signal: AbortSignal;
  /** Whose keys the index is written with and read by. */
  keys: { recipients: readonly string[]; identities: readonly string[] };
}

type StreamedPlan = StorePlan & { wal: WalPlan };

/** What was found of a log. */
interface CheckedLog {
  gaps: NonNullable<LogMemory["gaps"]>;
  /** `REPOSITORY NAME` of objects that an index has now. */
  indexed: ReadonlySet<string>;
}

/** Looks into every repository, and removes what may go. A repository that does not answer is left out: its shipments say so. */
export async function checkLog(
  parts: CheckParts,
  plan: StreamedPlan,
  { log, nowMs }: { log: LogMemory; nowMs: number },
): Promise<CheckedLog> {
  const gaps: CheckedLog["gaps"] = {};
  const indexed = new Set<string>();
  const { desk } = parts;
  const area = nameLogArea(log);
  for (const repository of plan.repositories) {
    desk.forget({ ...plan, area });
    const [stored, bases] = [
      await desk.list(repository, { ...plan, area }),
      await desk.list(repository, { ...plan, area: BASE_AREA }),
    ];
    if ("reason" in stored || "reason" in bases) continue;
    const objects = listWalObjects(stored.list.strange, log.segmentBytes);
    const own = bases.list.records.filter(({ files }) => files[0]?.facts?.wal !== undefined);
    const followed = new Map(own.map((record) => [record.name, followBase(record, objects)]));
    const complete = new Set([...followed].flatMap(([name, found]) => (found?.isComplete === true ? [name] : [])));
    const expiry = planWalExpiry(own, { complete, windowMs: plan.wal.windowMs, nowMs, ...log });
    const { before } = expiry;
    const old = before === undefined ? [] : objects.filter(({ to }) => to <= before).map(({ name }) => name);
    const spare = [...new Set([...listSparePieces(objects, log.segmentBytes), ...old])];
    const index = await writeIndex(parts, { plan, repository, log }, { names: spare, before });
    for (const name of index?.added ?? []) indexed.add(`${repository.name} ${name}`);
    const gap = findGap({ own, objects, log, repository }) ?? index?.lost;
    if (gap !== undefined) gaps[repository.name] = gap;
    const goneBases = own
      .filter(({ name }) => expiry.bases.includes(name))
      .flatMap(({ name, files }) => [...files.map(({ file }) => file), `${name}${RECORD_ENDING}`]);
    await expire(
      parts,
      { plan, repository, log },
      { [area]: [...spare, ...(index?.spent ?? [])], [BASE_AREA]: goneBases },
    );
  }
  return { gaps, indexed };
}

/** One repository's part of a log. */
interface LogPart {
  plan: StreamedPlan;
  repository: RepositoryPlan;
  log: LogMemory;
}

/** What is missing between the newest base and what was shipped; what a proof has found at fault is not whole, whatever the names say. */
function findGap({
  own,
  objects,
  log,
  repository,
}: {
  own: readonly BackupRecord[];
  objects: readonly WalObject[];
  log: LogMemory;
  repository: RepositoryPlan;
}): { from: string; to: string } | undefined {
  const [from, to] = [log.base?.start ?? "", log.shipped[repository.name] ?? ""].map((text) => parsePosition(text));
  if (from === undefined || to === undefined || to <= from) return undefined;
  const fault = findFault(own.find(({ name }) => name === log.base?.name));
  if (fault !== undefined) return { from: fault.reach ?? formatPosition(from), to: formatPosition(to) };
  const [gap] = findGaps(objects, { from, to });
  return gap && { from: formatPosition(gap.from), to: formatPosition(gap.to) };
}

/** Has the index written, before what it does not name any more goes; undefined where that cannot be. */
async function writeIndex(
  { desk, node, signal, keys, ...child }: CheckParts,
  { plan, repository, log }: LogPart,
  { names, before }: { names: readonly string[]; before: WalPosition | undefined },
): Promise<(IndexedLog & { added: string[] }) | undefined> {
  const place = desk.resolve(repository, plan);
  if (typeof place === "string") return undefined;
  const add = log.unindexed?.[repository.name] ?? [];
  const answer = await askLight(child, signal, {
    kind: "index",
    repository: place,
    folder: { node, service: plan.service, store: plan.store, area: nameLogArea(log) },
    segmentBytes: log.segmentBytes,
    add,
    drop: { names, before: before === undefined ? undefined : formatPosition(before) },
    ...keys,
  });
  return answer.kind === "indexed" ? { ...answer, added: add.map(({ name }) => name) } : undefined;
}

/** Removes what may go, with the key that may. */
async function expire(
  { desk, node, signal, keys: _keys, ...child }: CheckParts,
  { plan, repository }: LogPart,
  areas: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  const place = desk.resolve(repository, plan, "prune");
  if (typeof place === "string" || Object.values(areas).every((names) => names.length === 0)) return;
  const { service, store } = plan;
  const folders = Object.entries(areas).map(([area, names]) => ({ folder: { node, service, store, area }, names }));
  await askLight(child, signal, { kind: "expire", repository: place, folders });
  for (const area of Object.keys(areas)) desk.forget({ ...plan, area });
}
