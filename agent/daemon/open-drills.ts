// Opens what makes the drills of a node. Called by open-backups.ts.

import type { BackupKeeper } from "../backup/keeper/backup-keeper.ts";
import { DrillKeeper } from "../drill/drill-keeper.ts";
import { systemClock } from "../host/os/clock.ts";
import { statePath } from "../host/state-layout.ts";
import type { Agent } from "../loop/agent.ts";
import type { Report } from "../report/report.ts";
import type { Serving } from "../serve/serving.ts";
import type { Emit } from "../../shared/state/event.ts";
import type { DaemonConfig } from "./daemon-config.ts";

/** Opens it; it hears of everything from then on. */
export function openDrills(
  { node, stateDir }: DaemonConfig,
  {
    agent,
    report,
    serving,
    keeper,
    emit,
  }: { agent: Agent; report: Report; serving: Serving; keeper: BackupKeeper; emit: Emit },
): DrillKeeper {
  const drills = new DrillKeeper({
    node,
    clock: systemClock,
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
