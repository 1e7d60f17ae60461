// The host's law against one service. Pure: real paths come in as facts. Each refusal names the rule that refused.
// It judges the manifest and what its paths really lead to; nothing in Git can change its answer.

import { isPinned, parseImageReference } from "../../../shared/manifest/image-reference.ts";
import { type Manifest, SECRET_TABLES } from "../../../shared/manifest/manifest.ts";
import { GUARDED_ULIMITS, isOwnSysctl } from "../../../shared/manifest/manifest-limits.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import type { ReasonOf } from "../../../shared/state/reason.ts";
import { describePath } from "../../../shared/text/problem.ts";
import { isEveryAddress, isPublicAddress } from "../../../shared/manifest/published-port.ts";
import { judgeEndpoint } from "./policy-endpoints.ts";
import { checkValues, type SecretTests } from "./policy-values.ts";

/** One refusal. */
export interface Refusal {
  /** The rule, as the policy file writes it. */
  rule: string;
  /** The manifest's key, as text and as path. */
  key: string;
  path: readonly (string | number)[];
  message: string;
  /** True where only the host can tell, since it hangs on a secret's value. */
  deferred?: true;
}

type Unnamed = Omit<Refusal, "key">;

/** What is judged. */
export interface PolicySubject {
  service: string;
  manifest: Manifest;
  /** Bind-mount source, or directory that the policy allows → the real path behind it; what is not in here is taken as written. */
  realPaths: Readonly<Record<string, string | undefined>>;
  /** How values of secrets are tested; undefined where they are not known. */
  secrets?: SecretTests | undefined;
  /** Where ports without an address are published: fleet.toml says it, so it is judged too. */
  address?: string | undefined;
  /** Directories of the agent's own, besides those that every agent has. */
  ownDirectories?: readonly string[] | undefined;
}

/** Capabilities that the engine gives every container anyway (moby, oci/caps/defaults.go). */
const DEFAULT_CAPABILITIES = new Set([
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
]);

/** What holds every service's secrets, the host's law and the socket that acts: no policy lets it be mounted. */
const OWN_DIRECTORIES = ["/etc/orca", "/run/orca", "/var/run/orca", "/var/lib/orca"];

const DOCKER_SOCKETS = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"];

/** Judges one service; an empty list means that it may run. */
export function checkPolicy(subject: PolicySubject, policy: Policy): Refusal[] {
  const refusals = [
    ...checkImages(subject, policy),
    ...checkMounts(subject, policy),
    ...checkSecurity(subject, policy),
    ...checkPorts(subject, policy),
    ...checkEndpoints(subject, policy),
    ...checkLog(subject, policy),
    ...checkValues(subject.manifest, policy, subject.secrets),
    ...checkSecrets(subject, policy),
  ];
  return refusals.map((refusal) => ({ ...refusal, key: describePath(refusal.path) }));
}

/** The first refusal, and how many more there are; undefined where there is none. */
export function explainRefusals(
  refusals: readonly Pick<Refusal, "key" | "rule" | "message">[],
): ReasonOf<"policy-refuses"> | undefined {
  const [refusal, ...others] = refusals;
  if (refusal === undefined) return undefined;
  const { key, rule, message } = refusal;
  return { code: "policy-refuses", first: { key, rule, message }, more: others.length };
}

function checkImages({ manifest }: PolicySubject, policy: Policy): Unnamed[] {
  const verifying = manifest.backups.flatMap(({ image, verify }, index) => [
    ...(image === undefined ? [] : checkImage(image, ["backups", index, "image"], policy)),
    ...(verify?.image === undefined ? [] : checkImage(verify.image, ["backups", index, "verify", "image"], policy)),
  ]);
  return [...checkImage(manifest.image, ["image"], policy), ...verifying];
}

function checkImage(image: string, path: readonly (string | number)[], { images }: Policy): Unnamed[] {
  const reference = parseImageReference(image);
  if (typeof reference === "string") return [];
  const refusals: Unnamed[] = [];
  if (images.registries !== undefined && !images.registries.includes(reference.registry)) {
    const message = `the registry ${reference.registry} is not one of ${images.registries.join(", ")}`;
    refusals.push({ rule: "images.registries", path, message });
  }
  if (images.require_digest && !isPinned(reference)) {
    refusals.push({ rule: "images.require_digest", path, message: "the image has no digest: write @sha256:…" });
  }
  return refusals;
}

