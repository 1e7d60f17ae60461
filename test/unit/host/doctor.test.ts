// What `orca doctor` judges of a host: each finding once where it is deserved, none on a host that is as it should be.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { examine } from "../../../agent/doctor/checks.ts";
import type { FileFact, FirewallFact, HostFirewallFact, HostView } from "../../../agent/doctor/doctor-facts.ts";
import { type Finding, isWeak } from "../../../agent/doctor/finding.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { buildHostFirewall } from "../../../agent/setup/host-firewall.ts";
import { readHostFirewall } from "../../../agent/cli/doctor/read-host-firewall.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { GOOD_BASELINE } from "../../builders/data/baseline.ts";
import type { SecretRefusal } from "../../../shared/secret/secret-facts.ts";

const ROOT = join(import.meta.dirname, "../../..");
const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 10, 28);

function file(
  path: string,
  parts: Partial<NonNullable<FileFact["found"]>> = {},
  more: Partial<FileFact> = {},
): FileFact {
  const found = { uid: 0, gid: 0, mode: 0o600, kind: "file", changedMs: NOW_MS - DAY_MS, ...parts } as const;
  return { path, role: "a key", found, workTree: undefined, required: true, ...more };
}

const absent = (path: string, required = true): FileFact => ({
  path,
  role: "a key",
  found: undefined,
  workTree: undefined,
  required,
});

const BOOT = "/etc/orca/bootstrap/keycloak.env";
const POLICY = policySchema.parse({
  images: { registries: ["docker.io"] },
  secrets: { allowed_prefixes: ["/prod"] },
  bootstrap: { allowed_files: [BOOT] },
});

const REFUSED: SecretRefusal = {
  path: "/prod/app/KEY",
  kind: "denied",
  reason: "no rights",
  ended: false,
  sinceMs: NOW_MS - 60_000,
  readMs: NOW_MS - 3 * 3_600_000,
  untilMs: NOW_MS + 840_000,
};

/** A host on which everything is as it should be. */
const GOOD: HostView = {
  nowMs: NOW_MS,
  config: "/etc/orca/agent.toml",
  files: [file("/etc/orca/git-token"), absent("/var/lib/orca/identity.key", false)],
  services: [{ name: "keycloak", secretEnv: {}, bootstrapFile: BOOT }],
  provider: {
    kind: "infisical",
    location: "https://secrets.example (project p, environment prod)",
    plainAllowed: false,
    isPlain: false,
    trouble: undefined,
    skewMs: 120,
  },
  sealed: { path: "/var/lib/orca/secrets.sealed", readMs: [NOW_MS - 60_000], maxStaleMs: 7 * DAY_MS, refusals: [] },
  policy: { file: file("/etc/orca/policy.toml", { mode: 0o644 }), policy: POLICY, problem: undefined },
  bootstrapFiles: [file(BOOT)],
  delivery: { directory: "/run/orca", inMemory: true, noSwap: false },
  corePattern: "core",
  engineCoreLimit: 0,
  agents: [{ pid: 812, coreLimit: "0", coreFiltered: true, rights: { groups: [0], maySeeAll: false } }],
  hiddenProcesses: undefined,
  swaps: [{ name: "/dev/zram0", type: "partition" }],
  clock: { keptBy: "systemd-timesyncd" },
  webhook: { listen: "10.0.0.10:7071", answers: { signed: 4, refused: 1, polled: 0, last: "202, a push to main" } },
  firewall: {
    realm: "stage",
    others: [
      { node: "vm-edge", realm: "prod", address: "10.0.0.10" },
      { node: "vm-six", realm: "prod", address: "fd00::10" },
    ],
    loaded: {
      kind: "yes",
      others: [{ addr: "10.0.0.0", len: 24 }, "203.0.113.10", { from: "fd00::1", to: "fd00::ff" }],
    },
    file: "/etc/orca/firewall.nft",
    atBoot: true,
  },
  hostFirewall: {
    node: "vm-edge",
    file: "/etc/orca/host-firewall.nft",
    // What somebody has remarked is no other rule.
    text: `# office: moved in May\n${renderWall(["10.0.0.30"])}`,
    now: renderWall(["10.0.0.30"]),
    sshPort: 22,
  },
  baseline: { ...GOOD_BASELINE, containers: [] },
};

