// Opens what runs beside the loop and follows its turns: prunes, and the weekly look at the host. Called by daemon.ts.

import type { Agent } from "../loop/agent.ts";
import type { Engine } from "../docker/engine.ts";
import type { OpenGossip } from "../gossip/open-gossip.ts";
import { readPolicy } from "../host/files/host-files.ts";
import { systemClock } from "../host/os/clock.ts";
import { readDisks } from "../host/os/node-stats.ts";
import { runPath, statePath } from "../host/state-layout.ts";
import { EphemeralKeeper } from "../prune/ephemeral-keeper.ts";
import { PruneKeeper } from "../prune/prune-keeper.ts";
import type { Report } from "../report/report.ts";
import type { Serving } from "../serve/serving.ts";
import { findDebianArch } from "../update/debian-arch.ts";
import { listPlaces } from "../update/places.ts";
import { UpdateKeeper, type UpdateKeeperOptions } from "../update/update-keeper.ts";
import type { AgentWord } from "../../shared/fleet/agent-version.ts";
import { VERSION } from "../../shared/version.ts";
import type { Emit } from "../../shared/state/event.ts";
import type { Backups } from "./open-backups.ts";
import type { DaemonConfig } from "./daemon-config.ts";
import { WeeklyDoctor } from "./weekly-doctor.ts";

/** Looks at the host once a week; not for an agent that somebody runs from a directory, without a file of its own. */
export function openDoctor(
  { file, stateDir }: DaemonConfig,
  { report, emit }: { report: Report; emit: Emit },
): WeeklyDoctor | undefined {
  if (file === undefined) return undefined;
  const doctor = new WeeklyDoctor({
    config: file.path,
    program: process.argv[1] ?? "",
    statePath: statePath(stateDir, "doctorRecord"),
    clock: systemClock,
    emit,
  });
  report.onTurn(() => doctor.follow());
  return doctor;
}

/** Tells the loop which promises are broken, whenever that is something else: changes of some services wait for them. */
export function followPromises(
  report: Pick<Report, "onTurn" | "listBroken">,
  agent: Pick<Agent, "learnPromises">,
): void {
  let told: string | undefined;
  report.onTurn(() => {
    const broken = report.listBroken();
    const text = JSON.stringify(broken);
    if (text === told) return;
    told = text;
    agent.learnPromises(broken);
  });
}

/** Keeps this host's agent at the version that fleet.toml pins; not for an agent that somebody runs from a directory. */
export function openUpdates(
  { file, node, runDir, hasUpdates, policyFile }: DaemonConfig,
  { hear, emit }: { hear: UpdateKeeperOptions["hear"]; emit: Emit },
): UpdateKeeper | undefined {
  if (file === undefined) return undefined;
  return new UpdateKeeper({
    node,
    running: VERSION,
    arch: findDebianArch(),
    places: listPlaces(),
    requestPath: runPath(runDir, "updateRequest"),
    clock: systemClock,
    hasSource: hasUpdates,
    hasKey: async () => (await readPolicy(policyFile)).pinned.release_key !== undefined,
    hear,
    emit,
  });
}

/** What a node says of its agent; undefined where that is not its present word. */
export function hearAgent(fleet: OpenGossip | undefined, node: string): AgentWord | undefined {
  const look = fleet?.shell.look(node);
  return look?.stale === undefined ? look?.words?.agent : undefined;
}

/** Prunes by what this agent knows to be needed, and waits while it has other work. */
export function openPrunes(
  { node, stateDir }: DaemonConfig,
  {
    engine,
    agent,
    report,
    serving,
    backups,
    emit,
  }: { engine: Engine; agent: Agent; report: Report; serving: Serving; backups: Backups; emit: Emit },
): PruneKeeper {
  let rootDir: string | undefined;
  const prunes = new PruneKeeper({
    node,
    clock: systemClock,
    statePath: statePath(stateDir, "pruneRecord"),
    pruner: engine.pruner,
    findImage: (reference) => engine.reader.findImage(reference),
    listReleases: (service, most) => agent.store.listReleases(service, most),
    listBackupImages: () => backups.listImages(),
    isBusy: () => agent.isBusy,
    readDisk: async () => {
      rootDir ??= (await engine.reader.info()).rootDir;
      const [disk] = await readDisks([rootDir]);
      if (disk === undefined) return undefined;
      const share = (part: number, whole: number): number => (whole <= 0 ? 1 : part / whole);
      return { free: share(disk.freeBytes, disk.totalBytes), inodesFree: share(disk.inodesFree, disk.inodes) };
    },
    emit,
  });
  const ephemeral = new EphemeralKeeper({
    node,
    clock: systemClock,
    volumes: engine.ephemeral,
    isAllowed: () => agent.allowsEphemeral,
    isBusy: () => agent.isBusy,
    listReleases: (service, most) => agent.store.listReleases(service, most),
    findRelease: (service, fingerprint) => agent.store.findRelease(service, fingerprint),
    emit,
  });
  report.onTurn((turn) => {
    prunes.follow(turn);
    ephemeral.follow(turn);
  });
  serving.offerPrunes(prunes);
  return prunes;
}