function checkMounts(subject: PolicySubject, { mounts, volumes }: Policy): Unnamed[] {
  const { manifest, realPaths } = subject;
  const own = [...OWN_DIRECTORIES, ...(subject.ownDirectories ?? [])];
  return manifest.volumes.flatMap((volume, index) => {
    const path = ["volumes", index, "source"];
    if (volume.ephemeral && !volumes.allow_ephemeral) {
      const message = "ephemeral volumes are not allowed";
      return [{ rule: "volumes.allow_ephemeral", path: ["volumes", index, "ephemeral"], message }];
    }
    if (volume.source === undefined) return [];
    const real = realPaths[volume.source] ?? volume.source;
    const shown = real === volume.source ? real : `${volume.source}, which is really ${real},`;
    if (DOCKER_SOCKETS.some((socket) => isInside(socket, real))) {
      // A directory around an allowed socket is a directory like others.
      if (mounts.docker_socket && DOCKER_SOCKETS.includes(foldSlashes(real))) return [];
      if (!mounts.docker_socket)
        return [{ rule: "mounts.docker_socket", path, message: `${shown} gives control of the engine` }];
    }
    if (own.some((directory) => isInside(real, directory) || isInside(directory, real))) {
      const message = `${shown} holds what is Orca's own: secrets, state or its socket`;
      return [{ rule: "mounts (Orca's own directories)", path, message }];
    }
    const isAllowed = (place: string): boolean =>
      mounts.allowed_prefixes.some((prefix) => isInside(place, prefix) || isInside(place, realPaths[prefix] ?? prefix));
    // As it is written, which is all that lint knows, and as it really is.
    if (isAllowed(volume.source) && isAllowed(real)) return [];
    const allowed =
      mounts.allowed_prefixes.length === 0 ? "none is allowed" : `allowed is ${mounts.allowed_prefixes.join(", ")}`;
    const message = `${shown} is outside the directories that may be mounted: ${allowed}`;
    return [{ rule: "mounts.allowed_prefixes", path, message }];
  });
}

/** True when a path is a directory itself or lies below it; `//` and a slash at the end mean nothing. */
export function isInside(path: string, directory: string): boolean {
  const prefix = foldSlashes(directory);
  const inner = foldSlashes(path);
  return inner === prefix || inner.startsWith(`${prefix}/`);
}

function foldSlashes(path: string): string {
  return path.replaceAll(/\/{2,}/g, "/").replace(/\/$/, "");
}

function checkSecurity({ service, manifest }: PolicySubject, { security }: Policy): Unnamed[] {
  const wishes: [wanted: boolean, allowed: readonly string[], rule: string, key: string, what: string][] = [
    [manifest.privileged === true, security.privileged, "security.privileged", "privileged", "run privileged"],
    [manifest.network === "host", security.host_network, "security.host_network", "network", "use the host's network"],
    [manifest.pid === "host", security.host_pid, "security.host_pid", "pid", "see the host's processes"],
    [manifest.ipc === "host", security.host_ipc, "security.host_ipc", "ipc", "share the host's memory"],
  ];
  const refusals: Unnamed[] = wishes
    .filter(([wanted, allowed]) => wanted && !allowed.includes(service))
    .map(([, , rule, key, what]) => ({ rule, path: [key], message: `${service} may not ${what}` }));
  for (const [index, capability] of (manifest.cap_add ?? []).entries()) {
    const plain = capability.replace(/^CAP_/, "");
    const allowed = security.cap_add.map((entry) => entry.replace(/^CAP_/, ""));
    if (DEFAULT_CAPABILITIES.has(plain) || allowed.includes(plain)) continue;
    const message = `the capability ${plain} is not allowed`;
    refusals.push({ rule: "security.cap_add", path: ["cap_add", index], message });
  }
  for (const [index, device] of (manifest.devices ?? []).entries()) {
    const path = device.split(":", 1)[0] ?? device;
    if (security.devices.includes(path)) continue;
    const message = `the device ${path} is not allowed`;
    refusals.push({ rule: "security.devices", path: ["devices", index], message });
  }
  for (const [name, limit] of Object.entries(manifest.ulimits ?? {})) {
    const hard = typeof limit === "number" ? limit : limit.hard;
    const guarded = GUARDED_ULIMITS.find((entry) => entry === name);
    if (guarded === undefined || hard === 0 || security.ulimits.includes(guarded)) continue;
    refusals.push({
      rule: "security.ulimits",
      path: ["ulimits", name],
      message: `the limit ${name} may not be raised`,
    });
  }
  for (const name of Object.keys(manifest.sysctls ?? {})) {
    const shared = name.startsWith("net.") ? manifest.network === "host" : manifest.ipc === "host";
    if (isOwnSysctl(name) && !shared) continue;
    const message = `${name} is the whole host's: write it into /etc/sysctl.d/ there`;
    refusals.push({ rule: "sysctls (the host's own)", path: ["sysctls", name], message });
  }
  return refusals;
}

