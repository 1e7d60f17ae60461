// The engine: how it logs, listens, isolates and comes back. What daemon.json says counts where the engine itself does not tell.

import { type Finding, fine, judge } from "../finding.ts";
import type { BaselineFacts, EngineFact, EngineFileFact } from "./baseline-facts.ts";

const FILE = "/etc/docker/daemon.json";
/** A change of daemon.json needs a start of the engine; with live-restore no container notices. */
const RELOAD = "then systemctl restart docker";

/** Judges the engine and its file. */
export function checkEngine(host: BaselineFacts): Finding[] {
  const { engine, engineFile } = host;
  const ofFile = [checkFile(engineFile), checkSockets(engineFile), ...checkOptions(engineFile)];
  if (engine.kind !== "said") {
    const trouble = engine.kind === "absent" ? "nothing listens at its socket" : engine.trouble;
    const what = `it cannot be looked at: ${trouble}`;
    const why = "what it would say of itself and its containers is not judged";
    return [{ check: "engine", severity: "fail", what, why, fix: "systemctl status docker", unseen: true }, ...ofFile];
  }
  return [
    fine("engine", `it answers (${engine.value.storageDriver}, cgroup v${engine.value.cgroupVersion})`),
    ...ofFile,
    ...checkAnswers(engine.value, engineFile),
    checkPlace(host),
  ];
}

function checkFile({ path, trouble }: EngineFileFact): Finding {
  return judge("daemon.json", trouble !== undefined, {
    severity: "fail",
    what: `${path} cannot be used: ${trouble}`,
    why: "the engine does not start with it: after the next reboot no container runs",
    fix: `correct it at that place; dockerd --validate --config-file ${path} says whether it is right`,
    good: `${path} can be read`,
  });
}

function checkSockets({ hosts, tlsVerify, socket, path }: EngineFileFact): Finding {
  const check = "sockets of the engine";
  const open = hosts.find((host) => host.startsWith("tcp:"));
  if (open !== undefined && !tlsVerify)
    return {
      check,
      severity: "fail",
      what: `it listens on ${open} without TLS`,
      why: "whoever reaches that address is root on this host",
      fix: `take the address out of hosts in ${path} and of dockerd's arguments, ${RELOAD}`,
    };
  const wide = socket !== undefined && (socket.mode & 0o007) !== 0;
  return judge(check, wide, {
    severity: "fail",
    what: `${socket?.path} has mode ${showMode(socket?.mode)}`,
    why: "every user of this host may be root through it",
    fix: `chmod 660 ${socket?.path}; chown root:docker ${socket?.path}`,
    good: "it listens where root and the group docker reach it alone",
  });
}

/** What only the file says. */
function checkOptions({ options, path }: EngineFileFact): Finding[] {
  const metrics = options["metrics-addr"];
  const openMetrics = typeof metrics === "string" && !/^(127\.|localhost:|\[::1\])/.test(metrics);
  return [
    judge("userland proxy", options["userland-proxy"] !== false, {
      severity: "info",
      what: "a process of its own stands before each published port",
      why: "it takes memory, and hides the address of whoever asks from the service",
      fix: `in ${path}: "userland-proxy": false, ${RELOAD}`,
      good: "ports are published by the kernel alone",
    }),
    judge("default bridge", options["icc"] !== false, {
      severity: "info",
      what: "containers on Docker's default bridge reach each other",
      why: "Orca's services are on networks of their own; what others start by hand is not",
      fix: `in ${path}: "icc": false, ${RELOAD}`,
      good: "containers on Docker's default bridge do not reach each other",
    }),
    judge("address pools", !Array.isArray(options["default-address-pools"]), {
      severity: "warn",
      what: "the engine chooses subnets for its networks by itself",
      why: "one of them may be the subnet of your machines, which this host then no longer reaches",
      fix: `in ${path}: "default-address-pools": [{"base": "172.20.0.0/14", "size": 24}], ${RELOAD}`,
      good: "subnets come from pools that are written down",
    }),
    judge("metrics of the engine", openMetrics, {
      severity: "warn",
      what: `the engine shows its metrics on ${String(metrics)}`,
      why: "they name what runs here to whoever asks",
      fix: `in ${path}: "metrics-addr": "127.0.0.1:9323", ${RELOAD}`,
      good: "metrics are on loopback, or not there",
    }),
  ];
}

