// One running agent with everything around it: host files, lock, engine, report, signals. `orca up` and `orca agent` are
// two ways to call it.

import { Agent } from "./agent.ts";
import { judgeTurn } from "./cli/once.ts";
import { EXIT } from "./cli/exit-codes.ts";
import { UpProgress } from "./cli/up-progress.ts";
import type { DesiredSettings } from "./desired/settings.ts";
import { openEngine } from "./docker/engine.ts";
import { systemClock } from "./host/clock.ts";
import { readPolicy, readStandIns } from "./host/host-files.ts";
import { defaultAuthFile } from "./host/registry-auth.ts";
import { lockNode } from "./node-lock.ts";
import { DEFAULT_PLAN_SETTINGS, type PeerHealth } from "./plan/world.ts";
import { DirectorySource } from "./sources/directory.ts";
import { standInSecrets } from "./sources/stand-in-secrets.ts";
import type { AgentEvent, Emit } from "../shared/event.ts";
import { VERSION } from "../shared/version.ts";

/** Everything a running agent is told. */
export interface DaemonConfig {
  node: string;
  /** How the lock's holder is named. */
  command: string;
  source: { dir: string };
  stateDir: string;
  runDir: string;
  lockDir: string;
  docker: { socket: string; authFile: string | undefined };
  /** Loopback addresses where status is served. */
  listen: readonly string[];
  socketPath: string;
  policyFile: string | undefined;
  standInFile: string | undefined;
  /** Where ports are published; undefined for the node's own address. */
  address: string | undefined;
  ports: DesiredSettings["ports"];
  budget: DesiredSettings["budget"];
  peers: PeerHealth;
  /** Lines for people, or a log for a journal. */
  output: "progress" | "log";
  /** Ends when everything has settled. */
  once: { timeoutMs: number } | undefined;
}

/** Runs an agent until it is told to end; answers the exit code. */
export async function runDaemon(config: DaemonConfig): Promise<number> {
  const settings = await readSettings(config);
  const unlock = lockNode({ ...config, socket: config.docker.socket });
  const engine = openEngine(config.docker.socket);
  const ending = new Ending();
  const progress = new UpProgress(process.stdout);
  const emit: Emit = (event) => {
    progress.hear(event);
    if (config.once !== undefined) endWhenSettled(event, ending);
  };
  const agent = new Agent({
    node: config.node,
    engine,
    source: new DirectorySource({ directory: config.source.dir, node: config.node, clock: systemClock }),
    stateDir: config.stateDir,
    runDir: config.runDir,
    settings,
    planSettings: DEFAULT_PLAN_SETTINGS,
    peers: config.peers,
    secrets: config.standInFile === undefined ? undefined : standInSecrets,
    authFiles: [...(config.docker.authFile === undefined ? [] : [config.docker.authFile]), defaultAuthFile()],
    clock: systemClock,
    emit,
  });
  const timer =
    config.once === undefined
      ? undefined
      : setTimeout(() => ending.end(EXIT.notHealthy, "time is up"), config.once.timeoutMs);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ending.end(EXIT.ok, signal));
  emit({
    kind: "agent-started",
    atMs: systemClock.nowMs(),
    node: config.node,
    engine: config.docker.socket,
    version: VERSION,
  });
  await agent.start();
  const { code, reason } = await ending.reached;
  clearTimeout(timer);
  await agent.stop(reason);
  engine.close();
  unlock();
  return code;
}

async function readSettings(config: DaemonConfig): Promise<DesiredSettings> {
  const standIns = await readStandIns(config.standInFile);
  return {
    node: config.node,
    policy: await readPolicy(config.policyFile),
    standIns,
    address: config.address,
    ports: config.ports,
    budget: config.budget,
    assumeDataMounted: standIns !== undefined,
    agentPorts: [],
    render: undefined,
  };
}

function endWhenSettled(event: AgentEvent, ending: Ending): void {
  if (event.kind !== "turn") return;
  const verdict = judgeTurn(event.turn);
  if (verdict === "settled") ending.end(EXIT.ok, "everything has settled");
  if (verdict === "refused") ending.end(EXIT.failed, "something was refused");
}

/** The end of a run: whoever calls first says how. */
class Ending {
  readonly reached: Promise<{ code: number; reason: string }>;
  #resolve: (end: { code: number; reason: string }) => void = () => undefined;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  end(code: number, reason: string): void {
    this.#resolve({ code, reason });
  }
}
