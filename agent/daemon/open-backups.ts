// Backups and restores of one agent: dumps and restores run in children of their own, one at a time and with a place of their own, since
// one may take an hour. Called by daemon.ts, the composition root.

import { AuditCopies } from "../backup/audit/audit-copies.ts";
import { BeforeUpdate } from "../backup/keeper/before-update.ts";
import { BackupKeeper } from "../backup/keeper/backup-keeper.ts";
import { nameStore } from "../backup/keeper/store-memories.ts";
import { pinBackup } from "../backup/keeper/pins.ts";
import { sweepSpool } from "../backup/spool.ts";
import { RestoreKeeper } from "../backup/restore/restore-keeper.ts";
import type { DrillKeeper } from "../drill/drill-keeper.ts";
import { LogKeeper } from "../backup/wal/log-keeper.ts";
import type { Engine } from "../docker/engine.ts";
import { createImageFetcher } from "../docker/fetch-image.ts";
import { createAuthFinder } from "../docker/registry-auth.ts";
import { type ChildRun, runChild } from "../host/os/child-process.ts";
import { ChildSlots } from "../host/os/child-slots.ts";
import { systemClock } from "../host/os/clock.ts";
import { chooseSecretDirectory } from "../host/os/memory-directory.ts";
import { runPath, statePath } from "../host/state-layout.ts";
import { readSecretValue } from "../secrets/keeper/read-value.ts";
import type { Agent } from "../loop/agent.ts";
import type { Report } from "../report/report.ts";
import type { BackupDesk } from "../serve/backup-routes.ts";
import type { Serving } from "../serve/serving.ts";
import type { StoreStatus } from "../../shared/state/backup.ts";
import type { DesiredState } from "../../shared/state/desired-state.ts";
import type { Emit, TurnSummary } from "../../shared/state/event.ts";
import type { Note } from "../../shared/state/note.ts";
import type { StoreStanding } from "../../shared/state/promise.ts";
import type { DaemonConfig } from "./daemon-config.ts";
import { openDrills } from "./open-drills.ts";
import type { TakeoverLaw } from "./takeover-law.ts";

/** So much of logs waits on this host for its repositories, at most. */
const WAL_SPOOL_BYTES = 2 * 2 ** 30;

/** What they work with. */
interface Around {
  agent: Agent;
  engine: Engine;
  report: Report;
  serving: Serving;
  emit: Emit;
  /** Says whether this machine is a spare in its node's place. */
  law: Pick<TakeoverLaw, "readTerm" | "replacedBy">;
  /** Files with the credentials of registries. */
  authFiles: readonly string[];
}

/** Both, as the rest of the daemon sees them. */
export interface Backups {
  readonly notes: Note[];
  readonly standings: readonly StoreStanding[];
  /** Why a repository has no copy of the audit log of today. */
  readonly auditCopyTrouble: string | undefined;
  /** What makes drills of them. */
  readonly drills: DrillKeeper;
  /** Images that backups need to be restored. */
  listImages(): Promise<string[]>;
  close(): Promise<void>;
}

/** Opens them; they follow each turn from then on. */
export function openBackups(config: DaemonConfig, around: Around): Backups {
  const { node, stateDir } = config;
  const { agent, engine, report, serving, authFiles } = around;
  let desired: DesiredState | undefined;
  const common = {
    ...buildCommon(config, around),
    listBinds: (service: string) => desired?.services.get(service)?.binds ?? [],
  };
  const keeper = new BackupKeeper({
    ...common,
    statePath: statePath(stateDir, "backupRecord"),
    keyPath: statePath(stateDir, "backupKey"),
    holdStill: (service: string, store: string | undefined) => agent.request({ kind: "cold-copy", service, store }),
    runLightChild: (run) => runChild(run),
    fetchImage: createImageFetcher(engine, createAuthFinder(authFiles)),
    listHeld: (store) => restores.listHeld(store),
    onBaseJudged: (plan) => logs.recheck(plan),
    sweep: () => Promise.all([engine.oneShots.sweep(node), sweepSpool(common.spool)]),
  });
  const restores: RestoreKeeper = new RestoreKeeper({
    ...common,
    statePath: statePath(stateDir, "restoreRecord"),
    progressPath: statePath(stateDir, "restoreProgress"),
    engine,
    listSources: (service, store) => keeper.sources.list(service, store),
    listArea: (service, store, area) => keeper.sources.listArea(service, store, area),
    shipLog: (service, store, log) => logs.shipNow(nameStore({ service, store }), log),
    swept: keeper.swept,
    request: (request) => agent.request(request),
  });
  const logs: LogKeeper = openLogs(stateDir, { ...common, ...keeper.shared, engine });
  const auditCopies = openAuditCopies(stateDir, { ...common, ...keeper.shared });
  const before = new BeforeUpdate(keeper, systemClock, (facts) => agent.learnBackups(facts));
  report.onTurn((turn) => {
    ({ desired } = turn);
    followTurn(turn, { keeper, restores, logs, auditCopies, before });
  });
  const drills = openDrills(config, { ...around, keeper, common });
  serving.offerBackups(openDesk(node, keeper, around.law), restores);
  return {
    get notes() {
      return [...keeper.notes, ...logs.notes, ...auditCopies.notes, ...restores.notes];
    },
    get standings() {
      return logs.improve(keeper.standings);
    },
    get auditCopyTrouble() {
      return auditCopies.trouble;
    },
    drills,
    listImages: async () => [...(await keeper.listImages()), ...restores.heldImages],
    close: async () => {
      before.close();
      await drills.close();
      await Promise.all([keeper, logs, auditCopies, restores].map((part) => part.close()));
    },
  };
}

