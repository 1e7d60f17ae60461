// Since when this machine stands in its node's place by a takeover: written by `orca recover` when it signs one, else by the agent that
// finds itself in the place. Backups say it in their paths. Never sent to anybody: clocks of other machines say nothing of it.

import { readFileSync } from "node:fs";

import * as z from "zod";

import { makeDirectory } from "../host/files/make-directory.ts";
import { statePath } from "../host/state-layout.ts";
import { writeWhole } from "./node-identity.ts";

const document = z.object({ version: z.literal(1), term: z.int().min(1), beganMs: z.int().min(0) });

/** When a term began on this machine; undefined where that is not known here. */
export function readOwnTerm(stateDir: string, term: number): number | undefined {
  try {
    const found = document.parse(JSON.parse(readFileSync(statePath(stateDir, "ownTerm"), "utf8")));
    return found.term === term ? found.beganMs : undefined;
  } catch {
    return undefined;
  }
}

/** Notes when a term began. Rejects where it cannot be written. */
export async function noteOwnTerm(stateDir: string, term: number, beganMs: number): Promise<void> {
  await makeDirectory(stateDir, 0o700);
  await writeWhole(statePath(stateDir, "ownTerm"), `${JSON.stringify({ version: 1, term, beganMs })}\n`, 0o600);
}
