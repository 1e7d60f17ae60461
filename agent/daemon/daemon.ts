// One running agent with everything around it: host files, lock, engine, report, signals. `orca up` and `orca agent` are
// two ways to call it.

import { statePath } from "../host/state-layout.ts";
import { Agent, type AgentOptions } from "../loop/agent.ts";
import { judgeTurn } from "./exit-when-settled.ts";
import { type Backups, openBackups } from "./open-backups.ts";
import type { DaemonConfig } from "./daemon-config.ts";
import type { DesiredSettings } from "../desired/build/desired-settings.ts";
import { type Engine, openEngine } from "../docker/engine.ts";
import type { OpenGossip } from "../gossip/open-gossip.ts";
import { systemClock } from "../host/os/clock.ts";
import { createImageIds } from "../host/files/bundle-state.ts";
import { readBootId } from "../host/files/host-facts.ts";
import { readPolicy, readStandIns } from "../host/files/host-files.ts";
import { giveBackMemory } from "../host/os/resident-memory.ts";
import { isJournal } from "../host/os/journal.ts";
import { defaultAuthFile } from "../docker/registry-auth.ts";
import { chooseSecretDirectory } from "../host/os/memory-directory.ts";
import { readSecretFile } from "../host/files/secret-file.ts";
import { Systemd } from "../host/os/systemd.ts";
import { watchFiles } from "../host/files/watch-files.ts";
import { describeFixed, HotReload } from "./hot-reload.ts";
import { TakeoverLaw } from "./takeover-law.ts";
import { RestingMemory } from "./resting-memory.ts";
import { lockNode } from "../host/files/node-lock.ts";
import { followPromises, hearAgent, openDoctor, openPrunes, openUpdates } from "./open-keepers.ts";
import type { UpdateKeeper } from "../update/update-keeper.ts";
import type { PruneKeeper } from "../prune/prune-keeper.ts";
import { DEFAULT_PLAN_SETTINGS } from "../plan/world.ts";
import type { ReportLogger } from "../report/log/log-events.ts";
import { CommitStatus } from "../report/notify/commit-status.ts";
import { Report } from "../report/report.ts";
import type { ReportOptions } from "../report/report-options.ts";
import { Serving } from "../serve/serving.ts";
import { openSecrets } from "../secrets/open-secrets.ts";
import type { AgentEvent, Emit } from "../../shared/state/event.ts";
import { parsePublishedPort, type PublishedPort } from "../../shared/manifest/published-port.ts";
import type { Source } from "../../shared/state/snapshot.ts";
import { VERSION } from "../../shared/version.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** How the run of an agent ended. */
export type DaemonEnd =
  | { kind: "told"; signal: NodeJS.Signals }
  /** Of `once`: all is well, something was refused, or neither came in time. */
  | { kind: "settled" | "refused" | "too-late" };

/**
 * Runs an agent until it is told to end.
 * Throws a `LockHeldError` where another agent holds the node, and a `StateTooNewError` where a later version kept the state.
 */
export async function runDaemon(config: DaemonConfig): Promise<DaemonEnd> {
  const { node, stateDir } = config;
  const law = new TakeoverLaw(config);
  const settings = await readSettings(config, law);
  const reportOptions = await buildReportOptions(config);
  const unlock = lockNode({ ...config, socket: config.docker.socket });
  const engine = openOwnEngine(config);
  const commitStatus = new CommitStatus({ node, stateDir, clock: systemClock, logger: reportOptions.logger });
  const report = new Report({ ...reportOptions, sinks: [commitStatus] });
  const serving = new Serving(report, {
    listen: config.listen,
    socketPath: config.socketPath,
    clock: systemClock,
    onTrouble: (error) => reportOptions.logger.error({ error }, "status could not be served"),
  });
  const ending = new Ending();
  const resting = new RestingMemory(systemClock, giveBackMemory);
  const emit = buildEmit(config, { report, serving, ending, resting, law });
  const updates = openUpdates(config, { hear: (name) => hearAgent(fleet, name), emit });
  const fleet: OpenGossip | undefined = await openFleet(config, { emit, updates, law, report });
  const options: AgentOptions = {
    node: config.node,
    engine,
    source: await openSource(config),
    stateDir: config.stateDir,
    runDir: chooseSecretDirectory(config.runDir),
    settings: { ...settings, isReplaced: law.isReplaced },
    planSettings: DEFAULT_PLAN_SETTINGS,
    peers: fleet?.peers ?? config.peers,
    secrets: await openSecrets(config.secrets, { ...config, program: process.argv[1] ?? "" }),
    authFiles: [...(config.docker.authFile === undefined ? [] : [config.docker.authFile]), defaultAuthFile()],
    clock: systemClock,
    emit,
  };
  const agent = new Agent(options);
  const backups = openBackups(config, { agent, engine, report, serving, emit, law, authFiles: options.authFiles });
  const prunes = openPrunes(config, { engine, agent, report, serving, backups, emit });
  const doctor = openDoctor(config, { report, emit });
  attachReport(report, { agent, engine, fleet, backups, prunes, updates });
  followPromises(report, agent);
  const live = new HotReload({ agent, commitStatus, clock: systemClock, emit });
  const release = watchHost({ config, agent, ending, report, live, law });
  emit({ kind: "agent-started", atMs: systemClock.nowMs(), node, engine: config.docker.socket, version: VERSION });
  await report.start();
  await serving.start();
  emit({ kind: "serving", atMs: systemClock.nowMs(), ...serving.served });
  await agent.start();
  await live.apply(config);
  const end = await ending.reached;
  release();
  resting.close();
  await live.close();
  await Promise.all([backups.close(), prunes.close(), doctor?.close(), updates?.close()]);
  await agent.stop(describeEnd(end));
  await serving.close();
  await report.close();
  engine.close();
  unlock();
  return end;
}

