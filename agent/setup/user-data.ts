// User-data that makes a fresh VM a node: a pure function of fleet.toml and of the two host files. And the check of such a text, which
// looks at what `cloud-init schema` lets pass. No secret goes in: a cloud shows user-data to everything that runs on the VM.

import { closest, distance } from "fastest-levenshtein";
import { parseDocument, stringify } from "yaml";

import type { Fleet } from "../../shared/fleet/fleet.ts";
import { describeCount } from "../../shared/text/count.ts";
import { hasUrlPassword, locateShape } from "../desired/checks/secrets/secret-shapes.ts";
import { CLOUD_CONFIG_KEYS } from "./cloud-config-keys.ts";
import { SETUP_NAMES, SETUP_SCRIPT, SETUP_SETTINGS, SETUP_TEXT, SETUP_UNIT, SETUP_UNIT_TEXT } from "./setup-script.ts";

/** The smallest limit of a cloud (EC2); Hetzner takes 32 KiB, OpenStack and DigitalOcean 64 KiB. */
export const USER_DATA_BYTES = 16_384;

/** Clouds, and under which names they show an attached volume (udev's by-id links). */
const VOLUMES = {
  hetzner: ["/dev/disk/by-id/scsi-0HC_Volume_*"],
  openstack: ["/dev/disk/by-id/virtio-*", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_*"],
  digitalocean: ["/dev/disk/by-id/scsi-0DO_Volume_*"],
} as const;

/** A cloud that is known. */
export type Provider = keyof typeof VOLUMES;

/** What the package is, and how it is known again. */
export interface PinnedPackage {
  /** `{arch}` stands for amd64 or arm64. */
  url: string;
  sha256: { amd64?: string | undefined; arm64?: string | undefined };
}

/** What user-data is made from. */
export interface UserDataInput {
  fleet: Fleet;
  node: string;
  provider: Provider | undefined;
  /** The disk to put a file system on where it has none; any unused volume of the provider when left out. */
  volume: string | undefined;
  package: PinnedPackage;
  agentFile: string;
  policyFile: string;
  /** Files that agent.toml names and that only a person can bring. */
  credentials: readonly string[];
}

/** A word for a POSIX shell, whatever is in it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Renders it. The node must be in the fleet. */
export function buildUserData(input: UserDataInput): string {
  const { fleet, node, agentFile, policyFile } = input;
  const { names = {}, admins = [] } = fleet.host ?? {};
  const hosts = Object.entries(names).map(([name, address]) => `${address} ${name}\n`);
  const file = (path: string, content: string, permissions: string): object => ({
    path,
    owner: "root:root",
    permissions,
    content,
  });
  const config = {
    hostname: node,
    preserve_hostname: false,
    manage_etc_hosts: false,
    timezone: "Etc/UTC",
    // In every image; the default, en_US.UTF-8, is not, and cloud-init would end in failure.
    locale: "C.UTF-8",
    ssh_pwauth: false,
    ...(admins.length === 0 ? {} : { ssh_authorized_keys: admins }),
    write_files: [
      file("/etc/orca/agent.toml", agentFile, "0600"),
      file("/etc/orca/policy.toml", policyFile, "0600"),
      file(SETUP_SETTINGS, buildSettings(input), "0600"),
      ...(hosts.length === 0 ? [] : [file(SETUP_NAMES, hosts.join(""), "0600")]),
      file(SETUP_UNIT, SETUP_UNIT_TEXT, "0644"),
      file(SETUP_SCRIPT, SETUP_TEXT, "0755"),
    ],
    runcmd: [
      ["systemctl", "daemon-reload"],
      ["systemctl", "enable", "orca-setup.service"],
      ["systemctl", "start", "orca-setup.service"],
    ],
  };
  // cloud-init reads YAML 1.1, in which 0600 is a number and no is false.
  const text = stringify(config, { version: "1.1", lineWidth: 0 });
  return `#cloud-config\n# Makes this VM the node ${node}. No secret is in it. orca help cloud-init\n${text}`;
}

function buildSettings({ fleet, node, provider, volume, package: pinned, credentials }: UserDataInput): string {
  const entry = fleet.nodes[node];
  const settings = {
    NODE: node,
    ADDRESS: entry?.address ?? "",
    PACKAGE: pinned.url,
    SHA256_AMD64: pinned.sha256.amd64 ?? "",
    SHA256_ARM64: pinned.sha256.arm64 ?? "",
    RESOLVERS: (fleet.host?.resolvers ?? []).join(" "),
    MOUNT: entry?.data?.mount ?? "",
    UUID: entry?.data?.uuid ?? "",
    VOLUMES: volume ?? (provider === undefined ? "" : VOLUMES[provider].join(" ")),
    CREDENTIALS: credentials.join(" "),
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${quote(value)}\n`)
    .join("");
}

/** One thing that is wrong with a text that is to be user-data. */
export interface UserDataFault {
  line: number;
  what: string;
  fix: string;
}

/** Judges a text as user-data: form, top-level keys, size, and that no secret is in it. Empty where nothing is wrong. */
export function checkUserData(text: string): UserDataFault[] {
  const faults: UserDataFault[] = [];
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > USER_DATA_BYTES)
    faults.push({
      line: 1,
      what: `it has ${describeCount(sizeBytes, "byte")}, and clouds take ${USER_DATA_BYTES}`,
      fix: "bring long files by a package or by Git",
    });
  if (!text.startsWith("#cloud-config\n"))
    faults.push({
      line: 1,
      what: "its first line is not #cloud-config, so cloud-init passes it over",
      fix: "write it there",
    });
  return [...faults, ...checkKeys(text), ...checkSecrets(text)];
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

function checkKeys(text: string): UserDataFault[] {
  const document = parseDocument(text, { version: "1.1" });
  const [error] = document.errors;
  if (error !== undefined) {
    const [what = ""] = error.message.split("\n");
    return [{ line: lineAt(text, error.pos[0]), what: `it is no YAML: ${what}`, fix: "mend that line" }];
  }
  const top: unknown = document.toJS();
  if (typeof top !== "object" || top === null || Array.isArray(top))
    return [{ line: 1, what: "it has no keys", fix: "write keys such as runcmd and write_files" }];
  return Object.keys(top).flatMap((key) => {
    if (CLOUD_CONFIG_KEYS.has(key)) return [];
    const near = closest(key, [...CLOUD_CONFIG_KEYS]);
    const fix = distance(key, near) <= 2 ? `write ${near}` : "take it out";
    const line = text.split("\n").findIndex((row) => row.startsWith(key) || row.startsWith(JSON.stringify(key))) + 1;
    return [
      { line: Math.max(1, line), what: `cloud-init knows no key ${key}, and would pass it over without a word`, fix },
    ];
  });
}

function checkSecrets(text: string): UserDataFault[] {
  const fix = "take it out: orca enroll brings credentials to the VM";
  const shape = locateShape(text);
  if (shape !== undefined) return [{ line: shape.line, what: `${shape.what} stands in it`, fix }];
  return hasUrlPassword(text) ? [{ line: 1, what: "a URL in it has a password", fix }] : [];
}