/** Where this host itself is made to ask. */
function checkEndpoints({ manifest }: PolicySubject, policy: Policy): Unnamed[] {
  const targets = [
    ...manifest.requires.map(({ target }, index) => ({ target, path: ["requires", index] })),
    ...manifest.wants.map((target, index) => ({ target, path: ["wants", index] })),
  ];
  return targets.flatMap(({ target, path }) => {
    const fault = target.kind === "endpoint" ? judgeEndpoint(target.url, policy) : undefined;
    if (fault === undefined) return [];
    const rule = "endpoints.allowed";
    return [{ rule, path, message: `this host may not be made to ask it: ${fault}` }];
  });
}

/** Where dockerd, which is root, is made to send what a service prints. */
function checkLog({ manifest }: PolicySubject, { log }: Policy): Unnamed[] {
  if (manifest.log?.driver !== "syslog") return [];
  const address = manifest.log.options["syslog-address"] ?? "local";
  if (log.syslog.includes("*") || log.syslog.includes(address)) return [];
  const where = address === "local" ? "this host's own syslog" : address;
  const path = ["log", ...(address === "local" ? ["driver"] : ["options", "syslog-address"])];
  return [{ rule: "log.syslog", path, message: `logs may not go to ${where}` }];
}

function checkPorts({ manifest, address }: PolicySubject, { ports }: Policy): Unnamed[] {
  return manifest.ports.flatMap((port, index) => {
    const at = port.address ?? address;
    if (at === undefined || !isPublicAddress(at) || ports.public.includes(port.hostPort)) return [];
    const where = isEveryAddress(at) ? "every address" : `${at}, which the internet may reach`;
    const whose = port.address === undefined ? " (the node's address in fleet.toml)" : "";
    const message = `port ${port.hostPort} may not be published on ${where}${whose}`;
    return [{ rule: "ports.public", path: ["ports", index], message }];
  });
}

function checkSecrets({ manifest }: PolicySubject, { secrets, bootstrap }: Policy): Unnamed[] {
  const prefixes = secrets.allowed_prefixes;
  const paths = SECRET_TABLES.flatMap((table) =>
    Object.entries(manifest.secrets?.[table] ?? {}).map(([name, path]) => ({ at: ["secrets", table, name], path })),
  );
  const passwords = manifest.backups.flatMap(({ connect, source }, index) => [
    ...(connect?.password === undefined
      ? []
      : [{ at: ["backups", index, "connect", "password"], path: connect.password }]),
    ...(source === undefined ? [] : [{ at: ["backups", index, "source", "secret"], path: source.secret }]),
  ]);
  const refusals: Unnamed[] = [...paths, ...passwords]
    .filter(({ path }) => prefixes !== undefined && !prefixes.some((prefix) => isInside(path, prefix)))
    .map(({ at, path }) => ({
      rule: "secrets.allowed_prefixes",
      path: at,
      message: `the secret ${path} is outside ${prefixes?.join(", ")}`,
    }));
  const file = manifest.bootstrap?.env_file;
  if (file !== undefined && !bootstrap.allowed_files.includes(file)) {
    const message = `${file} is not an allowed bootstrap file`;
    refusals.push({ rule: "bootstrap.allowed_files", path: ["bootstrap", "env_file"], message });
  }
  return refusals;
}
