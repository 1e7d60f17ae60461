// Where delivered secrets could reach a disk or somebody's eyes: variables, swap, core files, a directory that is not in memory.

import { type Finding, fine } from "./finding.ts";
import type { AgentProcessFact, HostView } from "./doctor-facts.ts";

/** Judges how secrets are delivered. */
export function checkDelivery(host: HostView): Finding[] {
  return [...checkVariables(host), checkDirectory(host), ...checkCores(host), ...checkSwap(host)];
}

/** Each use is a choice that somebody made, and is listed as one. */
function checkVariables({ services }: HostView): Finding[] {
  const check = "secrets in variables";
  if (services === undefined) {
    const what = "no agent has stored yet what is in force on this host: its services are not known";
    return [
      { check, severity: "info", what, why: "only a running agent knows them", fix: "systemctl start orca-agent" },
    ];
  }
  const uses = services.flatMap(({ name, secretEnv }) =>
    Object.entries(secretEnv).map(([variable, path]): Finding => {
      const why = "docker inspect, /proc/1/environ and two files of the engine on this disk show it in plain text";
      const fix = `in ${name}.toml move it to [secrets.files]: ${variable}_FILE is then set, if the program can read that`;
      return { check, severity: "info", what: `${name} is given ${path} as the variable ${variable}`, why, fix };
    }),
  );
  return uses.length > 0 ? uses : [fine(check, "no service is given a secret as a variable")];
}

function checkDirectory({ delivery }: HostView): Finding {
  const { directory, inMemory } = delivery;
  const check = "delivery in memory";
  if (inMemory === true) return fine(check, `${directory} is in memory`);
  const what = inMemory === undefined ? `${directory} is not there` : `${directory} is on a disk`;
  const why = "secret files are delivered there; on a disk they would outlive a reboot, so the agent delivers none";
  return { check, severity: "fail", what, why, fix: "mount -t tmpfs -o mode=755,size=16m tmpfs /run" };
}

function checkCores(host: HostView): Finding[] {
  return [...host.agents.map((agent) => checkAgentCore(agent, host)), checkEngineCores(host)];
}

function checkAgentCore({ pid, coreLimit, coreFiltered }: AgentProcessFact, { corePattern = "" }: HostView): Finding {
  const check = "core files of the agent";
  // A handler behind a pipe is given the core whatever the limit is (core(5)).
  const piped = corePattern.startsWith("|");
  if (coreFiltered === true && (coreLimit === "0" || piped))
    return fine(check, `process ${pid} leaves no memory in one`);
  const why = "a crash would write the values that it knows into a file";
  if (coreFiltered === false) {
    const what = `process ${pid} would leave its memory in ${piped ? "a core file, through a handler" : "a core file"}`;
    return { check, severity: "fail", what, why, fix: "restart it: systemctl restart orca-agent" };
  }
  const what = `process ${pid} may write core files (limit ${coreLimit ?? "unknown"}), without its memory in them`;
  return { check, severity: "warn", what, why, fix: "LimitCORE=0 in its unit, as systemd/orca-agent.service has it" };
}

function checkEngineCores({ engineCoreLimit }: HostView): Finding {
  const check = "core files of services";
  if (engineCoreLimit === 0) return fine(check, "the engine gives containers no core files");
  const what = "the engine's configuration lets containers write core files";
  const why = "a service that crashes would write the secrets that it has read to this disk";
  const fix =
    'in /etc/docker/daemon.json: "default-ulimits": {"core": {"Name": "core", "Hard": 0, "Soft": 0}}, then restart docker';
  return { check, severity: "warn", what, why, fix };
}

/** Compressed memory is no disk. */
function isInMemory(name: string): boolean {
  return /(^|\/)zram\d+$/.test(name);
}

function checkSwap({ swaps, delivery }: HostView): Finding[] {
  const check = "swap";
  const disks = swaps.filter(({ name }) => !isInMemory(name));
  if (disks.length === 0) return [fine(check, "no memory goes to a disk")];
  if (delivery.noSwap) return [fine(check, `${delivery.directory} is kept out of swap`)];
  return disks.map(({ name, type }): Finding => {
    const mapped = /^\/dev\/(dm-|mapper\/)/.test(name);
    const what = `${name} (${type}) takes memory to a disk${mapped ? ", encrypted or not: that cannot be seen here" : ""}`;
    const why = "delivered secrets lie in a tmpfs, which may be swapped out, and then outlive a reboot";
    const fix =
      "swapoff -a and take it out of /etc/fstab, or encrypt it with a key that changes with each boot (crypttab: /dev/urandom … swap)";
    return { check, severity: mapped ? "info" : "warn", what, why, fix };
  });
}
