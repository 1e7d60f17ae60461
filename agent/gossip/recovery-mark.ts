// The mark of a recovery that goes on: which services of a spare may start before the lost node's data is there. `orca recover` makes it
// and takes it away; the gossip's shell reads it at each turn. While it is there and cannot be read, nothing may start.

import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";

import * as z from "zod";

import { name } from "../../shared/text/schema-leaf.ts";
import { statePath } from "../host/state-layout.ts";
import { writeWhole } from "./node-identity.ts";
import { makeDirectory } from "../host/files/make-directory.ts";

const document = z.object({ version: z.literal(1), services: z.array(name) });

/** The services that may start; undefined where no recovery goes on. */
export function readRecovery(stateDir: string): readonly string[] | undefined {
  try {
    return document.parse(JSON.parse(readFileSync(statePath(stateDir, "recovery"), "utf8"))).services;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : [];
  }
}

/** Marks that a recovery goes on; without services, that it is over. */
export async function markRecovery(stateDir: string, services: readonly string[] | undefined): Promise<void> {
  const path = statePath(stateDir, "recovery");
  if (services === undefined) return rm(path, { force: true });
  await makeDirectory(stateDir, 0o700);
  await writeWhole(path, `${JSON.stringify({ version: 1, services })}\n`, 0o600);
}
