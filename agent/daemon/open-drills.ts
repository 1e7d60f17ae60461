// Opens what makes the drills of a node. Called by open-backups.ts.

import type { ChildParts } from "../backup/ask-child.ts";
import type { BackupKeeper } from "../backup/keeper/backup-keeper.ts";
import { DrillKeeper } from "../drill/drill-keeper.ts";
import { systemClock } from "../host/os/clock.ts";
import { chooseSecretDirectory } from "../host/os/memory-directory.ts";
import { runPath, statePath } from "../host/state-layout.ts";
import type { Agent } from "../loop/agent.ts";
import type { Report } from "../report/report.ts";
import type { Serving } from "../serve/serving.ts";
import type { Emit } from "../../shared/state/event.ts";
import type { DaemonConfig } from "./daemon-config.ts";

/** Opens it; it hears of everything from then on. */
export function openDrills(
  { node, stateDir, runDir }: DaemonConfig,
  {
    agent,
    report,
    serving,
    keeper,
    common,
    emit,
  }: {
    agent: Agent;
    report: Report;
    serving: Serving;
    keeper: BackupKeeper;
    common: ChildParts;
    emit: Emit;
  },
): DrillKeeper {
  const drills = new DrillKeeper({
    node,
    clock: systemClock,
    full: {
      ...common,
      listSources: (service, store) => keeper.sources.list(service, store),
      ownDirectories: [statePath(stateDir, "files"), runPath(chooseSecretDirectory(runDir), "secrets")],
      progressPath: statePath(stateDir, "drillProgress"),
    },
    directory: statePath(stateDir, "drills"),
    listStandings: () => keeper.standings,
    listStores: () => keeper.list(),
    proveStore: (store) => keeper.ask("verify", store),
    request: (request) => agent.request(request),
    emit,
  });
  report.onEvent((event) => drills.hear(event));
  serving.offerDrills(drills);
  return drills;
}
