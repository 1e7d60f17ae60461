// What all tests of a lane share: a file of marked secrets that every agent is given, a journal that every agent's output goes
// into, and a list of the agents that lived, each of which must be searched before it is forgotten. Made by the lane's setup.

import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  nameIdentityFile,
  type SecretFilePlace,
  writeSecretTable,
} from "../../../agent/secrets/providers/secret-store-file.ts";
import { CanaryFinder, MARKS } from "./canary.ts";
import { type JournalPlace, openJournalStream } from "./real-journal.ts";

/** Says to every process of a lane where its things are. */
const VARIABLE = "ORCA_TEST_LANE";

/** One line of the list. */
export interface LaneEntry {
  kind: "born" | "searched";
  /** An agent is known by its state directory. */
  stateDir: string;
  /** Place → how many things were looked at there. */
  looked?: Readonly<Record<string, number>>;
  tookMs?: number;
}

/** A lane's directory. */
export class CanaryLane {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Makes the directory and the marked secrets, encrypted with age, and tells the lane's processes. */
  static async create(): Promise<CanaryLane> {
    const lane = new CanaryLane(mkdtempSync(join(tmpdir(), "orca-lane-")));
    mkdirSync(join(lane.directory, "journal"));
    await writeSecretTable(lane.secrets, new Map(Object.entries(MARKS)));
    process.env[VARIABLE] = lane.directory;
    return lane;
  }

  /** The provider that every agent is given. */
  get secrets(): SecretFilePlace {
    const file = join(this.directory, "secrets.age");
    return { file, identityFile: nameIdentityFile(file), plain: false };
  }

  get journal(): JournalPlace | undefined {
    const file = join(this.directory, "journal.json");
    return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as JournalPlace) : undefined;
  }

  set journal(place: JournalPlace) {
    writeFileSync(join(this.directory, "journal.json"), JSON.stringify(place));
  }

  note(entry: LaneEntry): void {
    appendFileSync(join(this.directory, "agents.jsonl"), `${JSON.stringify(entry)}\n`);
  }

  get entries(): LaneEntry[] {
    const file = join(this.directory, "agents.jsonl");
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as LaneEntry);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The lane that this process belongs to, if any: benchmarks and scripts have none. */
export function findLane(): CanaryLane | undefined {
  const directory = process.env[VARIABLE];
  return directory === undefined ? undefined : new CanaryLane(directory);
}

/** The lane, for what cannot be without its secrets. */
export function openLane(): CanaryLane {
  const lane = findLane();
  if (lane === undefined) throw new Error("no lane was set up: run this with the docker or fleet project of vitest");
  return lane;
}

/** The line of an agent.toml that gives an agent the marked secrets. */
export function describeMarkedSecrets(): string {
  return `secrets = { file = "${openLane().secrets.file}" }`;
}

/** Looks for the marked secrets; made once. */
export const MARK_FINDER = new CanaryFinder(MARKS);

/** A stream into the lane's journal, where there is one. */
export function openLaneStream(identifier: string): Socket | undefined {
  const place = findLane()?.journal;
  return place === undefined ? undefined : openJournalStream(place, identifier);
}
