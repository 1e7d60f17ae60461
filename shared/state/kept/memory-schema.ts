// What is remembered between starts, as it is read back from disk (service-parts.ts). A new field of the memory needs its entry there
// and here, or neither compiles. Used by the agent's store alone.

import * as z from "zod";

import type { ExitRecord, JobMemory, NodeMemory, RemovalMemory, ReleaseRecord } from "../memory.ts";
import { cutOldOutput } from "./old-output.ts";
import type { StoredNode, StoredService } from "./service-parts.ts";
import { isRecord, type Lost, maybe, salvageFields, salvageTable } from "./salvage.ts";
import { canDescribe } from "../../text/describe-reason.ts";

type ShapeOf<T> = { [K in keyof Required<T>]: z.ZodType<Required<T>[K]> };

const number = z.number();
const text = z.string();
const texts = z.record(text, text);
/** A key that is left out until it means something. */
const left = z.exactOptional;

export const exitRecord: z.ZodType<ExitRecord> = z.looseObject({
  service: text,
  container: text,
  startedMs: maybe(number),
  finishedMs: number,
  ranMs: z.exactOptional(number),
  exitCode: number,
  signal: maybe(number),
  oom: z.boolean(),
  requested: maybe(z.enum(["agent", "by-hand"])),
  engineStopped: z.boolean(),
  logTail: z.array(text),
});

const releaseFields = { fingerprint: text, specHash: text, revision: text, image: text, settledMs: number };
export const releaseRecord: z.ZodType<ReleaseRecord> = z.looseObject(releaseFields);

/** A text that versions before this one may have kept with what a container printed. */
const oldText = text.transform(cutOldOutput);
const tried = { message: oldText, attempt: number, nextMs: number };

const jobMemory: z.ZodType<JobMemory> = z.looseObject({
  accountedMs: number,
  current: left(z.looseObject({ dueMs: number })),
  runs: z.array(
    z.looseObject({ specHash: text, dueMs: number, startedMs: maybe(number), endedMs: number, exitCode: number }),
  ),
  skipped: number,
});

const serviceShape: ShapeOf<StoredService> = {
  fingerprint: text,
  intentMs: number,
  attempt: number,
  restarts: number,
  nextStartMs: number,
  lastExit: exitRecord,
  exitMs: number,
  run: z.looseObject({
    name: text,
    number,
    begunMs: number,
    files: texts,
    telling: left(texts),
    stale: left(z.literal(true)),
  }),
  seen: z.looseObject({ container: text, engineRun: maybe(text) }),
  healthy: z.looseObject({ container: text, engineRun: text, run: left(text), sinceMs: left(number) }),
  took: z.looseObject({ run: text, ms: left(number) }),
  stopping: text,
  waiting: z.looseObject({
    sinceMs: number,
    engineRun: text,
    met: left(z.record(text, z.looseObject({ start: text, atMs: number }))),
  }),
  ungated: text,
  failure: z.looseObject({
    ...tried,
    fingerprint: text,
    step: text,
    failure: z.enum(["retry", "infrastructure", "artefact"]),
    output: left(text),
    foreseen: left(z.literal(true)),
  }),
  release: releaseRecord,
  rollout: z.looseObject({ fingerprint: text, engineRun: text, spentMs: number, seenMs: number, sick: left(oldText) }),
  rolledBack: z
    .looseObject({ wanted: text, to: text, revision: text, reason: oldText, why: left(z.unknown()), uid: left(number) })
    // A later version's code is not known here: its words stand beside it.
    .transform(({ why, ...back }) => (canDescribe(why) ? { ...back, why } : back)),
  stoppedBy: z.looseObject({ wanted: text, uid: number }),
  emptyBy: z.looseObject({ uid: number }),
  startAsked: z.looseObject({ uid: number, ignoreRequires: z.boolean() }),
  applied: z.looseObject({ container: text, files: texts, stale: left(z.literal(true)) }),
  own: z.looseObject({ specHash: text, volumes: z.array(z.looseObject({ name: text, target: text })) }),
  backup: z.looseObject({ wanted: text, sinceMs: number, by: left(text) }),
  heldFor: text,
  restartAsked: z.looseObject({ uid: number, atMs: number }),
  job: jobMemory,
  repeated: z.looseObject({ steps: text, count: number, rounds: number, untilMs: left(number) }),
  later: z.looseObject({ container: text, fingerprint: text }),
  shown: z.looseObject({ state: text, sinceMs: number }),
};