/** The firewall of vm-edge, whose realm has these other VMs. */
function renderWall(peers: readonly string[], ssh = '["198.51.100.0/24"]', port = 22): string {
  const built = buildHostFirewall(parseFleet(peers, ssh), "vm-edge", port);
  if (typeof built !== "string") throw new Error(built.what);
  return built;
}

function parseFleet(peers: readonly string[], ssh: string): Fleet {
  const addresses = ["10.0.0.10", ...peers];
  const names = addresses.map((_, at) => (at === 0 ? "vm-edge" : `vm-${at}`));
  const nodes = addresses.map((address, at) => [names[at], { address, env: "prod", memory: "8GiB" }]);
  return fleetSchema.parse({ nodes: Object.fromEntries(nodes), host: { ssh: JSON.parse(ssh) as string[] } });
}

function find(changes: Partial<HostView>): Finding[] {
  return examine({ ...GOOD, ...changes }).filter(({ severity }) => severity !== "fine");
}

test("a host that is as it should be has nothing but what is fine, and each check says so", () => {
  expect(find({})).toEqual([]);
  const checks = new Set(examine(GOOD).map(({ check }) => check));
  // And those that doctor-baseline.test.ts is about.
  expect([...checks].toSorted()).toEqual(
    expect.arrayContaining([
      "bootstrap files",
      "clock",
      "core files of services",
      "core files of the agent",
      "delivery in memory",
      "firewall between realms",
      "firewall of the host",
      "keys and credentials",
      "last known secrets",
      "mounts of containers",
      "policy",
      "provider",
      "secrets in variables",
      "swap",
      "webhook",
    ]),
  );
});

const { provider, policy } = GOOD;
const firewall = GOOD.firewall as FirewallFact;
const wall = GOOD.hostFirewall as HostFirewallFact;

