// Turns of the loop as plain data, for tests of what shows them: a few services in the states a test wants.

import { noteText } from "../../../shared/state/note.ts";
import { describeReason } from "../../../shared/text/describe-reason.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import type { Hold, SourceTrouble } from "../../../shared/state/hold.ts";
import type { SourceState, TurnSummary } from "../../../shared/state/event.ts";
import type { OwnContainerId } from "../../../shared/state/identity.ts";
import type { ExitRecord, ReleaseRecord } from "../../../shared/state/memory.ts";
import type {
  ForeignContainer,
  HealthView,
  ObservedContainer,
  ObservedState,
} from "../../../shared/state/observed-state.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { beginCounts, beginRefusals, type GossipStats } from "../../../shared/fleet/gossip-stats.ts";
import { nameContainer, sha256 } from "../../../shared/state/identity.ts";

/** The time at which turns end unless a test says otherwise. */
export const NOW_MS = Date.UTC(2026, 10, 21, 12, 0, 0);

/** A service's id, the same for the same name. */
export function containerOf(name: string): OwnContainerId {
  return sha256(`container ${name}`) as OwnContainerId;
}

/** A view of a service; healthy and settled unless a test says otherwise. */
export function buildView(name: string, parts: Partial<ServiceView> = {}): ServiceView {
  const reason = parts.reason ?? (parts.fact && describeReason(parts.fact, NOW_MS)) ?? "GET http://10.0.0.2:80/: 200";
  const { fact: _fact, reason: _reason, ...rest } = parts;
  return {
    name,
    state: "healthy",
    fact: parts.fact ?? { code: "said", said: { message: reason } },
    reason,
    sinceMs: NOW_MS - 60_000,
    waitingFor: [],
    nextMs: undefined,
    settled: parts.state === undefined || parts.state === "healthy",
    restarts: 0,
    revision: "a".repeat(40),
    desiredRevision: "a".repeat(40),
    container: containerOf(name),
    image: "app:1",
    owner: undefined,
    memoryCapBytes: 64 * 2 ** 20,
    notes: [],
    ...rest,
  };
}

/** What Git wants of a service. */
export function buildDesired(name: string, parts: Partial<DesiredService> = {}): DesiredService {
  const spec = { image: "app:1", env: { KC_DB: "postgres" }, ...parts.spec };
  const caps = { memoryBytes: 64 * 2 ** 20, nanoCpus: 0, cpuShares: 0, pids: 512 };
  return {
    name,
    kind: "service",
    fingerprint: sha256(JSON.stringify([name, spec, parts])),
    revision: "a".repeat(40),
    specHash: `v1:${sha256(JSON.stringify(spec))}`,
    caps,
    files: [],
    running: true,
    schedule: undefined,
    health: undefined,
    restart: { policy: "always", backoff: { initial: 1_000, max: 300_000, reset_after: 600_000 } },
    update: { order: "stop-first", healthy_within: 120_000, settle: 30_000, rollback: true },
    requires: [],
    wants: [],
    wantsTimeoutMs: 60_000,
    stopTimeoutMs: 10_000,
    owner: undefined,
    notes: [],
    ...parts,
    spec,
  };
}

/** The container of a service as it was observed. */
export function buildContainer(name: string, parts: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: containerOf(name),
    name: nameContainer("vm1", name, parts.specHash ?? "v1:12"),
    service: name,
    specHash: "v1:12",
    revision: "a".repeat(40),
    image: "app:1",
    status: "running",
    startedMs: NOW_MS - 60_000,
    finishedMs: undefined,
    exitCode: undefined,
    oomKilled: false,
    stoppedByHand: false,
    caps: { memoryBytes: 64 * 2 ** 20, nanoCpus: 0, cpuShares: 0, pids: 512 },
    networks: {},
    ports: [],
    pid: 1_000 + name.length,
    restartPolicy: "no",
    ownVolumes: [],
    writes: [],
    frontName: undefined,
    workingSetBytes: undefined,
    logTail: [],
    ...parts,
  };
}

/** What a turn shows. */
export interface TurnParts {
  endedMs?: number;
  views: readonly ServiceView[];
  desired?: readonly DesiredService[];
  containers?: readonly ObservedContainer[];
  foreign?: readonly ForeignContainer[];
  health?: Readonly<Record<string, HealthView>>;
  endpoints?: Readonly<Record<string, { healthy: boolean; message: string }>>;
  engine?: ObservedState["engine"];
  source?: Partial<Omit<SourceState, "trouble" | "holds">> & {
    trouble?: SourceTrouble | string | undefined;
    holds?: readonly (Hold | { kind: Hold["kind"]; reason: string })[];
  };
  notes?: readonly string[];
  pausedBy?: number;
  /** The whole desired state, or undefined for a turn that knew none. */
  state?: Partial<DesiredState> | "none";
}

