// `orca drill full`: says to the child which services are brought up apart from the node and with which backups, and hears what came of it.
// Used by drill-keeper.ts. Needs memory for the node a second time, and says so before anything is begun.

import { rm } from "node:fs/promises";
import { freemem } from "node:os";

import { type ChildParts, requestRestore } from "../backup/ask-child.ts";
import type { BackupSource } from "../backup/repository/store-sources.ts";
import { mergeSources } from "../backup/restore/restore-choice.ts";
import { readProgress } from "../backup/restore/restore-record.ts";
import type { StorePlan } from "../../shared/state/backup.ts";
import { listAliases } from "../../shared/state/container-spec.ts";
import type { DrillPart } from "../../shared/drill/drill.ts";
import type { TurnSummary } from "../../shared/state/event.ts";
import type { ObservedContainer } from "../../shared/state/observed-state.ts";
import type { DesiredService } from "../../shared/state/desired-state.ts";
import { describeSize } from "../../shared/text/size.ts";
import { orderServices } from "./core/drill-order.ts";
import {
  DRILL_COMMAND,
  type DrillAnswer,
  type DrillRequest,
  type StackService,
  type StackStore,
} from "./drill-exchange.ts";

/** What a drill of the whole node works with. */
export interface FullParts extends ChildParts {
  /** The repositories of a store, and what opens what lies there. */
  listSources: (service: string, store: string) => Promise<readonly BackupSource[]>;
  /** Directories of the agent's own, below which its containers have files and secrets. */
  ownDirectories: readonly string[];
  /** Where the child says what it does. */
  progressPath: string;
}

/** Of the child itself; what it starts has its own caps. */
const CHILD_MEMORY_BYTES = 256 * 2 ** 20;
const DEADLINE_MS = 6 * 3_600_000;
const ANSWER_LIMIT_BYTES = 4 * 2 ** 20;
const SWEEP_DEADLINE_MS = 600_000;
/** Beyond what the services use now: they start, and a restore runs beside them. */
const SPARE_SHARE = 1.25;

/** Why there is no room for the node a second time; undefined where there is. */
export function refuseRoom({ desired, observed }: TurnSummary, freeBytes = freemem()): string | undefined {
  if (!observed.engine.reachable) return "the engine does not answer";
  const { containers } = observed.engine;
  const used = containers
    .filter(({ status, service }) => status === "running" && desired?.services.get(service)?.kind === "service")
    .reduce((sum, { workingSetBytes, caps }) => sum + (workingSetBytes ?? caps.memoryBytes), 0);
  const restoring = Math.max(0, ...(desired?.backups ?? []).map(({ source }) => source.memoryBytes));
  const needed = Math.round(used * SPARE_SHARE + restoring);
  if (needed <= freeBytes) return undefined;
  return `the node a second time takes about ${describeSize(needed)} of memory, and ${describeSize(freeBytes)} are free: drill it on its spare`;
}

/** Brings the node up apart from itself. Answers what came up; throws where nothing can be said. */
export async function drillFull(parts: FullParts, turn: TurnSummary, signal: AbortSignal): Promise<DrillPart[]> {
  await rm(parts.progressPath, { force: true });
  const { services, missing } = await listServices(parts, turn);
  const answer = await ask(parts, signal, {
    kind: "full",
    ...pickEngine(parts),
    services,
    ownDirectories: parts.ownDirectories,
    progressPath: parts.progressPath,
  });
  if (answer.kind === "failed") throw new Error(answer.reason);
  return [...missing, ...(answer.kind === "drilled" ? answer.parts : [])];
}

/** What the child does now. */
export function readDoing({ progressPath }: Pick<FullParts, "progressPath">): string | undefined {
  return readProgress(progressPath)?.doing;
}