/** Tells each of what a turn has found. */
function followTurn(
  turn: TurnSummary,
  parts: {
    keeper: BackupKeeper;
    restores: RestoreKeeper;
    logs: LogKeeper;
    auditCopies: AuditCopies;
    before: BeforeUpdate;
  },
): void {
  const plans = turn.desired?.backups ?? [];
  parts.keeper.follow(plans, turn.observed.engine, turn.services);
  parts.restores.follow(turn);
  parts.logs.follow(plans, turn.observed.engine);
  parts.auditCopies.follow(plans);
  parts.before.follow(turn);
}

function openLogs(
  stateDir: string,
  parts: Omit<
    ConstructorParameters<typeof LogKeeper>[0],
    "runLightChild" | "statePath" | "walDirectory" | "spoolBytes"
  >,
): LogKeeper {
  return new LogKeeper({
    ...parts,
    runLightChild: (run) => runChild(run),
    statePath: statePath(stateDir, "walRecord"),
    walDirectory: statePath(stateDir, "walSpool"),
    spoolBytes: WAL_SPOOL_BYTES,
  });
}

/** The log is the report's, and this is where its file is named to whoever copies it. */
function openAuditCopies(
  stateDir: string,
  parts: Omit<ConstructorParameters<typeof AuditCopies>[0], "auditPath" | "statePath" | "runLightChild">,
): AuditCopies {
  return new AuditCopies({
    ...parts,
    auditPath: statePath(stateDir, "audit"),
    statePath: statePath(stateDir, "auditCopies"),
    runLightChild: (run) => runChild(run),
  });
}

/** What both work with. */
function buildCommon(
  { node, stateDir, runDir, backupDir, lockDir, docker }: DaemonConfig,
  { agent, emit, law }: Pick<Around, "agent" | "emit" | "law">,
) {
  const slots = new ChildSlots(1);
  return {
    node,
    clock: systemClock,
    localDirectory: backupDir,
    readTerm: () => law.readTerm(),
    lockDirectory: lockDir,
    spool: statePath(stateDir, "backupSpool"),
    memoryDirectory: runPath(chooseSecretDirectory(runDir), "backup"),
    readSecret: (path: string) => readSecretValue(agent.secrets, path),
    socket: docker.socket,
    cgroupParent: docker.cgroupParent,
    bundles: statePath(stateDir, "bundles"),
    program: process.argv[1] ?? "",
    runChild: (run: ChildRun) => runChild(run, slots),
    emit,
  };
}

/** What people ask of the keeper, and of the records that it reads. */
function openDesk(node: string, keeper: BackupKeeper, law: Pick<TakeoverLaw, "replacedBy">): BackupDesk {
  const list = (): Promise<StoreStatus[]> => keeper.list();
  const pins = {
    node,
    list,
    records: keeper.records,
    listSources: (service: string, store: string) => keeper.sources.list(service, store),
    forget: (service: string, store: string) => keeper.sources.forget(service, store),
  };
  return {
    get backupKey() {
      return keeper.backupKey;
    },
    get replacedBy() {
      return law.replacedBy;
    },
    list,
    listLeft: () => keeper.listLeft(),
    ask: (kind, store) => keeper.ask(kind, store),
    copyOut: (order) => keeper.copyOut(order),
    pin: (order) => pinBackup(pins, order),
  };
}
