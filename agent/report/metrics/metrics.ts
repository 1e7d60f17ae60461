// Metrics in Prometheus' form, made anew from the status document for each scrape. prom-client is loaded with the first scrape
// and not before: it costs 1 MB anonymous and 6 MB resident that a node without Prometheus never pays.

import type { Gauge, Counter, Registry } from "prom-client";

import type { ColdStartReport } from "../../../shared/state/cold-start.ts";
import { SERVICE_STATES } from "../../../shared/state/status.ts";
import type { ServiceDocument, StatusDocument } from "../../../shared/document/status-document.ts";
import type { SloDocument } from "../../../shared/document/slo-document.ts";
import { buildBackupFiller } from "./backup-metrics.ts";
import { buildPromiseFiller } from "./promise-metrics.ts";
import { buildColdStartFiller, buildGossipFiller, type FleetScrape } from "./gossip-metrics.ts";

/** What is scraped: the status, and counts that no document holds. */
export interface Scrape {
  status: StatusDocument;
  turns: { completed: number; failed: number };
  audit: { lines: number; ok: boolean };
  /** Alerts that are under way or told; undefined where no webhook is set. */
  alertsOk: boolean | undefined;
  /** Calls to the engine by name, where they are counted. */
  dockerCalls: Readonly<Record<string, number>> | undefined;
  steps: Readonly<Record<string, { done: number; failed: number }>>;
  residentBytes: number;
  /** Undefined where there is no gossip. */
  fleet: FleetScrape | undefined;
  /** How the promises of the stores stand. */
  slo: SloDocument;
  /** The last cold start that is over. */
  coldStart: ColdStartReport | undefined;
}

type Labels = Record<string, string | number>;
type Set = (labels: Labels, value: number) => void;

/** Makes the text of a scrape. */
export class Metrics {
  #ready: Promise<{ registry: Registry; fill: (scrape: Scrape) => void }> | undefined;