function checkAnswers(engine: EngineFact, file: EngineFileFact): Finding[] {
  const { liveRestore, inSwarm, securityOptions, insecureRegistries, storageDriver, cgroupVersion } = engine;
  const has = (name: string): boolean => securityOptions.some((option) => option.split(",").includes(`name=${name}`));
  const missing = ["seccomp", "apparmor"].filter((name) => !has(name));
  const far = insecureRegistries.filter((range) => !/^(127\.|::1|localhost)/.test(range));
  return [
    checkLogs(engine, file),
    judge("live restore", !liveRestore && !inSwarm, {
      severity: "warn",
      what: "containers end with the engine",
      why: "an upgrade of the engine takes every service of this host down for as long as it takes",
      fix: `in ${FILE}: "live-restore": true, then systemctl reload docker`,
      good: "containers outlive the engine",
    }),
    // Docker before 23 does not tell of it: there its file is all that is known.
    judge("new privileges", !has("no-new-privileges") && file.options["no-new-privileges"] !== true, {
      severity: "warn",
      what: "a program in a container may become more than it was started as",
      why: "a setuid file in an image is then a way to root in the container",
      fix: `in ${FILE}: "no-new-privileges": true, ${RELOAD}`,
      good: "no program in a container gains privileges",
    }),
    judge("seccomp and AppArmor", missing.length > 0, {
      severity: "warn",
      what: `containers run without ${missing.join(" and ")}`,
      why: "each of them keeps a program from calls and files of the kernel that no service needs",
      fix: "apt-get install apparmor, write no seccomp-profile unconfined, then systemctl restart docker",
      good: "both hold containers",
    }),
    judge("insecure registries", far.length > 0, {
      severity: "warn",
      what: `images are pulled without a certificate from ${far.join(", ")}`,
      why: "anybody on the way may give this host another image",
      fix: `take them out of insecure-registries in ${FILE}, ${RELOAD}`,
      good: "every registry has to prove who it is",
    }),
    judge("storage", storageDriver !== "overlay2", {
      severity: "warn",
      what: `the engine stores by ${storageDriver}`,
      why: "overlay2 is the one that is tested, is fast, and shares memory between containers",
      fix: `in ${FILE}: "storage-driver": "overlay2"; containers and images are then made anew`,
      good: "overlay2",
    }),
    judge("cgroups", cgroupVersion !== "2", {
      severity: "info",
      what: `the host has cgroups of version ${cgroupVersion}`,
      why: "version 2 counts kills for lack of memory in a container whose main program goes on",
      fix: "boot with systemd.unified_cgroup_hierarchy=1",
      good: "version 2",
    }),
  ];
}

/** json-file keeps everything for ever, unless it is told. */
function checkLogs({ logDriver }: EngineFact, { options }: EngineFileFact): Finding {
  const caps = (options["log-opts"] ?? {}) as Record<string, unknown>;
  const capped = logDriver !== "json-file" || (caps["max-size"] !== undefined && caps["max-file"] !== undefined);
  return judge("logs of containers", !capped, {
    severity: "fail",
    what: "the engine keeps what containers print without a limit",
    why: "one service that prints a lot fills the disk of this host",
    fix: `in ${FILE}: "log-driver": "local", "log-opts": {"max-size": "10m", "max-file": "3"}, ${RELOAD}`,
    good: `the engine's default is ${logDriver}, with a limit or kept elsewhere`,
  });
}

function checkPlace({ backupsApart, engine }: BaselineFacts): Finding {
  const root = engine.kind === "said" ? engine.value.rootDir : "";
  return judge("place of backups", backupsApart === false, {
    severity: "info",
    what: `backups of the repository local lie on the file system of ${root}`,
    why: "a disk that fills or dies takes both",
    fix: "name a directory of another file system as backups.dir in agent.toml, and a repository elsewhere in [[backups]]",
    good: "backups lie on another file system than the engine's data, or none are here",
  });
}

function showMode(mode = 0): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
