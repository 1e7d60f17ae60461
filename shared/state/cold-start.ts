// How nodes came up after a power loss or a restart of their engine: what an owner says of its own starts, and the report that
// every node makes from that. Types and small functions. Times are durations by the owner's own clock; no wall clock of two
// hosts is compared.

/** The start of one service, in milliseconds after its node began. */
export interface ColdService {
  /** Its gate opened, its start was asked for, its container started, it was healthy; null for what has not been yet. */
  at: [gate: number | null, asked: number | null, started: number | null, healthy: number | null];
  /** What it waited for last: the edge that opened its gate, or that it did not wait for any longer. */
  by?: string | undefined;
  /** For how long it waited for that. */
  forMs?: number | undefined;
  /** For how long it had everything but a start slot. */
  slotMs?: number | undefined;
  /** It started without these, which it requires or wants. */
  without?: string[] | undefined;
}

/** What a node says of its own cold start, for as long as anybody may ask. */
export interface ColdStartStatement {
  /** Tells this start of the node from others. */
  run: string;
  /** How long ago it began when this was said. */
  ageMs: number;
  /** Everything that was to start is up, or has been given up. */
  done?: true | undefined;
  /** Node → when that one began, by this node's clock: as early as its words allow. Negative for before. */
  seen: Record<string, number>;
  services: Record<string, ColdService>;
}

/** Changes when a key changes its meaning or goes; a new key changes nothing. */
export const COLD_START_SCHEMA = "orca.cold-start/1";

/** One service of a report. Times are seconds since the first node began; null where it did not come so far. */
export interface ColdStartService {
  /** `node/service`. */
  name: string;
  node: string;
  gate: number | null;
  asked: number | null;
  started: number | null;
  healthy: number | null;
  waitedFor: string | null;
  waitedSeconds: number | null;
  /** How long it had everything but a start slot. */
  slotSeconds: number;
  /** What it requires or wants and started without. */
  without: string[];
}

/** One node that started anew. */
export interface ColdStartNode {
  node: string;
  run: string;
  /** When it began; null where nothing relates its clock to the others'. */
  began: number | null;
  /** How far `began` may be off; 0 for the node that the others are set beside, null where only one side saw the other. */
  uncertainSeconds: number | null;
  done: boolean;
}

/** One service on the actual critical path. */
export interface ColdStartPathEntry {
  name: string;
  /** From the moment that the one before it was healthy until its start was asked for. */
  lateSeconds: number;
  /** What the engine took from there until the container ran, and the service until it was healthy: together its start time. */
  engineSeconds: number;
  readySeconds: number;
}

/** One cold start. */
export interface ColdStartReport {
  /** One node came up, or several of a realm. */
  scope: "node" | "realm";
  /** By the clock of the node that answers. */
  began: string;
  /** Null while it is under way. */
  ended: string | null;
  /** From the first node's begin until the last service was healthy; null where none was. */
  totalSeconds: number | null;
  /** From the first to the last: each opened the gate of the next. */
  path: ColdStartPathEntry[];
  /** The start times of the path, measured. */
  pathSeconds: number;
  overheadSeconds: number | null;
  /** Total to path. */
  ratio: number | null;
  nodes: ColdStartNode[];
  services: ColdStartService[];
  /** Nodes of the realm that were not reached when it ended, as the node that answers sees it. */
  missing: { node: string; why: string }[];
  /** Where a figure is an estimate, and why. */
  notes: string[];
}

/** What is remembered of a service while it starts; `word` is what others are told. */
export interface WatchedStart {
  word: ColdService;
  /** What it waits for now, and since when. */
  waits: Readonly<Record<string, number>>;
  slotSinceMs?: number;
}

/** A node's own cold start. Plain data: it is kept over a restart of the agent. */
export interface OwnColdStart {
  run: string;
  /** When it began, by the wall clock: only to go on after a restart of the agent where `clock` does not say it. */
  beganMs: number;
  /** The same by the clock that never jumps, which goes on through restarts of the agent until the host boots again. */
  clock?: { boot: string; beganMs: number };
  /** When it was over, in milliseconds after it began. */
  doneMs?: number;
  services: Readonly<Record<string, WatchedStart>>;
}

/** What is kept over a restart of the agent. */
export interface ColdStartMemory {
  /** The run of the engine that was seen last: another one is a cold start. */
  lastRun?: string | undefined;
  own?: OwnColdStart | undefined;
  /** Newest first, all ended. */
  reports: readonly ColdStartReport[];
  /** `node@run` of starts that are in a report, newest first. */
  known: readonly string[];
}

/** What `/v1/cold-start` and `orca fleet report --json` give. */
export interface ColdStartDocument {
  schema: typeof COLD_START_SCHEMA;
  /** Who answers. */
  node: string;
  /** Newest first; the first may be under way. */
  reports: ColdStartReport[];
}

/** The document of some reports. */
export function wrapColdStarts(node: string, reports: readonly ColdStartReport[] = []): ColdStartDocument {
  return { schema: COLD_START_SCHEMA, node, reports: [...reports] };
}

/** Everything came up, and nothing was done without. */
export function isWhole({ ended, services, missing, nodes }: ColdStartReport): boolean {
  const isUp = services.every(({ healthy, without }) => healthy !== null && without.length === 0);
  return ended !== null && missing.length === 0 && isUp && nodes.every(({ done }) => done);
}
