// The host's law against one service. Pure: real paths come in as facts. Each refusal names the rule that refused.
// It judges the manifest and what its paths really lead to; nothing in Git can change its answer.

import { parseImageReference } from "../../shared/image-reference.ts";
import type { Manifest } from "../../shared/manifest.ts";
import type { Policy } from "../../shared/policy.ts";
import { isEveryAddress } from "../../shared/published-port.ts";

/** One refusal. */
export interface Refusal {
  /** The rule, as the policy file writes it. */
  rule: string;
  key: string;
  message: string;
}

/** What is judged. */
export interface PolicySubject {
  service: string;
  manifest: Manifest;
  /** Bind-mount source → the real path behind it; a source that is not in here is judged as written. */
  realPaths: Readonly<Record<string, string | undefined>>;
}

/** Capabilities that the engine gives every container anyway (moby, oci/caps/defaults.go). */
const DEFAULT_CAPABILITIES = new Set([
  ...["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"],
  ...["NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"],
]);

const DOCKER_SOCKETS = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"];

/** Judges one service; an empty list means that it may run. */
export function checkPolicy(subject: PolicySubject, policy: Policy): Refusal[] {
  return [
    ...checkImage(subject, policy),
    ...checkMounts(subject, policy),
    ...checkSecurity(subject, policy),
    ...checkPorts(subject, policy),
    ...checkEnv(subject, policy),
    ...checkSecrets(subject, policy),
  ];
}

function checkImage({ manifest }: PolicySubject, { images }: Policy): Refusal[] {
  const reference = parseImageReference(manifest.image);
  if (typeof reference === "string") return [];
  const refusals: Refusal[] = [];
  if (images.registries !== undefined && !images.registries.includes(reference.registry)) {
    const message = `the registry ${reference.registry} is not one of ${images.registries.join(", ")}`;
    refusals.push({ rule: "images.registries", key: "image", message });
  }
  if (images.require_digest && reference.digest === undefined) {
    refusals.push({ rule: "images.require_digest", key: "image", message: "the image has no digest: write @sha256:…" });
  }
  return refusals;
}

function checkMounts({ manifest, realPaths }: PolicySubject, { mounts, volumes }: Policy): Refusal[] {
  return manifest.volumes.flatMap((volume, index) => {
    const key = `volumes[${index}].source`;
    if (volume.ephemeral && !volumes.allow_ephemeral) {
      return [
        {
          rule: "volumes.allow_ephemeral",
          key: `volumes[${index}].ephemeral`,
          message: "ephemeral volumes are not allowed",
        },
      ];
    }
    if (volume.source === undefined) return [];
    const real = realPaths[volume.source] ?? volume.source;
    const shown = real === volume.source ? real : `${volume.source}, which is really ${real},`;
    if (DOCKER_SOCKETS.some((socket) => real === socket || isInside(socket, real))) {
      if (mounts.docker_socket) return [];
      return [{ rule: "mounts.docker_socket", key, message: `${shown} gives control of the engine` }];
    }
    if (mounts.allowed_prefixes.some((prefix) => isInside(real, prefix))) return [];
    const allowed =
      mounts.allowed_prefixes.length === 0 ? "none is allowed" : `allowed is ${mounts.allowed_prefixes.join(", ")}`;
    return [
      {
        rule: "mounts.allowed_prefixes",
        key,
        message: `${shown} is outside the directories that may be mounted: ${allowed}`,
      },
    ];
  });
}

/** True when a path is a directory itself or lies below it. */
function isInside(path: string, directory: string): boolean {
  const prefix = directory.replace(/\/+$/, "");
  return path === prefix || path.startsWith(`${prefix}/`);
}

function checkSecurity({ service, manifest }: PolicySubject, { security }: Policy): Refusal[] {
  const wishes: [wanted: boolean, allowed: readonly string[], rule: string, key: string, what: string][] = [
    [manifest.privileged === true, security.privileged, "security.privileged", "privileged", "run privileged"],
    [manifest.network === "host", security.host_network, "security.host_network", "network", "use the host's network"],
    [manifest.pid === "host", security.host_pid, "security.host_pid", "pid", "see the host's processes"],
    [manifest.ipc === "host", security.host_ipc, "security.host_ipc", "ipc", "share the host's memory"],
  ];
  const refusals = wishes
    .filter(([wanted, allowed]) => wanted && !allowed.includes(service))
    .map(([, , rule, key, what]) => ({ rule, key, message: `${service} may not ${what}` }));
  for (const capability of manifest.cap_add ?? []) {
    const plain = capability.replace(/^CAP_/, "");
    const allowed = security.cap_add.map((entry) => entry.replace(/^CAP_/, ""));
    if (DEFAULT_CAPABILITIES.has(plain) || allowed.includes(plain)) continue;
    refusals.push({ rule: "security.cap_add", key: "cap_add", message: `the capability ${plain} is not allowed` });
  }
  for (const device of manifest.devices ?? []) {
    const path = device.split(":", 1)[0] ?? device;
    if (security.devices.includes(path)) continue;
    refusals.push({ rule: "security.devices", key: "devices", message: `the device ${path} is not allowed` });
  }
  return refusals;
}

function checkPorts({ manifest }: PolicySubject, { ports }: Policy): Refusal[] {
  return manifest.ports
    .filter((port) => isEveryAddress(port.address) && !ports.public.includes(port.hostPort))
    .map((port) => ({
      rule: "ports.public",
      key: "ports",
      message: `port ${port.hostPort} may not be published on every address`,
    }));
}

function checkEnv({ manifest }: PolicySubject, policy: Policy): Refusal[] {
  const names = [...Object.keys(manifest.env), ...Object.keys(manifest.secrets?.env ?? {})];
  return policy.env.flatMap((rule) => {
    const pattern = new RegExp(`^${rule.name.split("*").map(escapePattern).join(".*")}$`, "u");
    const found = names.filter((name) => pattern.test(name));
    if (rule.forbidden === true && found.length > 0) {
      return [{ rule: `env ${rule.name}`, key: `env.${found[0]}`, message: `${found[0]} is forbidden on this host` }];
    }
    if (rule.required === true && found.length === 0) {
      return [{ rule: `env ${rule.name}`, key: "env", message: `${rule.name} is required on this host` }];
    }
    if (rule.must_match === undefined) return [];
    const wanted = new RegExp(rule.must_match, "u");
    return found
      .filter((name) => !wanted.test(manifest.env[name] ?? ""))
      .map((name) => ({
        rule: `env ${rule.name}`,
        key: `env.${name}`,
        message: `the value of ${name} does not match ${rule.must_match}`,
      }));
  });
}

function escapePattern(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

function checkSecrets({ manifest }: PolicySubject, { secrets, bootstrap }: Policy): Refusal[] {
  const paths = [...Object.values(manifest.secrets?.env ?? {}), ...Object.values(manifest.secrets?.files ?? {})];
  const prefixes = secrets.allowed_prefixes;
  const refusals = paths
    .filter((path) => prefixes !== undefined && !prefixes.some((prefix) => isInside(path, prefix)))
    .map((path) => ({
      rule: "secrets.allowed_prefixes",
      key: "secrets",
      message: `the secret ${path} is outside ${prefixes?.join(", ")}`,
    }));
  const file = manifest.bootstrap?.env_file;
  if (file !== undefined && !bootstrap.allowed_files.includes(file)) {
    refusals.push({
      rule: "bootstrap.allowed_files",
      key: "bootstrap.env_file",
      message: `${file} is not an allowed bootstrap file`,
    });
  }
  return refusals;
}
