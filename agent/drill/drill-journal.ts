// The records of drills on disk: a file of JSON for each month, and beside it the same as a page of Markdown. Read once at the start; a
// drill is written when it begins, so that one that was cut off is known. Never holds a value of a secret.

import { readdirSync, readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../host/files/make-directory.ts";
import { setDamagedAside, setNewerAside } from "../host/newer-document.ts";
import type { DrillPart, DrillRecord } from "../../shared/drill/drill.ts";
import { renderDrills } from "./core/drill-text.ts";

/** Of the document as this version reads and writes it. */
const VERSION = 1;

/** One that a Date can name (ECMAScript, "Time Values"). */
const momentMs = z.number().min(0).max(8.64e15);

const part: z.ZodType<DrillPart> = z.looseObject({
  service: z.string(),
  store: z.string().optional(),
  backup: z.string().optional(),
  repository: z.string().optional(),
  verdict: z.enum(["good", "bad", "unknown", "skipped"]),
  detail: z.string(),
  restoreMs: z.number().optional(),
  startMs: z.number().optional(),
  graceMs: z.number().optional(),
  recoveryMs: z.number().optional(),
  rtoMs: z.number().optional(),
});
const drill: z.ZodType<DrillRecord> = z.looseObject({
  kind: z.enum(["stores", "full", "stop"]),
  startedMs: momentMs,
  endedMs: momentMs.optional(),
  uid: z.number(),
  parts: z.array(part),
  trouble: z.string().optional(),
});
const document = z.looseObject({ version: z.literal(VERSION), drills: z.array(z.unknown()) });

const MONTH_FILE = /^\d{4}-\d{2}\.json$/;
/** A drill counts for a quarter: what is older is not read, and stays where it lies. */
const MONTHS_READ = 13;
/** Said of a drill that an agent began and did not end. */
const CUT_OFF = "the agent ended in the middle of it";

/** The drills of one node. */
export class DrillJournal {
  readonly directory: string;
  readonly #node: string;
  #drills: DrillRecord[] = [];

  constructor(directory: string, node: string) {
    this.directory = directory;
    this.#node = node;
  }

  /** Newest first. */
  get drills(): readonly DrillRecord[] {
    return this.#drills;
  }

  /**
   * Reads what earlier agents have kept; what was cut off is ended.
   * @returns what is to be said of files that cannot be used
   */
  async open(): Promise<string[]> {
    const said: string[] = [];
    const saved: DrillRecord[] = [];
    for (const name of listMonths(this.directory).slice(-MONTHS_READ)) {
      const path = join(this.directory, name);
      const { drills, isWhole } = readMonth(path);
      // What is left out here is gone with the next record of that month.
      const aside = setNewerAside(path, VERSION) ?? (isWhole ? undefined : setDamagedAside(path));
      if (aside !== undefined) said.push(aside);
      if (aside !== undefined && drills.length > 0) saved.push(...drills.slice(0, 1));
      this.#drills.push(...drills);
    }
    this.#drills = this.#drills.toSorted((one, other) => other.startedMs - one.startedMs);
    for (const record of saved) await this.keep(record);
    for (const cut of this.#drills.filter(({ endedMs }) => endedMs === undefined))
      await this.keep({ ...cut, endedMs: cut.startedMs, trouble: CUT_OFF });
    return said;
  }

  /** Keeps a drill in the place of what was known of it. On disk when it resolves. */
  async keep(record: DrillRecord): Promise<void> {
    const others = this.#drills.filter(({ startedMs }) => startedMs !== record.startedMs);
    this.#drills = [record, ...others].toSorted((one, other) => other.startedMs - one.startedMs);
    const month = nameMonth(record);
    const drills = this.#drills.filter((entry) => nameMonth(entry) === month).toReversed();
    await makeDirectory(this.directory, 0o700);
    const text = JSON.stringify({ version: VERSION, node: this.#node, drills }, undefined, 2);
    await this.#write(`${month}.json`, `${text}\n`);
    await this.#write(`${month}.md`, renderDrills(this.#node, month, drills));
  }

  /** Whole or not at all. */
  async #write(name: string, text: string): Promise<void> {
    const path = join(this.directory, name);
    await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  }
}

function nameMonth({ startedMs }: DrillRecord): string {
  return new Date(startedMs).toISOString().slice(0, 7);
}

function listMonths(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => MONTH_FILE.test(name))
      .toSorted();
  } catch {
    return [];
  }
}

/** A record of another shape is none, and neither is one of another month: a later record of its own would not replace it. */
function readMonth(path: string): { drills: DrillRecord[]; isWhole: boolean } {
  try {
    const { drills } = document.parse(JSON.parse(readFileSync(path, "utf8")));
    const read = drills.flatMap((entry) => drill.safeParse(entry).data ?? []);
    const own = read.filter((entry) => `${nameMonth(entry)}.json` === basename(path));
    return { drills: own, isWhole: own.length === drills.length };
  } catch {
    return { drills: [], isWhole: false };
  }
}