/** Builds one turn. */
export function buildTurn(parts: TurnParts): TurnSummary {
  const { endedMs = NOW_MS, views, containers = views.map((view) => buildContainer(view.name)) } = parts;
  const services = parts.desired ?? views.map((view) => buildDesired(view.name));
  const health = Object.entries(parts.health ?? {}).map(([name, view]) => [containerOf(name), view] as const);
  return {
    startedMs: endedMs - 20,
    endedMs,
    desired: parts.state === "none" ? undefined : buildState(services, parts.state),
    observed: {
      engine: parts.engine ?? {
        reachable: true,
        run: "run-1",
        containers,
        foreign: parts.foreign ?? [],
        networks: {},
        volumes: {},
      },
      operations: [],
      outcomes: [],
      health: new Map(health),
      endpoints: new Map(Object.entries(parts.endpoints ?? {})),
      files: new Map(),
      hosts: undefined,
      host: { dataMounted: undefined, obstacles: new Map() },
      fronts: new Map(),
    },
    services: views,
    notes: (parts.notes ?? []).map(noteText),
    source: {
      kind: "directory",
      location: "/srv/manifests",
      revision: "a".repeat(40),
      readMs: endedMs - 12_000,
      retryMs: undefined,
      ...parts.source,
      trouble: buildTrouble(parts.source?.trouble),
      holds: (parts.source?.holds ?? []).map(buildHold),
    },
    pausedBy: parts.pausedBy,
  };
}

/** What a source says of itself, as a fact. */
function buildTrouble(said: SourceTrouble | string | undefined): SourceTrouble | undefined {
  return typeof said === "string" ? { code: "unread", fault: { code: "said", message: said } } : said;
}

function buildHold(hold: Hold | { kind: Hold["kind"]; reason: string }): Hold {
  return "why" in hold ? hold : { kind: hold.kind, why: { code: "said", message: hold.reason } };
}

function buildState(services: readonly DesiredService[], parts: Partial<DesiredState> = {}): DesiredState {
  return {
    node: "vm1",
    revision: "a".repeat(40),
    network: { name: "orca-vm1", subnet: undefined, internal: false },
    dataMount: undefined,
    memoryBudgetBytes: undefined,
    hostEntries: {},
    fleet: [],
    interests: [],
    services: new Map(services.map((service) => [service.name, service])),
    objections: new Map(),
    rotating: new Map(),
    rotationNotes: new Map(),
    refusedSecrets: new Map(),
    contents: new Map(),
    notes: [],
    held: undefined,
    ...parts,
  };
}

/** One good release. */
export function buildRelease(revision: string, parts: Partial<ReleaseRecord> = {}): ReleaseRecord {
  const fingerprint = sha256(`release ${revision}`).slice(0, 16);
  return { fingerprint, specHash: "v1:12", revision, image: "app:1", settledMs: NOW_MS, ...parts };
}

/** One end of a container. */
export function buildExit(service: string, parts: Partial<ExitRecord> = {}): ExitRecord {
  return {
    service,
    container: containerOf(service),
    startedMs: NOW_MS - 10_000,
    finishedMs: NOW_MS,
    exitCode: 1,
    signal: undefined,
    oom: false,
    requested: undefined,
    engineStopped: false,
    logTail: [],
    ...parts,
  };
}

/** A probe's view. */
export function buildHealth(parts: Partial<HealthView> = {}): HealthView {
  const run = { startedMs: NOW_MS - 60_000, sinceMs: NOW_MS - 60_000, probedMs: NOW_MS - 1_000 };
  return { ...run, status: "healthy", failures: 0, message: "ok", notMade: false, ...parts };
}

/** Counts of a gossip in which one key was refused. */
export const STATS: GossipStats = {
  ...beginCounts(),
  links: 1,
  framesSent: 30,
  framesReceived: 31,
  bytesSent: 3_000,
  bytesReceived: 3_100,
  strain: 1,
  recordsAccepted: 7,
  digestsSent: 2,
  hintsReceived: 1,
  refused: { ...beginRefusals(), "unknown-key": 12 },
};
