// Whether the agent can see what containers have mounted: it compares that with what was judged, and kills what was given another mount
// while it started (agent/host/os/start-watch.ts). Where the kernel shows it no processes of others, it sees nothing and says nothing.

import type { AgentProcessFact, HostView } from "./doctor-facts.ts";
import { type Finding, fine } from "./finding.ts";

const CHECK = "mounts of containers";

/** Judges whether each running agent sees the processes of containers. */
export function checkMountWatch({ agents, hiddenProcesses }: HostView): Finding[] {
  if (agents.length === 0) return [];
  if (hiddenProcesses === undefined) return [fine(CHECK, "the agent sees what containers have mounted")];
  return agents.map((agent) => judgeAgent(agent, hiddenProcesses));
}

function judgeAgent(
  { pid, rights }: AgentProcessFact,
  { option, group }: NonNullable<HostView["hiddenProcesses"]>,
): Finding {
  if (rights?.maySeeAll === true || (group !== undefined && rights?.groups.includes(group) === true))
    return fine(CHECK, `process ${pid} sees what containers have mounted, although /proc has ${option}`);
  const join =
    group === undefined
      ? ""
      : `; or systemctl edit orca-agent, write SupplementaryGroups=${group} below [Service], and systemctl restart orca-agent`;
  return {
    check: CHECK,
    severity: "warn",
    what: `/proc is mounted with ${option}, so process ${pid} does not see what containers have mounted`,
    why: "a bind mount that is swapped while its container starts is not noticed, and the container keeps it",
    fix: `take ${option} out of /etc/fstab, and run mount -o remount,hidepid=0 /proc${join}`,
  };
}