const removalMemory: z.ZodType<RemovalMemory> = z.looseObject({
  sinceMs: number,
  specHash: text,
  failure: left(z.looseObject(tried)),
});
const laneFailure = z.looseObject({ ...tried, about: text });

const nodeShape: ShapeOf<StoredNode> = {
  services: z.record(text, z.unknown()) as unknown as z.ZodType<StoredNode["services"]>,
  removals: z.record(text, removalMemory),
  generations: z.record(text, z.looseObject({ inForce: text, uid: left(number) })),
  nodeFailure: z.looseObject(tried),
  stops: texts,
  lanes: z.record(text, laneFailure),
  pauses: z.record(text, z.looseObject({ sinceMs: number, uid: number })),
  copies: z.record(text, z.looseObject({ store: text, sinceMs: number })),
  clock: z.looseObject({ boot: text, offsetMs: number }),
};

/** Fields of a service's memory that this version knows; what else is stored belongs to a later one. */
export const SERVICE_KEYS: ReadonlySet<string> = new Set(Object.keys(serviceShape));
/** The same of the node's memory. */
export const NODE_KEYS: ReadonlySet<string> = new Set(Object.keys(nodeShape));

/** Reads the node's memory as it is stored; what cannot be used of it is put down in `lost`. */
export function readNodeMemory(value: unknown, lost: Lost[]): Partial<StoredNode> {
  if (!isRecord(value)) {
    lost.push({ path: "memory", reason: "it is no table", value });
    return {};
  }
  const { services, removals, pauses, lanes, ...rest } = value;
  // Every version has written both, empty or not: without them nobody knows what was paused, or how often what was tried.
  for (const [name, table] of Object.entries({ services, pauses })) {
    if (table === undefined) lost.push({ path: `memory.${name}`, reason: "it is missing", value: undefined });
  }
  const at = (name: string): { path: string; lost: Lost[] } => ({ path: `memory.${name}`, lost });
  const parsed = <T>(schema: z.ZodType<T>, path: string) => {
    return (entry: unknown, name: string): T | undefined => {
      const answer = schema.safeParse(entry);
      if (answer.success) return answer.data;
      lost.push({ path: `memory.${path}.${name}`, reason: "it is of another shape", value: entry });
      return undefined;
    };
  };
  const known = {
    ...salvageFields(nodeShape, rest, { path: "memory", lost }),
    services: salvageTable(services, (entry, name) => readServiceMemory(entry, name, lost), at("services")),
    removals: salvageTable(removals, parsed(removalMemory, "removals"), at("removals")),
    pauses: salvageTable(pauses, (entry, name) => readPause(entry, name, lost), at("pauses")),
    ...(lanes === undefined ? {} : { lanes: salvageTable(lanes, parsed(laneFailure, "lanes"), at("lanes")) }),
  };
  return known;
}

/** A service without its intent or its counters begins anew; its container is found by its labels. */
function readServiceMemory(value: unknown, name: string, lost: Lost[]): StoredService | undefined {
  const path = `memory.services.${name}`;
  if (!isRecord(value)) {
    lost.push({ path, reason: "it is no table", value });
    return undefined;
  }
  const known = { attempt: 0, restarts: 0, ...salvageFields(serviceShape, value, { path, lost }) };
  if (!Object.hasOwn(known, "fingerprint")) {
    lost.push({ path, reason: "it does not say which intent it belongs to", value });
    return undefined;
  }
  return known as unknown as StoredService;
}

/** Who paused something may be unreadable; that it is paused is not forgotten. */
function readPause(value: unknown, name: string, lost: Lost[]): NodeMemory["pauses"][string] {
  const parsed = nodeShape.pauses.safeParse({ [name]: value });
  const pause = parsed.success ? parsed.data[name] : undefined;
  if (pause !== undefined) return pause;
  lost.push({ path: `memory.pauses.${name}`, reason: "it does not say since when and by whom", value });
  return { sinceMs: 0, uid: 0 };
}
