// Which backup a restore takes, what its new volume is called, and what it does step by step. Pure.

import { listSwitches, type RestoreOrder, type RestorePlan } from "../../../shared/state/restore.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { type BackupRecord, isComplete, isVerified } from "../core/backup-record.ts";

/**
 * The backup that an order asks for, or why there is none: the newest verified one; at a time, the newest that is not after it. One
 * that is bad, set aside or about to go is taken only by its name.
 * @param newestFirst what the store has
 */
export function chooseBackup(
  newestFirst: readonly BackupRecord[],
  { service, store, backup, atMs }: RestoreOrder,
): BackupRecord | string {
  const place = `${service}/${store}`;
  if (backup !== undefined) {
    const named = newestFirst.find(({ name }) => name === backup);
    return named ?? `${place} has no backup ${backup}: orca backup list ${service} names them`;
  }
  const good = newestFirst.filter(isComplete);
  if (atMs !== undefined) {
    const before = good.find(({ startedMs }) => startedMs <= atMs);
    return before ?? `${place} has no backup from ${new Date(atMs).toISOString()} or before`;
  }
  const verified = good.find(isVerified);
  if (verified !== undefined) return verified;
  const [newest] = good;
  if (newest === undefined) return `${place} has no backup that can be restored`;
  return (
    `no backup of ${place} is verified: orca backup verify ${service} proves the newest one, and ` +
    `--backup ${newest.name} restores it as it is`
  );
}

/** The name of the next generation of a volume: one that nothing has yet. */
export function nameGeneration(volume: string, taken: readonly string[]): string {
  for (let number = 2; ; number += 1) {
    const name = `${volume}.r${number}`;
    if (!taken.includes(name)) return name;
  }
}

/**
 * Everything that is done, in order.
 * @param image the image's name; the plan has its id
 * @param sharers other services that have one of the volumes
 */
export function describeSteps(
  plan: Omit<RestorePlan, "steps">,
  image: string,
  sharers: readonly string[] = [],
): string[] {
  const { service, backup, storedBytes, needBytes, freeBytes } = plan;
  const free = freeBytes === undefined ? "" : ` of ${describeSize(freeBytes)} that are free`;
  const volumes = listSwitches(plan);
  const [to, from] = [volumes.map((entry) => entry.to).join(" and "), volumes.map((entry) => entry.from).join(" and ")];
  const noun = volumes.length === 1 ? "volume" : "volumes";
  return [
    `make the ${noun} ${volumes.map((entry) => `${entry.to} beside ${entry.from}`).join(" and ")}: about ${describeSize(needBytes)}${free}`,
    ...(plan.memoryBytes === 0
      ? [`unpack ${backup} (${describeSize(storedBytes)}) into ${to}, and look into it; ${service} runs on meanwhile`]
      : [
          `start a throw-away server of ${image} without a network on ${to} at ${plan.target}, capped at ${describeSize(plan.memoryBytes)}; ${service} runs on meanwhile`,
          ...describeFilling(plan),
        ]),
    `stop ${service}, and start it in a new container with ${to}`,
    ...sharers.map((name) => `${name} has that volume too, and gets a new container as well`),
    `wait until ${service} is healthy; if it is not in its time, it gets ${from} back`,
    `keep ${from}: docker volume rm ${volumes.map((entry) => entry.from).join(" ")} removes it once nobody needs it`,
  ];
}

function describeFilling({ backup, storedBytes, moment }: Omit<RestorePlan, "steps">): string[] {
  const size = describeSize(storedBytes);
  if (moment === undefined)
    return [`restore ${backup} into it (${size}), look into it as a verification does, and end it cleanly`];
  const at = new Date(moment.atMs).toISOString();
  return [
    `unpack ${backup} into it (${size}), fetch the log since, and replay that to ${at} on timeline ${moment.timeline}`,
    "end it cleanly once it has come there, or to the end of what is stored: it says to which commit",
  ];
}

/** Each backup once, as verified as any repository has it; the newest first. */
export function mergeSources(sources: readonly (readonly BackupRecord[])[]): BackupRecord[] {
  const merged = new Map<string, BackupRecord>();
  for (const record of sources.flat()) {
    const known = merged.get(record.name);
    if (known === undefined || (!isVerified(known) && isVerified(record))) merged.set(record.name, record);
  }
  return [...merged.values()].toSorted((one, other) => other.startedMs - one.startedMs);
}
