// The inputs in force (shared/state/in-force.ts) as they are read back from disk. What is lost of them must not read as "gone from Git":
// a service whose text cannot be read is kept by name, and is invalid until Git can be read.

import * as z from "zod";

import type { AcceptedService, InForce } from "../in-force.ts";
import { isRecord, type Lost, maybe, salvageFields, salvageTable } from "./salvage.ts";

type ShapeOf<T> = { [K in keyof Required<T>]: z.ZodType<Required<T>[K]> };

const number = z.number();
const text = z.string();
const texts = z.record(text, text);

const serviceShape: ShapeOf<AcceptedService> = {
  text,
  revision: text,
  files: texts,
  movedFrom: text,
  secrets: texts,
  rotation: z.looseObject({ paths: z.array(text), witness: z.boolean() }),
};

const inForceShape: ShapeOf<Omit<InForce, "services">> = {
  revision: text,
  acceptedMs: number,
  fleet: maybe(text),
  objects: z.looseObject({ directory: maybe(text), fleet: maybe(text), peers: z.exactOptional(texts) }),
  others: z.record(text, texts),
  stateful: z.record(text, number),
};

/** Reads the inputs in force; undefined where even the names of the services are not there: what runs is then taken over. */
export function readInForce(value: unknown, lost: Lost[]): InForce | undefined {
  if (!isRecord(value) || !isRecord(value["services"])) {
    lost.push({ path: "in-force", reason: "it does not list the services", value });
    return undefined;
  }
  const { services, ...rest } = value;
  const known = salvageFields(inForceShape, rest, { path: "in-force", lost });
  const revision = typeof known["revision"] === "string" ? known["revision"] : "unknown";
  const accepted = salvageTable(services, (entry, name) => readService(entry, name, { revision, lost }), {
    path: "in-force.services",
    lost,
  });
  return { acceptedMs: 0, fleet: undefined, ...known, revision, services: accepted };
}

function readService(value: unknown, name: string, from: { revision: string; lost: Lost[] }): AcceptedService {
  const { revision, lost } = from;
  const path = `in-force.services.${name}`;
  if (!isRecord(value)) {
    lost.push({ path, reason: "it is no table", value });
    return { text: "", revision, files: {} };
  }
  return { text: "", revision, files: {}, ...salvageFields(serviceShape, value, { path, lost }) };
}
