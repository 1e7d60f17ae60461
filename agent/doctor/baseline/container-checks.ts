// Containers as they run: caps, rights, ports, logs. The agent makes its own as their manifests and the policy say; what is found here of
// one is drift, and of somebody else's container nobody else looks at it.

import { describeSize } from "../../../shared/text/size.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { type Finding, fine, judge } from "../finding.ts";
import type { BaselineFacts, ContainerFact } from "./baseline-facts.ts";

/** So much the host needs besides its containers. */
const HOST_BYTES = 512 * 2 ** 20;
/** A job's container that is older was left by one that was killed. */
const LEFT_MS = 24 * 3_600_000;
/** What a variable is called that holds a secret; `_FILE` names a file. */
const TELLING = /(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$/i;
/** Of a list so many are named. */
const MOST_NAMED = 5;

/** What containers are judged by besides. */
export interface ContainerLaw {
  policy: Policy | undefined;
  /** Variables that manifests give secrets to, by service: a choice that is listed elsewhere. */
  secretEnv: Readonly<Record<string, readonly string[]>>;
  nowMs: number;
}

/** Judges all containers. */
export function checkContainers(host: BaselineFacts, law: ContainerLaw): Finding[] {
  if (host.engine.kind !== "said") return [];
  const { containers } = host;
  const running = containers.filter((container) => container.running && container.job === undefined);
  const own = running.filter(({ service }) => service !== undefined);
  const others = running.filter(({ service }) => service === undefined);
  return [
    ...checkCaps(own),
    ...checkRights(running, law.policy),
    checkPorts(running, law.policy),
    checkVariables(own, law),
    ...checkMaking(own, running),
    checkOthers(others),
    checkSum(host, running),
    checkJobs(containers, law.nowMs),
  ];
}

function nameAll(names: readonly string[]): string {
  const more = names.length - MOST_NAMED;
  return more > 0 ? `${names.slice(0, MOST_NAMED).join(", ")} and ${more} more` : names.join(", ");
}

function namesOf(containers: readonly ContainerFact[], bad: (container: ContainerFact) => boolean): string[] {
  return containers.filter(bad).map(({ name }) => name);
}

function checkCaps(own: readonly ContainerFact[]): Finding[] {
  const loose = namesOf(own, ({ memoryBytes, memorySwapBytes }) => memoryBytes <= 0 || memorySwapBytes !== memoryBytes);
  const many = namesOf(own, ({ pidsLimit }) => pidsLimit <= 0);
  return [
    judge("memory caps", loose.length > 0, {
      severity: "fail",
      what: `${nameAll(loose)}: no cap of memory, or swap beside it`,
      why: "one service that grows takes the whole host with it",
      fix: "orca status says whether the agent is paused; orca sync has it set the caps again",
      good: `each of ${describeCount(own.length, "service")} has a cap, and no swap`,
    }),
    judge("process limits", many.length > 0, {
      severity: "warn",
      what: `${nameAll(many)}: no limit of processes`,
      why: "a program that forks without end keeps everybody else from starting one",
      fix: "orca sync has the agent set resources.pids again, 512 where the manifest says none",
      good: "each service has a limit",
    }),
  ];
}

function checkRights(running: readonly ContainerFact[], policy: Policy | undefined): Finding[] {
  const security = policy?.security;
  const allowed: Readonly<Record<string, readonly string[]>> = {
    network: security?.host_network ?? [],
    pid: security?.host_pid ?? [],
    ipc: security?.host_ipc ?? [],
  };
  const may = (names: readonly string[], { service }: ContainerFact): boolean =>
    service !== undefined && names.includes(service);
  const wide = running.flatMap((container) => {
    const words = [
      ...(container.privileged && !may(security?.privileged ?? [], container) ? ["privileged"] : []),
      ...container.hostNamespaces
        .filter((kind) => !may(allowed[kind] ?? [], container))
        .map((kind) => `the host's ${kind}`),
      ...container.devices.filter((device) => security?.devices.includes(device) !== true),
    ];
    return words.length === 0 ? [] : [`${container.name} (${words.join(", ")})`];
  });
  const sockets =
    policy?.mounts.docker_socket === true
      ? []
      : namesOf(running, ({ sources }) => sources.some((path) => /(^|\/)(docker|containerd)\.sock$/.test(path)));
  return [
    judge("rights of containers", wide.length > 0, {
      severity: "fail",
      what: nameAll(wide),
      why: "a program in such a container is not held by it; the policy of this host does not allow that",
      fix: "run it without, or allow it by name in [security] of the policy; docker inspect NAME shows who made it",
      good: "none has more than the policy allows",
    }),
    judge("engine's socket in containers", sockets.length > 0, {
      severity: "fail",
      what: `${nameAll(sockets)} has the engine's socket mounted`,
      why: "whoever gets into that program is root on this host",
      fix: "run it without; a proxy that lets single calls through, such as docker-socket-proxy, is less",
      good: "no container speaks to the engine",
    }),
  ];
}

const ANY_ADDRESS = new Set(["", "0.0.0.0", "::"]);

/** True for a published address that others than this host's networks may reach. */
export function isOpen({ address, port }: ContainerFact["published"][number], policy: Policy | undefined): boolean {
  return ANY_ADDRESS.has(address) && policy?.ports.public.includes(port) !== true;
}

function checkPorts(running: readonly ContainerFact[], policy: Policy | undefined): Finding {
  const open = running.flatMap(({ name, published }) =>
    [...new Set(published.filter((port) => isOpen(port, policy)).map(({ port }) => port))].map(
      (port) => `${name} (${port})`,
    ),
  );
  return judge("published ports", open.length > 0, {
    severity: "fail",
    what: `${nameAll(open)}: published on every address`,
    why: "Docker's rules stand before those of ufw, so a port that is published so is open to the internet",
    fix: 'publish it on an address, as in ports = ["10.0.0.10:8080:8080"], or name it in [ports] public of the policy',
    good: "each is on a named address, or public by the policy",
  });
}

function checkVariables(own: readonly ContainerFact[], { secretEnv }: ContainerLaw): Finding {
  const telling = own.flatMap(({ service = "", variables }) =>
    variables
      .filter((name) => TELLING.test(name) && secretEnv[service]?.includes(name) !== true)
      .map((name) => `${service} (${name})`),
  );
  return judge("telling variables", telling.length > 0, {
    severity: "warn",
    what: `${nameAll(telling)}: a variable that is called as secrets are`,
    why: "its value stands in Git or in the image, and docker inspect shows it",
    fix: "take the value from [secrets.files] of the manifest; where it is no secret, nothing is to be done",
    good: "no service has a variable that is called as secrets are, but from [secrets.env]",
  });
}

function checkMaking(own: readonly ContainerFact[], running: readonly ContainerFact[]): Finding[] {
  const restarting = namesOf(own, ({ restartPolicy }) => !["", "no"].includes(restartPolicy));
  const loose = namesOf(running, ({ logDriver, logCapped }) => logDriver === "json-file" && !logCapped);
  const tags = namesOf(own, ({ image }) => !image.includes("@sha256:"));
  return [
    judge("restart policies", restarting.length > 0, {
      severity: "warn",
      what: `${nameAll(restarting)}: the engine restarts it by itself`,
      why: "at a boot the engine would start it in no order",
      fix: "orca restart SERVICE makes it anew as its manifest says",
      good: "the agent alone starts services",
    }),
    judge("logs of each container", loose.length > 0, {
      severity: "warn",
      what: `${nameAll(loose)}: what it prints is kept without a limit`,
      why: "a container keeps the way of logging that it was made with, whatever daemon.json says now",
      fix: "make it anew; a service of Orca has a limit by itself unless its manifest says another driver",
      good: "each has a limit",
    }),
    judge("images by digest", tags.length > 0, {
      severity: "info",
      what: `${nameAll(tags)}: the image is named by a tag`,
      why: "whoever may push to the registry decides what the tag is at the next pull",
      fix: 'write image = "NAME:TAG@sha256:…"; images.require_digest in the policy demands it',
      good: "each image is named by its digest",
    }),
  ];
}

function checkOthers(others: readonly ContainerFact[]): Finding {
  return judge("other containers", others.length > 0, {
    severity: "info",
    what: `${nameAll(others.map(({ name }) => name))}: not made by the agent of this node`,
    why: "nobody restarts it in order, caps it or backs it up",
    fix: "write a manifest for it, or leave it as it is: Orca does not touch it",
    good: "Orca has made every container that runs",
  });
}

/** Also others' caps count: they take the same memory. */
function checkSum({ memory }: BaselineFacts, running: readonly ContainerFact[]): Finding {
  const sum = running.reduce((bytes, { memoryBytes }) => bytes + Math.max(0, memoryBytes), 0);
  const said = `all caps come to ${describeSize(sum)}, of ${describeSize(memory.totalBytes)} of memory`;
  return judge("sum of caps", sum + HOST_BYTES > memory.totalBytes, {
    severity: "fail",
    what: `${said}; the host itself needs ${describeSize(HOST_BYTES)}`,
    why: "when all services use what they may, the kernel kills one of them, or of the host",
    fix: "lower resources.memory where orca status shows that little is used, or give the host more memory",
    good: said,
  });
}

function checkJobs(containers: readonly ContainerFact[], nowMs: number): Finding {
  const left = namesOf(containers, ({ job, createdMs }) => job !== undefined && nowMs - createdMs > LEFT_MS);
  if (left.length === 0) return fine("leftovers of jobs", "no container of a dump or a restore is older than a day");
  return {
    check: "leftovers of jobs",
    severity: "warn",
    what: `${nameAll(left)}: made for a dump or a restore more than a day ago`,
    why: "it holds memory, and may hold data",
    fix: "systemctl restart orca-agent: it clears away what an earlier run has left",
  };
}