/** It also knows the images that came with a bundle. */
function openOwnEngine({ docker, stateDir }: DaemonConfig): Engine {
  return openEngine(docker.socket, docker.cgroupParent, createImageIds(statePath(stateDir, "bundles")));
}

/** Hands the report the parts of the agent that it reads from. */
function attachReport(
  report: Report,
  {
    agent,
    engine,
    fleet,
    backups,
    prunes,
    updates,
  }: {
    agent: Agent;
    engine: Engine;
    fleet: OpenGossip | undefined;
    backups: Backups;
    prunes: PruneKeeper;
    updates: UpdateKeeper | undefined;
  },
): void {
  if (updates !== undefined) report.onTurn((turn) => updates.follow(turn));
  report.attach({
    store: agent.store,
    reader: agent.reader,
    redact: (text) => agent.redact(text),
    readSecret: (path) => agent.readSecret(path),
    exec: engine.exec,
    backups,
    drills: backups.drills,
    prunes,
    ...(updates === undefined ? {} : { updates }),
    request: (request) => agent.request(request),
    judgeRelease: (service, fingerprint) => agent.judgeRelease(service, fingerprint),
    planNow: () => agent.preview(),
    printWorlds: () => agent.printWorlds(),
    coldStarts: () => agent.coldStarts.list(),
    dockerCalls: () => engine.calls(),
    ...(fleet === undefined ? {} : { fleet: fleet.shell }),
  });
}

/** Why the agent ends, for its log and for what it tells of its last act. */
function describeEnd(end: DaemonEnd): string {
  switch (end.kind) {
    case "told":
      return end.signal;
    case "settled":
      return "everything has settled";
    case "refused":
      return "something was refused";
    case "too-late":
      return "time is up";
    default:
      return end satisfies never;
  }
}

/** Each source is loaded only where it is used. */
async function openSource({ source, node, stateDir }: DaemonConfig): Promise<Source> {
  if (source.kind === "directory") {
    const { DirectorySource } = await import("../sources/directory/directory-source.ts");
    return new DirectorySource({ directory: source.dir, node, clock: systemClock });
  }
  const { GitSource } = await import("../sources/git/poll/git-source.ts");
  const { createStatusReader } = await import("../sources/forge/status-reader.ts");
  const { fetchBy } = await import("../sources/git/poll/git-child.ts");
  return new GitSource({
    ...source.git,
    node,
    directory: statePath(stateDir, "git"),
    fetch: fetchBy(process.argv[1] ?? ""),
    clock: systemClock,
    readStatus: createStatusReader(source.git),
  });
}

/** The gossip is loaded only where it is used. */
async function openFleet(
  config: DaemonConfig,
  { emit, updates, law, report }: { emit: Emit; updates: UpdateKeeper | undefined; law: TakeoverLaw; report: Report },
): Promise<OpenGossip | undefined> {
  const { node, stateDir, gossip } = config;
  if (gossip === undefined) return undefined;
  const { openGossip } = await import("../gossip/open-gossip.ts");
  const program = process.argv[1] ?? "";
  const recoveryKey = (): string | undefined => law.recoveryKey;
  const agentWord = updates === undefined ? undefined : () => updates.word;
  const fleet = await openGossip({
    ...gossip,
    node,
    stateDir,
    program,
    clock: systemClock,
    agentWord,
    lostWord: () => report.losses,
    recoveryKey,
    emit,
  });
  law.fleet = fleet.shell;
  return fleet;
}

async function readSettings(config: DaemonConfig, law: TakeoverLaw): Promise<DesiredSettings> {
  const standIns = await readStandIns(config.standInFile);
  const policy = await readPolicy(config.policyFile);
  law.recoveryKey = policy.pinned.recovery_key;
  return {
    node: config.node,
    policy,
    takeovers: law.takeovers,
    isReplaced: law.isReplaced,
    standIns,
    address: config.address,
    ports: config.ports,
    budget: config.budget,
    hostNotes: config.hostNotes,
    assumeDataMounted: standIns !== undefined,
    frontImage: config.docker.frontImage,
    ownDirectories: [config.stateDir, config.runDir, chooseSecretDirectory(config.runDir)],
    agentPorts: listOwnAddresses(config).flatMap(readAgentPort),
    templates: undefined,
  };
}

