// Where an agent that `orca up` runs keeps its things; used by up itself and by what looks at them.

import { homedir } from "node:os";
import { join, resolve } from "node:path";

import { runPath, statePath } from "../../host/state-layout.ts";

/** Where an agent without a config file keeps its things; without root everything is in the user's own directories. */
export function choosePlaces(
  node: string,
  state: string | undefined,
): { stateDir: string; runDir: string; lockDir: string } {
  const isRoot = process.getuid?.() === 0;
  const home = join(homedir(), ".local", "state", "orca");
  const stateDir = resolve(state ?? (isRoot ? `/var/lib/orca/up/${node}` : join(home, node)));
  if (isRoot) return { stateDir, runDir: `/run/orca/${node}`, lockDir: runPath("/run/orca", "locks") };
  return { stateDir, runDir: statePath(stateDir, "run"), lockDir: runPath(home, "locks") };
}
