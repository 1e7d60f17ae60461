// Carries out the steps of an update, one after the other: each is on the disk, or told to systemd, before the next begins.

import { readFileSync } from "node:fs";

import { askProgram } from "../host/os/ask-program.ts";
import type { UpdateStep } from "./core/update-steps.ts";
import { parseRecord, printRecord } from "./core/update-record.ts";
import { printTrial } from "./core/trial.ts";
import { type DiskCalls, HOST_DISK, pointDurably, removeDurably, writeDurably } from "./durable.ts";
import type { UpdatePlaces } from "./places.ts";

const AGENT_UNIT = "orca-agent.service";
const JUDGE_UNIT = "orca-judge.service";

/** Where, and by what. */
export interface Hands {
  places: UpdatePlaces;
  disk?: DiskCalls;
  /** Tells systemd; throws where that fails. Only a test has another one. */
  tell?: (words: readonly string[]) => Promise<void>;
}

/** Carries out all of them; throws at the first that fails, and what came before it stays. */
export async function carryOut(steps: readonly UpdateStep[], hands: Hands): Promise<void> {
  for (const step of steps) await carryOutStep(step, hands);
}

async function carryOutStep(step: UpdateStep, { places, disk = HOST_DISK, tell = tellSystemd }: Hands): Promise<void> {
  switch (step.kind) {
    case "write-trial":
      return writeDurably(disk, places.trial, printTrial(step.trial));
    case "remove-trial":
      return removeDurably(disk, places.trial);
    case "point":
      return pointDurably(disk, places[step.link], `versions/${step.version}`);
    case "record":
      return writeDurably(disk, places.record, printRecord(parseRecord(readIfThere(places.record)), step.outcome));
    case "start-judge":
      return tell(["start", "--no-block", JUDGE_UNIT]);
    case "restart-agent":
      // One that has failed too often would not be started again by itself.
      await tell(["reset-failed", AGENT_UNIT]).catch(() => undefined);
      return tell(["restart", "--no-block", AGENT_UNIT]);
    default:
      return step satisfies never;
  }
}

/** A file's text; undefined where it is not there, or may not be read. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

async function tellSystemd(words: readonly string[]): Promise<void> {
  const said = await askProgram("systemctl", words);
  if (said.kind === "absent") throw new Error(`systemctl ${words.join(" ")}: systemctl is not installed`);
  if (said.kind === "unseen") throw new Error(`systemctl ${words.join(" ")}: ${said.trouble}`);
}
