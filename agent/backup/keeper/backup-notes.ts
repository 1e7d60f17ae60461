// What status says of backups that are not as they should be: a run that made none, a proof that failed, and a newest backup that is
// older than the manifest promises, which counts although no run ever began. Pure.

import type { StorePlan } from "../../../shared/state/backup.ts";
import { isBroken, measureAge } from "../../../shared/state/promise.ts";
import type { Note } from "../../../shared/state/note.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import type { StoreMemory } from "./backup-state.ts";
import { describeOtherMaker } from "../core/other-maker.ts";
import { listStandings } from "../core/store-standing.ts";

/** The notes of one store; none while all is well. */
export function noteStore(plan: StorePlan, memory: StoreMemory | undefined, nowMs: number): Note[] {
  const store = `${plan.service}/${plan.store}`;
  const { lastRun, lastVerify, lastBaseVerify } = memory ?? {};
  const notes: Note[] = [];
  const note = (what: string, text: string): number => notes.push({ name: `backup ${store} ${what}`, text });
  if (lastRun?.reason !== undefined)
    note("failed", `the last run made no backup of ${store}: ${lastRun.reason}: see orca help backup`);
  if (lastVerify?.verdict === "bad")
    note(
      "bad",
      `the backup ${lastVerify.backup} of ${store} cannot be restored: ${lastVerify.detail}: see orca help backup`,
    );
  if (plan.wal !== undefined && lastBaseVerify?.verdict === "bad")
    note(
      "bad base",
      `the base ${lastBaseVerify.backup} of ${store} cannot be restored with all of its log: ${lastBaseVerify.detail}: see orca help wal`,
    );
  if (lastRun?.hooks !== undefined)
    note("hooks", `the last backup of ${store} was made, and a hook failed: ${lastRun.hooks}`);
  const aside = findSetAside(memory);
  if (aside !== undefined)
    note(
      "quarantined",
      `the backup ${aside.backup} of ${store} is set aside: ${aside.reason}: ${sayAccept(plan, aside.backup)}`,
    );
  notes.push(...noteRepositories(plan, memory));
  // Of a store whose log is streamed the log says how old it is (wal/log-keeper.ts).
  const standings = plan.wal === undefined ? listStandings(plan, memory, { trouble: undefined, nowMs }) : [];
  for (const standing of standings) {
    const { rpoMs, newestMs, repository } = standing;
    if (rpoMs === undefined || !isBroken(standing, nowMs)) continue;
    const age = describeDuration(measureAge(standing, nowMs));
    const where = plan.repositories.length > 1 ? ` in ${repository}` : "";
    const what =
      newestMs === undefined
        ? `there is no good backup of ${store}${where} since ${age}`
        : `the newest good backup of ${store}${where} is ${age} old`;
    note(`old${where}`, `${what}, and its manifest promises one of ${describeDuration(rpoMs)} (slo.rpo)`);
  }
  return notes;
}

function describeForeign({ count, backup }: { count: number; backup: string }, store: string): string {
  return (
    `${describeCount(count, "backup")} of ${store} (the newest is ${backup}) by a machine that has lost this node's place: ` +
    `it was cut off and wrote on; nothing counts, restores or removes them: see orca help recover`
  );
}

/** The newest that lies there counts, also after a run that made none; before anybody has looked, what the last run said. */
function findSetAside(memory: StoreMemory | undefined): { backup: string; reason: string } | undefined {
  const { lastRun, setAside } = memory ?? {};
  if (setAside !== undefined) return setAside;
  if (lastRun?.made === undefined || lastRun.quarantined === undefined) return undefined;
  return { backup: lastRun.made, reason: lastRun.quarantined };
}

/** What a person does about one that is set aside. */
export function sayAccept({ service, store }: Pick<StorePlan, "service" | "store">, backup: string): string {
  return `if that is right, orca backup verify ${service} ${store} --backup ${backup} accepts it`;
}

/** Each repository is looked at by itself: one that has all of it does not hide one that has nothing. */
function noteRepositories(plan: StorePlan, memory: StoreMemory | undefined): Note[] {
  const store = `${plan.service}/${plan.store}`;
  return plan.repositories.flatMap(({ name }): Note[] => {
    const { reason, kept, other, foreign } = memory?.repositories?.[name] ?? {};
    const note = (what: string, text: string): Note => ({ name: `backup ${store} ${what} in ${name}`, text });
    const notes: Note[] = [];
    if (reason !== undefined && memory?.lastRun?.reason === undefined)
      notes.push(note("failed", `the repository ${name} did not get the last backup of ${store}: ${reason}`));
    if (foreign !== undefined)
      notes.push(note("foreign", `the repository ${name} has ${describeForeign(foreign, store)}`));
    if (other !== undefined)
      notes.push(
        note(
          "shared",
          `the repository ${name} has backups of ${store} from two agents: ${describeOtherMaker(other)}: see orca help repositories`,
        ),
      );
    // What stands still for another agent was said just now.
    else if (kept !== undefined)
      notes.push(note("kept", `the repository ${name} keeps old backups of ${store}: ${kept}`));
    return notes;
  });
}
