// Holds a log against what lies in the repositories: what is missing there, and what nobody needs any more: pieces of segments that are there
// whole, bases that are older than the window and the log before the oldest that stays. Called by log-keeper.ts once an hour.

import type { StorePlan, WalPlan } from "../../../shared/state/backup.ts";
import { askLight, type ChildParts } from "../ask-child.ts";
import type { ExpireRequest } from "../backup-exchange.ts";
import { findFault } from "../core/backup-record.ts";
import { RECORD_ENDING } from "../core/backup-name.ts";
import type { RepositoryDesk } from "../keeper/repository-desk.ts";
import type { StoreFolder } from "../repository/repository-port.ts";
import { BASE_AREA, followBase, nameLogArea, planWalExpiry } from "./core/choose-base.ts";
import { findGaps, listSparePieces, listWalObjects } from "./core/wal-object.ts";
import { formatPosition, parsePosition } from "./core/wal-position.ts";
import type { LogMemory } from "./wal-state.ts";

/** What it works with. */
interface CheckParts extends Pick<ChildParts, "program" | "runChild"> {
  desk: RepositoryDesk;
  node: string;
  signal: AbortSignal;
}

/** Looks into every repository, and removes what may go. A repository that does not answer is left out: its shipments say so. */
export async function checkLog(
  { desk, node, signal, ...child }: CheckParts,
  plan: StorePlan & { wal: WalPlan },
  { log, nowMs }: { log: LogMemory; nowMs: number },
): Promise<Pick<LogMemory, "gaps">> {
  const gaps: NonNullable<LogMemory["gaps"]> = {};
  const area = nameLogArea(log);
  const folder: StoreFolder = { node, service: plan.service, store: plan.store };
  for (const repository of plan.repositories) {
    desk.forget({ ...plan, area });
    const [stored, bases] = [
      await desk.list(repository, { ...plan, area }),
      await desk.list(repository, { ...plan, area: BASE_AREA }),
    ];
    if ("reason" in stored || "reason" in bases) continue;
    const objects = listWalObjects(stored.list.strange, log.segmentBytes);
    const shipped = parsePosition(log.shipped[repository.name] ?? "");
    const own = bases.list.records.filter(({ files }) => files[0]?.facts?.wal !== undefined);
    const followed = new Map(own.map((record) => [record.name, followBase(record, objects)]));
    const complete = new Set([...followed].flatMap(([name, found]) => (found?.isComplete === true ? [name] : [])));
    const expiry = planWalExpiry(own, { complete, windowMs: plan.wal.windowMs, nowMs, ...log });
    const from = parsePosition(log.base?.start ?? "");
    const [gap] =
      from === undefined || shipped === undefined || shipped <= from ? [] : findGaps(objects, { from, to: shipped });
    // What a proof has found at fault is not whole, whatever the names say.
    const spoiled = findFault(own.find(({ name }) => name === log.base?.name));
    if (spoiled !== undefined && shipped !== undefined)
      gaps[repository.name] = { from: spoiled.reach ?? log.base?.start ?? "", to: formatPosition(shipped) };
    else if (gap !== undefined) gaps[repository.name] = { from: formatPosition(gap.from), to: formatPosition(gap.to) };
    const { before } = expiry;
    const old = before === undefined ? [] : objects.filter(({ to }) => to <= before).map(({ name }) => name);
    const spare = [...new Set([...listSparePieces(objects, log.segmentBytes), ...old])];
    const goneBases = own
      .filter(({ name }) => expiry.bases.includes(name))
      .flatMap(({ name, files }) => [...files.map(({ file }) => file), `${name}${RECORD_ENDING}`]);
    const place = desk.resolve(repository, plan, "prune");
    if (typeof place === "string" || spare.length + goneBases.length === 0) continue;
    const request: ExpireRequest = {
      kind: "expire",
      repository: place,
      folders: [
        { folder: { ...folder, area }, names: spare },
        { folder: { ...folder, area: BASE_AREA }, names: goneBases },
      ],
    };
    await askLight(child, signal, request);
    desk.forget({ ...plan, area });
    desk.forget({ ...plan, area: BASE_AREA });
  }
  return { gaps };
}
