// What a node keeps of its last escrow, and how the files in it lie there now: for `orca doctor`. Reads no value.

import { readFile } from "node:fs/promises";

import type { HostView } from "../../doctor/doctor-facts.ts";
import { escrowRecord } from "../../setup/escrow.ts";
import { readFileFact } from "./read-host.ts";

/** The sealed last known values are written anew all the time: each of them is judged by itself. */
const REWRITTEN = "the last known secrets, sealed";

/** Reads it; undefined where none was made. */
export async function readEscrowFact(path: string): Promise<HostView["escrow"]> {
  try {
    const { createdMs, files } = escrowRecord.parse(JSON.parse(await readFile(path, "utf8")));
    const judged = files.filter(({ role }) => role !== REWRITTEN);
    return { createdMs, files: await Promise.all(judged.map((file) => readFileFact(file.path, file.role))) };
  } catch {
    return undefined;
  }
}
