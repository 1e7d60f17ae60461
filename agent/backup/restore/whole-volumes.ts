// Which generations of a volume are known to be whole. A restore that is killed leaves one half-filled, and its label is the same from the
// beginning: what says that it is whole is the record of the restore, or that a service ran with it. Pure.
// Held by test/scenario/backup/restore.test.ts.

import type { TurnSummary } from "../../../shared/state/event.ts";
import { listSwitches, type RestoreRecord } from "../../../shared/state/restore.ts";
import { readInForce } from "./restore-watch.ts";

/** Why nobody can say that a generation of a volume was filled to its end; undefined where something here says it. */
export function doubtVolume(
  { volume, generation }: { volume: string; generation: string },
  turn: TurnSummary | undefined,
  restores: readonly RestoreRecord[],
): string | undefined {
  if (generation === volume || restores.some((record) => saysWhole(record, generation))) return undefined;
  if (turn !== undefined && (readInForce(turn, volume) === generation || hasRun(turn, generation))) return undefined;
  return (
    `nothing here says that ${generation} was filled to its end: the agent's record of restores was lost, or somebody else has made it. ` +
    `Look at what is in it; --unproven takes it all the same`
  );
}

function saysWhole(record: RestoreRecord, generation: string): boolean {
  const isFilled = record.stage !== "asked" && record.stage !== "filling" && record.outcome?.kind !== "failed";
  return listSwitches(record).some(({ from, to }) => from === generation || (isFilled && to === generation));
}

/** A container of a service has it: it was in force once. */
function hasRun({ observed: { engine } }: TurnSummary, generation: string): boolean {
  return engine.reachable && engine.containers.some(({ writes }) => writes.includes(generation));
}