  /** Answers one scrape. */
  async scrape(scrape: Scrape): Promise<{ type: string; body: string }> {
    const { registry, fill } = await (this.#ready ??= build());
    fill(scrape);
    return { type: registry.contentType, body: await registry.metrics() };
  }
}

async function build(): Promise<{ registry: Registry; fill: (scrape: Scrape) => void }> {
  const { default: prom } = await import("prom-client");
  const registry = new prom.Registry();
  const all: { reset(): void }[] = [];
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Set => {
    const metric: Gauge = new prom.Gauge({ name, help, labelNames: ["node", ...labelNames], registers: [registry] });
    all.push(metric);
    return (labels, value) => metric.set(labels, value);
  };
  const counter = (name: string, help: string, labelNames: readonly string[] = []): Set => {
    const metric: Counter = new prom.Counter({
      name,
      help,
      labelNames: ["node", ...labelNames],
      registers: [registry],
    });
    all.push(metric);
    return (labels, value) => metric.inc(labels, value);
  };
  const fillGossip = buildGossipFiller(gauge, counter);
  const fillColdStart = buildColdStartFiller(gauge);
  const fillers = [
    buildAgentFiller(gauge, counter),
    buildHostFiller(gauge),
    buildServiceFiller(gauge, counter),
    ({ fleet, status }: Scrape) => fillGossip(fleet, { node: status.node }),
    buildBackupFiller(gauge),
    buildPromiseFiller(gauge),
    ({ coldStart, status }: Scrape) => fillColdStart(coldStart, { node: status.node }),
  ];
  return {
    registry,
    fill: (scrape) => {
      // Services come and go: nothing of an earlier scrape may stay.
      for (const metric of all) metric.reset();
      for (const fillOne of fillers) fillOne(scrape);
    },
  };
}

/** Makes one metric; answers what sets or counts it. */
export type Maker = (name: string, help: string, labelNames?: readonly string[]) => Set;

function buildAgentFiller(gauge: Maker, counter: Maker): (scrape: Scrape) => void {
  const info = gauge("orca_agent_info", "Version of the agent and revision in force; always 1.", [
    "version",
    "revision",
  ]);
  const started = gauge("orca_agent_start_time_seconds", "When the agent started, since the epoch.");
  const resident = gauge("orca_process_resident_memory_bytes", "Resident memory of the agent.");
  const lastTurn = gauge("orca_last_turn_timestamp_seconds", "When the last turn of the loop was completed.");
  const duration = gauge("orca_last_turn_duration_seconds", "How long the last turn took.");
  const turns = counter("orca_turns_total", "Turns of the loop since the agent started.", ["result"]);
  const steps = counter("orca_steps_total", "Steps since the agent started.", ["step", "result"]);
  const engine = gauge("orca_engine_up", "1 while the engine answers.");
  const calls = counter("orca_docker_calls_total", "Calls to the engine since the agent started.", ["call"]);
  const sourceAge = gauge("orca_source_age_seconds", "Since when the source was last read well.");
  const secretsOk = gauge("orca_secrets_ok", "1 while the provider of secrets answers.");
  const sourceOk = gauge("orca_source_ok", "1 while the newest reading of the source is in force.");
  const pushes = counter("orca_webhook_requests_total", "Requests to the webhook since the agent started.", ["answer"]);
  const pushed = gauge("orca_webhook_last_timestamp_seconds", "When the webhook last answered a request.");
  const healthy = gauge("orca_healthy", "1 while every wanted service is healthy, completed or stopped.");
  const paused = gauge("orca_paused", "1 while the whole node is paused.");
  const unmanaged = gauge("orca_unmanaged_containers", "Containers of others: listed, never touched.");
  const lines = counter("orca_audit_lines_total", "Lines of the audit log.");
  const auditOk = gauge("orca_audit_ok", "1 while the audit log can be written.");
  const alertsOk = gauge("orca_alerts_ok", "1 while the alert webhook takes messages.");
  return (scrape) => {
    const { status } = scrape;
    const node = { node: status.node };
    info({ ...node, version: status.agent.version, revision: status.revision ?? "" }, 1);
    started(node, toSeconds(status.agent.started));
    resident(node, scrape.residentBytes);
    if (status.turn.ended !== null) lastTurn(node, toSeconds(status.turn.ended));
    if (status.turn.tookMs !== null) duration(node, status.turn.tookMs / 1_000);
    turns({ ...node, result: "completed" }, scrape.turns.completed);
    turns({ ...node, result: "failed" }, scrape.turns.failed);
    for (const [step, { done, failed }] of Object.entries(scrape.steps)) {
      steps({ ...node, step, result: "done" }, done);
      steps({ ...node, step, result: "failed" }, failed);
    }
    for (const [call, count] of Object.entries(scrape.dockerCalls ?? {})) calls({ ...node, call }, count);
    engine(node, Number(status.engine.reachable));
    if (status.source?.ageSeconds !== undefined && status.source.ageSeconds !== null)
      sourceAge(node, status.source.ageSeconds);
    secretsOk(node, Number(status.secrets === null));
    sourceOk(node, Number(status.source !== null && status.source.trouble === null));
    if (status.webhook !== null) {
      const { accepted, ignored, refused, last } = status.webhook;
      for (const [answer, count] of Object.entries({ accepted, ignored, refused })) pushes({ ...node, answer }, count);
      if (last !== null) pushed(node, toSeconds(last.at));
    }
    healthy(node, Number(status.healthy));
    paused(node, Number(status.paused !== null));
    unmanaged(node, status.unmanaged.length);
    lines(node, scrape.audit.lines);
    auditOk(node, Number(scrape.audit.ok));
    if (scrape.alertsOk !== undefined) alertsOk(node, Number(scrape.alertsOk));
  };
}

function buildHostFiller(gauge: Maker): (scrape: Scrape) => void {
  const total = gauge("orca_node_memory_bytes", "Memory of the node.");
  const available = gauge("orca_node_memory_available_bytes", "Memory that can be had without swapping.");
  const load = gauge("orca_node_cpu_load_ratio", "How busy the processors are, 0 to 1.");
  const size = gauge("orca_filesystem_size_bytes", "Size of a file system.", ["path"]);
  const free = gauge("orca_filesystem_free_bytes", "Free space of a file system.", ["path"]);
  const inodes = gauge("orca_filesystem_inodes", "Inodes of a file system.", ["path"]);
  const inodesFree = gauge("orca_filesystem_inodes_free", "Free inodes of a file system.", ["path"]);
  return ({ status }) => {
    const { host } = status;
    if (host === null) return;
    const node = { node: status.node };
    total(node, host.memoryTotalBytes);
    available(node, host.memoryAvailableBytes);
    if (host.cpuLoadPercent !== null) load(node, host.cpuLoadPercent / 100);
    for (const disk of host.disks) {
      const labels = { ...node, path: disk.path };
      size(labels, disk.totalBytes);
      free(labels, disk.freeBytes);
      inodes(labels, disk.inodes);
      inodesFree(labels, disk.inodesFree);
    }
  };
}

function buildServiceFiller(gauge: Maker, counter: Maker): (scrape: Scrape) => void {
  const own = ["service"];
  const state = gauge("orca_service_state", "1 for the state a service is in, 0 for the others.", ["service", "state"]);
  const healthy = gauge("orca_service_healthy", "1 while the service's probes say healthy.", own);
  const settled = gauge("orca_service_settled", "1 while what runs is recorded as good.", own);
  const since = gauge("orca_service_state_since_seconds", "Since when it is in its state, since the epoch.", own);
  const restarts = counter("orca_service_restarts_total", "Restarts that nobody asked for.", own);
  const oomKills = counter("orca_service_oom_kills_total", "Runs in which the kernel killed for memory.", own);
  const memory = gauge("orca_service_memory_bytes", "Memory in use less inactive file cache.", own);
  const peak = gauge("orca_service_memory_peak_bytes", "The most memory in use that was seen with this image.", own);
  const cap = gauge("orca_service_memory_cap_bytes", "The memory cap.", own);
  const secret = ["service", "secret", "kind"];
  const refused = gauge("orca_service_secret_refused", "1 for a secret in use that the provider refuses.", secret);
  const valueAge = gauge("orca_service_secret_age_seconds", "Age of the value of a secret that is refused.", secret);
  return ({ status }) => {
    for (const service of status.services) {
      const labels = { node: status.node, service: service.name };
      for (const name of SERVICE_STATES) state({ ...labels, state: name }, Number(service.state === name));
      healthy(labels, Number(service.health === "healthy"));
      settled(labels, Number(service.settled));
      since(labels, toSeconds(service.since));
      restarts(labels, service.restarts);
      oomKills(labels, service.oomKills);
      setKnown(memory, labels, service.memoryUsedBytes);
      setKnown(peak, labels, service.memoryPeakBytes);
      setKnown(cap, labels, service.memoryCapBytes);
      for (const { path, kind, read } of service.refusedSecrets) {
        refused({ ...labels, secret: path, kind }, 1);
        valueAge({ ...labels, secret: path, kind }, toSeconds(status.at) - toSeconds(read));
      }
    }
  };
}

function setKnown(set: Set, labels: Labels, value: ServiceDocument["memoryUsedBytes"]): void {
  if (value !== null) set(labels, value);
}

function toSeconds(iso: string): number {
  return Date.parse(iso) / 1_000;
}