const ROWS: [name: string, changes: Partial<HostView>, severity: string, what: RegExp, fix: RegExp][] = [
  [
    "a secret in a variable",
    { services: [{ name: "keycloak", secretEnv: { ADMIN: "/prod/keycloak/ADMIN" }, bootstrapFile: BOOT }] },
    ...([
      "info",
      /^keycloak is given \/prod\/keycloak\/ADMIN as the variable ADMIN$/,
      /keycloak\.toml.*ADMIN_FILE/,
    ] as const),
  ],
  [
    "no stored state",
    { services: undefined, bootstrapFiles: [] },
    "info",
    /its services are not known/,
    /systemctl start/,
  ],
  [
    "a plain file",
    { provider: { ...provider, kind: "file", location: "/etc/orca/s", plainAllowed: true, isPlain: true } },
    "warn",
    /unencrypted/,
    /orca secrets edit --file \/etc\/orca\/s/,
  ],
  [
    "a file that may be plain",
    { provider: { ...provider, kind: "file", location: "/s", plainAllowed: true } },
    "info",
    /may be plain/,
    /take plain out of \/etc\/orca\/agent\.toml/,
  ],
  [
    "a provider that is down",
    { provider: { ...provider, trouble: "ECONNREFUSED" } },
    "fail",
    /cannot be asked: ECONNREFUSED/,
    /curl -sS https:\/\/secrets\.example\/api\/status/,
  ],
  [
    "a clock that is behind",
    { provider: { ...provider, skewMs: 90_000 } },
    "fail",
    /1m30s behind|90s behind|1m 30s behind/,
    /timedatectl/,
  ],
  ["a clock that is ahead", { provider: { ...provider, skewMs: -60_000 } }, "fail", /1m ahead of/, /timedatectl/],
  ["a clock that nobody keeps", { clock: { keptBy: undefined } }, "warn", /nothing keeps/, /timesyncd/],
  [
    "values that grow old",
    { sealed: { path: "/x", readMs: [NOW_MS, NOW_MS - 4 * DAY_MS], maxStaleMs: 7 * DAY_MS, refusals: [] } },
    "warn",
    /oldest of 2 was confirmed 4d ago, of 7d allowed/,
    /orca status/,
  ],
  [
    "values that are too old",
    { sealed: { path: "/x", readMs: [NOW_MS - 8 * DAY_MS], maxStaleMs: 7 * DAY_MS, refusals: [] } },
    "fail",
    /8d ago/,
    /orca status/,
  ],
  [
    "a secret that is denied while its service runs",
    { sealed: { path: "/x", readMs: [NOW_MS], maxStaleMs: 7 * DAY_MS, refusals: [REFUSED] } },
    "fail",
    /the secret \/prod\/app\/KEY is denied since .*: no rights; .*; the value in use is 3h old/,
    /give it back at https:\/\/secrets\.example .*; then orca sync/,
  ],
  [
    "one whose last value is gone",
    { sealed: { path: "/x", readMs: [], maxStaleMs: 7 * DAY_MS, refusals: [{ ...REFUSED, ended: true }] } },
    "fail",
    /is gone, and nothing starts with it any more/,
    /give it back/,
  ],
  ["no values", { sealed: undefined }, "info", /none are kept/, /once a service/],
  ["a key that others read", { files: [file("/k", { mode: 0o640 })] }, "fail", /\/k has mode 0640/, /^chmod 600 \/k$/],
  [
    "a key of somebody else",
    { files: [file("/k", { uid: 1000 })] },
    "fail",
    /belongs to uid 1000/,
    /^chown root:root \/k$/,
  ],
  ["a key that is not there", { files: [absent("/k")] }, "fail", /\/k is not there/, /^install -m 600/],
  ["a key that is a directory", { files: [file("/k", { kind: "directory" })] }, "fail", /no file/, /replace/],
  [
    "a key in a work tree",
    { files: [file("/srv/p/k", {}, { workTree: "/srv/p" })] },
    "fail",
    /lies in the Git work tree \/srv\/p/,
    /^mv \/srv\/p\/k \/etc\/orca\//,
  ],
  ["a key that cannot be looked at", { files: [{ ...absent("/k"), trouble: "EACCES" }] }, "fail", /EACCES/, /^sudo/],
  [
    "a bootstrap file that is not allowed",
    { policy: { ...policy, policy: policySchema.parse({ ...POLICY, bootstrap: {} }) } },
    "fail",
    /keycloak takes .* does not allow/,
    /allowed_files/,
  ],
  ["a bootstrap file that nothing takes", { services: [] }, "warn", /no service takes it/, /\[bootstrap\]/],
  [
    "a bootstrap file that others read",
    { bootstrapFiles: [file(BOOT, { mode: 0o644 })] },
    "fail",
    /mode 0644/,
    /chmod 600/,
  ],
  [
    "a bootstrap file that is old",
    { bootstrapFiles: [file(BOOT, { changedMs: NOW_MS - 400 * DAY_MS })] },
    "warn",
    /last changed 400d ago/,
    /write new secrets/,
  ],
  [
    "no policy",
    { policy: { file: absent("/etc/orca/policy.toml"), policy: POLICY, problem: undefined } },
    "warn",
    /policy\.toml is not there/,
    /install -m 600 host-config\/policy\.toml \/etc\/orca\/policy\.toml/,
  ],
  [
    "a policy that is not valid",
    { policy: { ...policy, policy: undefined, problem: "line 3: no" }, bootstrapFiles: [] },
    "fail",
    /not valid: line 3: no/,
    /edit/,
  ],
  [
    "a policy that others write",
    { policy: { ...policy, file: file("/p", { mode: 0o664 }) } },
    "fail",
    /can be changed by others/,
    /chmod 644/,
  ],
  [
    "a policy that somebody else owns",
    { policy: { ...policy, file: file("/p", { mode: 0o644, uid: 1000 }) } },
    "fail",
    /can be changed by others \(uid 1000/,
    /chown root:root/,
  ],
  [
    "a directory on a disk",
    { delivery: { directory: "/run/orca", inMemory: false, noSwap: false } },
    "fail",
    /is on a disk/,
    /tmpfs/,
  ],
  [
    "a directory that is not there",
    { delivery: { directory: "/run/orca", inMemory: undefined, noSwap: false } },
    "fail",
    /is not there/,
    /tmpfs/,
  ],
  [
    "no firewall on a host of stage",
    { firewall: { ...firewall, loaded: { kind: "no" } } },
    "fail",
    /no table inet orca_isolation is loaded/,
    /firewall\/stage\.nft \/etc\/orca\/firewall\.nft where stage is the side that calls, .*\/production\.nft where it is called.*enable --now orca-firewall/,
  ],
  [
    "a firewall that does not know a machine",
    { firewall: { ...firewall, others: [...firewall.others, { node: "vm-new", realm: "prod", address: "10.0.9.1" }] } },
    "fail",
    /does not know vm-new of prod \(10\.0\.9\.1\)/,
    /^add 10\.0\.9\.1 to .*systemctl reload orca-firewall$/,
  ],
  [
    "a firewall that does not know an IPv6 machine",
    { firewall: { ...firewall, loaded: { kind: "yes", others: [{ addr: "10.0.0.0", len: 8 }] } } },
    "fail",
    /does not know vm-six of prod \(fd00::10\)/,
    /^add fd00::10 to /,
  ],
  [
    "a firewall that a boot does not load",
    { firewall: { ...firewall, atBoot: false } },
    "warn",
    /nothing will load \/etc\/orca\/firewall\.nft/,
    /systemctl enable --now orca-firewall/,
  ],
  [
    "a firewall of the host that does not know a VM of its realm",
    { hostFirewall: { ...wall, now: renderWall(["10.0.0.30", "10.0.0.40"]) } },
    "fail",
    /host-firewall\.nft is older than what fleet\.toml makes now: 1 line of now not in it \(set realm4 .*10\.0\.0\.40.*; 1 line of before still in it/,
    /orca firewall render vm-edge > vm-edge\.nft; .*orca firewall apply vm-edge\.nft, then orca firewall confirm/,
  ],
  [
    "a firewall of the host that lets SSH in from where nobody is any more",
    { hostFirewall: { ...wall, now: renderWall(["10.0.0.30"], '["203.0.113.0/24"]', 2222), sshPort: 2222 } },
    "fail",
    /older than what fleet\.toml makes now: \d+ lines/,
    /--ssh-port 2222 >/,
  ],
  [
    "a firewall of the host that fleet.toml makes no more",
    { hostFirewall: { ...wall, now: { what: "nothing says from where SSH is let in", fix: "write [host] ssh" } } },
    "warn",
    /fleet\.toml makes none any more: nothing says from where SSH/,
    /write \[host\] ssh/,
  ],
  [
    "a firewall that cannot be looked at",
    { firewall: { ...firewall, loaded: { kind: "no-program" } } },
    "warn",
    /nft is not installed/,
    /apt-get install nftables/,
  ],
  [
    "a /proc that hides containers' processes from the agent",
    { hiddenProcesses: { option: "hidepid=2", group: undefined } },
    "warn",
    /\/proc is mounted with hidepid=2, so process 812 does not see what containers have mounted/,
    /^take hidepid=2 out of \/etc\/fstab, and run mount -o remount,hidepid=0 \/proc$/,
  ],
  [
    "a /proc that shows them to a group that the agent is not in",
    { hiddenProcesses: { option: "hidepid=invisible", group: 26 } },
    "warn",
    /hidepid=invisible/,
    /; or systemctl edit orca-agent, write SupplementaryGroups=26 below \[Service\]/,
  ],
  [
    "an agent that may write a core",
    { agents: [{ pid: 7, coreLimit: "unlimited", coreFiltered: true, rights: undefined }] },
    "warn",
    /limit unlimited/,
    /LimitCORE=0/,
  ],
  [
    "an agent whose core holds its memory",
    { agents: [{ pid: 7, coreLimit: "0", coreFiltered: false, rights: undefined }] },
    "fail",
    /process 7/,
    /restart/,
  ],
  [
    "the same behind a pipe",
    {
      corePattern: "|/lib/systemd/systemd-coredump",
      agents: [{ pid: 7, coreLimit: "0", coreFiltered: false, rights: undefined }],
    },
    "fail",
    /through a handler/,
    /restart/,
  ],
  ["services with cores", { engineCoreLimit: undefined }, "warn", /containers write core files/, /daemon\.json/],
  ["swap on a disk", { swaps: [{ name: "/swapfile", type: "file" }] }, "warn", /\/swapfile \(file\)/, /swapoff/],
  [
    "swap that may be encrypted",
    { swaps: [{ name: "/dev/dm-1", type: "partition" }] },
    "info",
    /cannot be seen/,
    /crypttab/,
  ],
];

describe("is found, with why and what to do", () => {
  test.each(ROWS)("%s", (...row) => {
    const [, changes, severity, what, fix] = row;
    const found = find(changes);
    expect(found.map((finding) => finding.what)).toHaveLength(1);
    expect(found[0]).toMatchObject({ severity, what: expect.stringMatching(what), fix: expect.stringMatching(fix) });
    expect(found[0]?.why).not.toBe("");
    // What it tells to take from the sources is there, and nothing is told of a place that no installation makes.
    for (const [path] of (found[0]?.fix ?? "").matchAll(/\b(?<!\/)(?:host-config|systemd)\/[\w./-]+\.\w+/g))
      expect(existsSync(join(ROOT, path)), path).toBe(true);
    expect(found[0]?.fix).not.toContain("/usr/share");
  });
});

test.each<[Finding["severity"][], boolean]>([
  [[], false],
  [["fine", "info"], false],
  [["fine", "warn"], true],
  [["info", "fail"], true],
])("of findings %j something is weak: %s", (severities, weak) => {
  expect(isWeak(severities.map((severity) => ({ check: "c", severity, what: "w", why: "", fix: "" })))).toBe(weak);
});

test("each place where a policy is loose is one finding", () => {
  const loose = policySchema.parse({
    mounts: { allowed_prefixes: ["/", "/mnt/data", "/var/lib/"], docker_socket: true },
    security: { privileged: ["a"], host_network: ["b", "c"], devices: ["/dev/kvm"] },
    bootstrap: { allowed_files: [BOOT] },
    endpoints: { allowed: ["*"] },
    volumes: { foreign: ["gitea"] },
    log: { syslog: ["local"] },
  });
  expect(
    find({ policy: { ...policy, policy: loose } }).map(({ what }) => what.replace("/etc/orca/policy.toml: ", "")),
  ).toEqual([
    "mounts.docker_socket gives services the engine, which is root",
    "mounts.allowed_prefixes has /",
    "mounts.allowed_prefixes has /var/lib/",
    "security.privileged allows a",
    "security.host_network allows b, c",
    "security.devices allows /dev/kvm",
    'endpoints.allowed has "*": a manifest may have this host ask itself and the metadata of its cloud',
    "volumes.foreign allows gitea",
    "log.syslog allows local",
    "secrets.allowed_prefixes is left out: every path may be asked for",
    "images.registries is left out: images may come from anywhere",
  ]);
});

test("a tmpfs that is kept out of swap needs none to be gone", () => {
  const delivery = { ...GOOD.delivery, noSwap: true };
  expect(find({ delivery, swaps: [{ name: "/swapfile", type: "file" }] })).toEqual([]);
});

test("a host without a provider is asked nothing about one", () => {
  const none = { ...provider, kind: "none", location: "", skewMs: undefined } as const;
  expect(find({ provider: none, sealed: undefined })).toEqual([]);
});

test("where no firewall of the host is kept, nothing is said of its age; one that is kept is read with its port", async () => {
  const checks = examine({ ...GOOD, hostFirewall: undefined }).map(({ check }) => check);
  expect(checks).not.toContain("firewall of the host");
  const directory = mkdtempSync(join(tmpdir(), "orca-wall-"));
  const path = join(directory, "host-firewall.nft");
  const fleet = parseFleet(["10.0.0.30"], '["198.51.100.0/24"]');
  expect(await readHostFirewall(fleet, "vm-edge", path)).toBeUndefined();
  writeFileSync(path, renderWall(["10.0.0.30"], '["198.51.100.0/24"]', 2222));
  const read = await readHostFirewall(fleet, "vm-edge", path);
  expect(read).toMatchObject({ sshPort: 2222 });
  expect(find({ hostFirewall: read })).toEqual([]);
  const grown = await readHostFirewall(parseFleet(["10.0.0.30", "10.0.0.40"], '["198.51.100.0/24"]'), "vm-edge", path);
  expect(find({ hostFirewall: grown })).toMatchObject([{ severity: "fail", check: "firewall of the host" }]);
  rmSync(directory, { recursive: true });
});

test("a fleet of one realm, or none that is known, needs no firewall", () => {
  const words = [undefined, { ...firewall, others: [], loaded: { kind: "no" } as const, atBoot: false }];
  for (const entry of words) {
    const checks = examine({ ...GOOD, firewall: entry }).map(({ check }) => check);
    expect(checks).not.toContain("firewall between realms");
  }
});

test("a /proc that hides processes from others than the agent is fine", () => {
  const hiddenProcesses = { option: "hidepid=2", group: 26 };
  const judge = (rights: HostView["agents"][number]["rights"]): (string | undefined)[] =>
    examine({ ...GOOD, hiddenProcesses, agents: [{ pid: 7, coreLimit: "0", coreFiltered: true, rights }] })
      .filter(({ check }) => check === "mounts of containers")
      .map(({ severity }) => severity);
  expect(judge({ groups: [0, 26], maySeeAll: false })).toEqual(["fine"]);
  expect(judge({ groups: [0], maySeeAll: true })).toEqual(["fine"]);
  expect(judge({ groups: [0], maySeeAll: false })).toEqual(["warn"]);
  expect(judge(undefined)).toEqual(["warn"]);
});