function listOwnAddresses({ listen, webhook, gossip }: DaemonConfig): string[] {
  return [...listen, webhook?.listen, gossip?.listen].filter((address) => address !== undefined);
}

/** The first listener is the agent's for good; the second, on port 80, gives way to a proxy that takes every address. */
function readAgentPort(address: string): PublishedPort[] {
  const port = address.slice(address.lastIndexOf(":") + 1);
  const parsed = parsePublishedPort(`${address}:${port}`);
  return typeof parsed === "string" || parsed.hostPort === 80 ? [] : [parsed];
}

async function buildReportOptions(config: DaemonConfig): Promise<ReportOptions> {
  const notes = config.policyFile === undefined ? ["there is no policy file: everything dangerous is denied"] : [];
  const { alerts } = config;
  return {
    node: config.node,
    version: VERSION,
    stateDir: config.stateDir,
    clock: systemClock,
    logger: await buildLogger(config),
    startedMs: systemClock.nowMs(),
    bootId: readBootId(),
    notes,
    forge: config.commitStatus,
    ...(alerts === undefined
      ? {}
      : { alerts: { url: await readSecretFile(alerts.webhookFile), min: alerts.min, repeatMs: alerts.repeatMs } }),
  };
}

async function buildLogger(config: DaemonConfig): Promise<ReportLogger> {
  if (config.output.kind === "progress") return SILENT;
  const { createLogger } = await import("../report/log/logger.ts");
  const { level } = config.output;
  const journal = isJournal("stdout");
  // Into a file or a pipe, a program reads it.
  const format = config.output.format ?? (journal || process.stdout.isTTY ? "text" : "json");
  return createLogger(level, { format, journal });
}

const SILENT: ReportLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** The report hears everything; a person who is watching hears it too. */
function buildEmit(
  { output, once }: DaemonConfig,
  around: { report: Report; serving: Serving; ending: Ending; resting: RestingMemory; law: TakeoverLaw },
): Emit {
  const { report, serving, ending, resting, law } = around;
  const listeners: ((event: AgentEvent) => void)[] = [
    report.emit,
    (event) => resting.hear(event),
    (event) => law.hear(event),
  ];
  if (output.kind === "progress") listeners.push(output.watch(() => serving.served.troubles));
  if (once !== undefined) listeners.push((event) => endWhenSettled(event, ending));
  return (event) => {
    for (const listener of listeners) listener(event);
  };
}

function endWhenSettled(event: AgentEvent, ending: Ending): void {
  if (event.kind !== "turn") return;
  const verdict = judgeTurn(event.turn);
  if (verdict !== "pending") ending.end({ kind: verdict });
}

/** What a running agent is made of, for what happens to it. */
interface Running {
  config: DaemonConfig;
  agent: Agent;
  ending: Ending;
  report: Report;
  live: HotReload;
  law: TakeoverLaw;
}

/** Reads the host files again. One that cannot be read loosens and tightens nothing: what was in force stays. */
async function reloadSettings({ config, agent, report, live, law }: Running): Promise<void> {
  let message: string | undefined;
  try {
    const next = (await config.file?.read()) ?? config;
    message = describeFixed(config, next);
    agent.reload(await readSettings({ ...config, webhook: next.webhook }, law));
    await live.apply(next);
  } catch (error) {
    message = readMessage(error);
  }
  report.emit({ kind: "host-files-read", atMs: systemClock.nowMs(), message });
}

/** Signals, the watchdog, changed host files and the time limit; answers a function that ends all of it. */
function watchHost(running: Running): () => void {
  const { config, ending, report, law } = running;
  const systemd = new Systemd(systemClock);
  let turns = 0;
  const unsubscribe = report.onTurn((turn) => {
    const healthy = turn.services.filter((service) => service.state === "healthy").length;
    const status = `${healthy} of ${turn.services.length} healthy`;
    if (turns === 0) systemd.ready(status);
    else systemd.turned(status);
    turns += 1;
  });
  const reload = (): void => void reloadSettings(running);
  law.onChange = reload;
  const files = [config.policyFile, config.standInFile, config.file?.path].filter((file) => file !== undefined);
  const stopWatching = watchFiles(files, reload);
  const end = (signal: NodeJS.Signals): void => {
    systemd.stopping();
    ending.end({ kind: "told", signal });
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  process.on("SIGHUP", reload);
  const timer =
    config.once === undefined ? undefined : setTimeout(() => ending.end({ kind: "too-late" }), config.once.timeoutMs);
  return () => {
    clearTimeout(timer);
    unsubscribe();
    stopWatching();
    process.removeListener("SIGHUP", reload);
  };
}

/** The end of a run: whoever calls first says how. */
class Ending {
  readonly reached: Promise<DaemonEnd>;
  #resolve: (end: DaemonEnd) => void = () => undefined;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  end(end: DaemonEnd): void {
    this.#resolve(end);
  }
}