async function ask(parts: FullParts, signal: AbortSignal, request: DrillRequest): Promise<DrillAnswer> {
  const deadlineMs = request.kind === "full" ? DEADLINE_MS : SWEEP_DEADLINE_MS;
  const end = await parts.runChild({
    program: parts.program,
    command: DRILL_COMMAND,
    request: JSON.stringify(request),
    answerLimitBytes: ANSWER_LIMIT_BYTES,
    memoryLimitBytes: CHILD_MEMORY_BYTES,
    deadlineMs,
    signal,
  });
  if (end.kind === "answered") return JSON.parse(end.answer.toString("utf8")) as DrillAnswer;
  // What a child that was killed has left is taken away by another one, in its turn: whatever runs meanwhile looks like it.
  if (request.kind === "full" && !signal.aborted) await ask(parts, signal, { kind: "sweep", ...pickEngine(parts) });
  return { kind: "failed", reason: `the child failed: ${end.reason}` };
}

function pickEngine({ node, socket, cgroupParent, bundles, spool }: FullParts) {
  return { node, socket, cgroupParent, bundles, spool };
}

async function listServices(
  parts: FullParts,
  { desired, observed, services: views }: TurnSummary,
): Promise<{ services: StackService[]; missing: DrillPart[] }> {
  const { engine } = observed;
  const containers = engine.reachable ? engine.containers : [];
  const missing: DrillPart[] = [];
  const services: StackService[] = [];
  for (const { service, after, outside } of orderServices(desired?.services ?? new Map<string, DesiredService>())) {
    const { name, health, update, rtoMs } = service;
    const shown = views.find((view) => view.name === name)?.container;
    const container = findContainer(containers, name, shown);
    const promised = rtoMs === undefined ? {} : { rtoMs };
    if (container === undefined) {
      missing.push({
        service: name,
        ...promised,
        verdict: "unknown",
        detail: "it has no container here that another could be like",
      });
      continue;
    }
    const plans = (desired?.backups ?? []).filter((plan) => plan.service === name);
    const stores: StackStore[] = [];
    for (const plan of plans) {
      const store = await findStore(parts, plan);
      if ("verdict" in store) missing.push(store);
      else stores.push(store);
    }
    const withinMs = (health?.start_period ?? 0) + update.healthy_within;
    const aliases = listAliases(service.front?.service.name ?? name, service.front?.service.spec ?? service.spec);
    services.push({ name, container, aliases, after, outside, health, withinMs, promised, stores });
  }
  return { services, missing };
}

function findContainer(
  containers: readonly ObservedContainer[],
  service: string,
  shown: string | undefined,
): string | undefined {
  const own = containers.filter((entry) => entry.service === service);
  return (own.find(({ id }) => id === shown) ?? own[0])?.id;
}

/** The newest backup that was not set aside, from the first repository that has it. */
async function findStore(parts: FullParts, plan: StorePlan): Promise<StackStore | DrillPart> {
  const { service, store } = plan;
  const none = (verdict: DrillPart["verdict"], detail: string): DrillPart => ({ service, store, verdict, detail });
  if (plan.engine === "command" || plan.engine === "objects")
    return none(
      "skipped",
      `a store of engine ${plan.engine} is not restored into the stack: its service begins without it`,
    );
  const sources = await parts.listSources(service, store);
  if (sources.length === 0) return none("unknown", "none of its repositories can be read");
  const record = mergeSources(sources.map(({ records }) => records)).find(
    ({ quarantined }) => quarantined === undefined,
  );
  const source = sources.find(({ records }) => records.some(({ name }) => name === record?.name));
  if (record === undefined || source === undefined) return none("bad", "it has no backup that could be restored");
  const { place, identities } = source;
  const {
    container: _container,
    volumes: _volumes,
    ...restore
  } = requestRestore(parts, {
    kind: "restore",
    plan,
    record,
    container: "",
    volumes: [],
    progressPath: parts.progressPath,
    repository: place,
    identities,
  });
  return { plan, record, repository: place.name, restore };
}
