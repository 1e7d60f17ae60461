// When each store has to be drilled next, from what earlier drills have shown. Pure.

import {
  DRILL_EVERY_MS,
  type DrillPart,
  type DrillRecord,
  type DrillStanding,
  FIRST_DRILL_MS,
  isDrillOverdue,
  isLate,
} from "../../../shared/drill/drill.ts";
import type { Note } from "../../../shared/state/note.ts";
import { describeDuration } from "../../../shared/text/duration.ts";

/** A store that backups are made of. */
export interface DrilledStore {
  service: string;
  store: string;
  engine: string;
  /** When the agent first saw it. */
  seenMs: number;
}

/** What no drill can restore: nobody but its owner knows what reads it again. */
const UNDRILLED: ReadonlySet<string> = new Set(["command"]);

/** How every store stands. */
export function listDrillStandings(stores: readonly DrilledStore[], drills: readonly DrillRecord[]): DrillStanding[] {
  return stores.flatMap(({ service, store, engine, seenMs }) => {
    if (UNDRILLED.has(engine)) return [];
    const own = drills.filter(({ parts }) => parts.some((part) => cameBack(part, { service, store })));
    const drilledMs = own.length === 0 ? undefined : Math.max(...own.map(({ startedMs }) => startedMs));
    const dueMs = drilledMs === undefined ? seenMs + FIRST_DRILL_MS : drilledMs + DRILL_EVERY_MS;
    return [{ service, store, drilledMs, dueMs }];
  });
}

function cameBack(part: DrillPart, { service, store }: Pick<DrilledStore, "service" | "store">): boolean {
  return part.service === service && part.store === store && part.verdict === "good" && !isLate(part);
}

/** One note for all stores that are overdue: one drill is what ends it. */
export function noteOverdue(standings: readonly DrillStanding[], nowMs: number): Note[] {
  const overdue = standings.filter((standing) => isDrillOverdue(standing, nowMs));
  const [first] = overdue.toSorted((one, other) => one.dueMs - other.dueMs);
  if (first === undefined) return [];
  const names = overdue.map(({ service, store }) => `${service}/${store}`).join(", ");
  const since = describeDuration(Math.max(0, nowMs - first.dueMs));
  return [
    {
      name: "drill overdue",
      text: `a drill is overdue since ${since}: ${names} did not come back in one for too long: orca drill makes one, see orca help drill`,
    },
  ];
}
