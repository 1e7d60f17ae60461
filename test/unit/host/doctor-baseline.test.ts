// What `orca doctor` judges of the engine, containers, network, system and the agent's unit: each check has a host that fails it and one
// that passes it, and says id, severity, finding, fix and source.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { checkAgentUnit } from "../../../agent/doctor/baseline/unit-checks.ts";
import { checkContainers } from "../../../agent/doctor/baseline/container-checks.ts";
import { checkEngine } from "../../../agent/doctor/baseline/engine-checks.ts";
import { checkNetwork } from "../../../agent/doctor/baseline/network-checks.ts";
import { checkSystem, JUDGED_SYSCTLS } from "../../../agent/doctor/baseline/system-checks.ts";
import type { BaselineFacts, ContainerFact, EngineFact } from "../../../agent/doctor/baseline/baseline-facts.ts";
import { CHECKS } from "../../../agent/doctor/check-table.ts";
import { type Finding, nameFinding } from "../../../agent/doctor/finding.ts";
import { type Policy, policySchema } from "../../../shared/policy/policy.ts";
import { BASELINE_NOW_MS as NOW_MS, GOOD_BASELINE, GOOD_CONTAINER } from "../../builders/data/baseline.ts";

const ROOT = join(import.meta.dirname, "../../..");
const DAY_MS = 86_400_000;
const POLICY = policySchema.parse({ ports: { public: [443] }, security: { privileged: ["collector"] } });

function judgeAll(host: BaselineFacts, policy: Policy | undefined): Finding[] {
  const law = { policy, nowMs: NOW_MS, secretEnv: { keycloak: ["KC_BOOTSTRAP_PASSWORD"] } };
  return [
    ...checkEngine(host),
    ...checkContainers(host, law),
    ...checkNetwork(host, policy),
    ...checkSystem(host, NOW_MS),
    ...checkAgentUnit(host, NOW_MS),
  ];
}

function find(changes: Partial<BaselineFacts>): Finding[] {
  return judgeAll({ ...GOOD_BASELINE, ...changes }, POLICY).filter(({ severity }) => severity !== "fine");
}

/** A host with another engine. */
function engine(changes: Partial<EngineFact>): Partial<BaselineFacts> {
  if (GOOD_BASELINE.engine.kind !== "said") throw new Error("the fixture has an engine");
  return { engine: { kind: "said", value: { ...GOOD_BASELINE.engine.value, ...changes } } };
}

function options(changes: Record<string, unknown>): Partial<BaselineFacts> {
  const { engineFile } = GOOD_BASELINE;
  return { engineFile: { ...engineFile, options: { ...engineFile.options, ...changes } } };
}

const container = (changes: Partial<ContainerFact>): Partial<BaselineFacts> => ({
  containers: [{ ...GOOD_CONTAINER, ...changes }],
});
const filter = (changes: Partial<BaselineFacts["filter"]>): Partial<BaselineFacts> => ({
  filter: { ...GOOD_BASELINE.filter, ...changes },
});
const unit = (changes: Partial<BaselineFacts["unit"]>): Partial<BaselineFacts> => ({
  unit: { ...GOOD_BASELINE.unit, ...changes },
});
const sysctl = (name: string, value: string): Partial<BaselineFacts> => ({
  sysctls: { ...GOOD_BASELINE.sysctls, [name]: value },
});
function apt(changes: Partial<NonNullable<BaselineFacts["upgrades"]["apt"]>>): Partial<BaselineFacts> {
  const { upgrades } = GOOD_BASELINE;
  if (upgrades.apt === undefined) throw new Error("the fixture has apt");
  return { upgrades: { ...upgrades, apt: { ...upgrades.apt, ...changes } } };
}
function sshd(changes: Record<string, string>): Partial<BaselineFacts> {
  if (GOOD_BASELINE.sshd.kind !== "said") throw new Error("the fixture has an sshd");
  return { sshd: { kind: "said", value: { ...GOOD_BASELINE.sshd.value, ...changes } } };
}
function property(key: string, value: string): Partial<BaselineFacts> {
  const { properties } = GOOD_BASELINE.unit;
  if (properties.kind !== "said") throw new Error("the fixture has a unit");
  return unit({ properties: { kind: "said", value: { ...properties.value, [key]: value } } });
}

const OPEN = { published: [{ address: "0.0.0.0", port: 5432 }] };
const EVERYWHERE = { published: [{ address: "", port: 443 }] };
const GONE = { kind: "said", value: false } as const;

/** Id, what is broken, severity, what is said, and what is said to do. */
const ROWS: [id: string, changes: Partial<BaselineFacts>, severity: string, what: RegExp, fix: RegExp][] = [
  ["D00", { engine: { kind: "absent" } }, "fail", /nothing listens/, /systemctl status docker/],
  ["D01", engine({ logDriver: "json-file" }), "fail", /without a limit/, /"log-driver": "local"/],
  ["D02", engine({ liveRestore: false }), "warn", /end with the engine/, /"live-restore": true/],
  ["D03", options({ "userland-proxy": undefined }), "info", /before each published port/, /"userland-proxy": false/],
  ["D04", engine({ securityOptions: ["name=apparmor", "name=seccomp"] }), "warn", /more than/, /"no-new-privileges"/],
  [
    "D05",
    { engineFile: { ...GOOD_BASELINE.engineFile, hosts: ["tcp://0.0.0.0:2375"] } },
    "fail",
    /listens on tcp:\/\/0\.0\.0\.0:2375 without TLS/,
    /take the address out of hosts/,
  ],
  [
    "D05",
    {
      engineFile: {
        ...GOOD_BASELINE.engineFile,
        socket: { path: "/var/run/docker.sock", mode: 0o666, group: "docker" },
      },
    },
    "fail",
    /has mode 0666/,
    /^chmod 660 \/var\/run\/docker\.sock/,
  ],
  [
    "D06",
    engine({ insecureRegistries: ["127.0.0.0/8", "10.0.0.9:5000"] }),
    "warn",
    /from 10\.0\.0\.9:5000/,
    /insecure-/,
  ],
  ["D07", options({ "default-address-pools": undefined }), "warn", /by itself/, /"default-address-pools"/],
  ["D08", engine({ storageDriver: "vfs" }), "warn", /stores by vfs/, /overlay2/],
  ["D09", engine({ cgroupVersion: "1" }), "info", /version 1/, /unified_cgroup_hierarchy/],
  ["D10", options({ icc: true }), "info", /reach each other/, /"icc": false/],
  ["D11", options({ "metrics-addr": "0.0.0.0:9323" }), "warn", /on 0\.0\.0\.0:9323/, /127\.0\.0\.1/],
  [
    "D12",
    engine({ securityOptions: ["name=seccomp", "name=no-new-privileges"] }),
    "warn",
    /without apparmor/,
    /apt-get install apparmor/,
  ],
  [
    "D13",
    { engineFile: { ...GOOD_BASELINE.engineFile, trouble: "Unexpected token" } },
    "fail",
    /cannot be used: Unexpected token/,
    /dockerd --validate/,
  ],
  ["D14", { backupsApart: false }, "info", /file system of \/var\/lib\/docker/, /backups\.dir/],
  ["C01", container({ memoryBytes: 0 }), "fail", /keycloak-1a2b3c4d: no cap/, /orca sync/],
  ["C01", container({ memorySwapBytes: -1 }), "fail", /swap beside it/, /orca sync/],
  ["C02", container({ pidsLimit: 0 }), "warn", /no limit of processes/, /resources\.pids/],
  ["C03", container({ privileged: true }), "fail", /\(privileged\)/, /\[security\]/],
  ["C03", container({ hostNamespaces: ["pid"] }), "fail", /the host's pid/, /\[security\]/],
  ["C03", container({ devices: ["/dev/mem"] }), "fail", /\/dev\/mem/, /\[security\]/],
  ["C05", container({ sources: ["/var/run/docker.sock"] }), "fail", /engine's socket mounted/, /proxy/],
  ["C06", container(OPEN), "fail", /\(5432\): published on every address/, /10\.0\.0\.10:8080/],
  ["C07", container({ variables: ["APP_SECRET"] }), "warn", /keycloak \(APP_SECRET\)/, /\[secrets\.files\]/],
  ["C08", container({ image: "app:4" }), "info", /named by a tag/, /sha256/],
  ["C09", container({ restartPolicy: "always" }), "warn", /by itself/, /orca restart/],
  ["C10", container({ logDriver: "json-file", logCapped: false }), "warn", /without a limit/, /make it anew/],
  ["C11", container({ name: "by-hand", service: undefined }), "info", /by-hand: not made by the agent/, /manifest/],
  [
    "C12",
    container({ job: "verify", createdMs: NOW_MS - 2 * DAY_MS, running: false }),
    "warn",
    /more than a day ago/,
    /restart orca-agent/,
  ],
  ["M03", container({ memoryBytes: 8 * 2 ** 30, memorySwapBytes: 8 * 2 ** 30 }), "fail", /all caps come to 8/, /lower/],
  [
    "N01",
    { ...container(EVERYWHERE), ...filter({ published: { kind: "said", value: [] } }) },
    "warn",
    /DOCKER-USER drops anything/,
    /iptables -I DOCKER-USER/,
  ],
  [
    "N01",
    { ...container(EVERYWHERE), ...filter({ published: { kind: "unseen", trouble: "you must be root" } }) },
    "warn",
    /cannot be looked at: you must be root/,
    /as root/,
  ],
  ["N02", filter({ denies4: GONE, denies6: GONE }), "warn", /is let in/, /ufw default deny/],
  ["N03", filter({ namesMetadata: GONE }), "warn", /169\.254\.169\.254/, /DOCKER-USER -d 169/],
  ["N04", filter({ denies6: GONE }), "warn", /IPv6 is not/, /IPV6=yes/],
  [
    "S01",
    sshd({ passwordauthentication: "yes", maxauthtries: "6" }),
    "fail",
    /PasswordAuthentication yes, MaxAuthTries 6/,
    /PasswordAuthentication no; MaxAuthTries 4/,
  ],
  ["S01", { sshd: { kind: "unseen", trouble: "no hostkeys" } }, "warn", /no hostkeys/, /sshd -t/],
  ["S02", { sshKeyFiles: [] }, "fail", /no key lets anybody in/, /ssh-copy-id/],
  ["U01", apt({ automatic: false }), "fail", /not installed by themselves/, /unattended-upgrades/],
  ["U01", apt({ security: false }), "fail", /archive of security/, /unattended-upgrades/],
  ["U01", apt({ hasTimer: false }), "fail", /timer is switched off/, /apt-daily-upgrade\.timer/],
  ["U01", apt({ lastMs: NOW_MS - 5 * DAY_MS }), "fail", /5d ago/, /unattended-upgrades/],
  [
    "U03",
    { upgrades: { ...GOOD_BASELINE.upgrades, rebootSinceMs: NOW_MS - DAY_MS } },
    "info",
    /since 1d/,
    /maintenance window/,
  ],
  ["K01", sysctl("net.ipv4.ip_forward", "0"), "fail", /ip_forward is 0/, /sysctl -w/],
  ["K02", sysctl("net.ipv4.conf.all.accept_redirects", "1"), "warn", /accept_redirects is 1/, /accept_redirects = 0/],
  ["K03", sysctl("kernel.kptr_restrict", "0"), "warn", /kptr_restrict is 0/, /kptr_restrict = 1/],
  ["M01", { memory: { ...GOOD_BASELINE.memory, hasSwap: false } }, "info", /neither swap nor zram/, /zram/],
  [
    "M02",
    { memory: { ...GOOD_BASELINE.memory, killers: ["earlyoom", "systemd-oomd"] } },
    "warn",
    /earlyoom and systemd-oomd/,
    /disable --now earlyoom/,
  ],
  ["F01", { disks: [{ path: "/mnt", freeShare: 0.15, inodesFreeShare: 1 }] }, "warn", /\/mnt: 15 %.*space/, /prune/],
  ["F01", { disks: [{ path: "/mnt", freeShare: 0.5, inodesFreeShare: 0.05 }] }, "fail", /5 % of its inodes/, /prune/],
  ["J01", { journal: { persistent: false, maxUse: "1G" } }, "warn", /gone after a reboot/, /Storage=persistent/],
  ["J01", { journal: { persistent: true, maxUse: undefined } }, "warn", /a tenth/, /SystemMaxUse=500M/],
  ["J02", { auditing: false }, "info", /records nobody's acts/, /auditd/],
  ["T02", { zone: "Europe/Berlin" }, "info", /Europe\/Berlin/, /set-timezone UTC/],
  [
    "I01",
    { cloud: { errors: ["('runcmd', fault)"], tellingKeys: [] } },
    "warn",
    /has failed: \('runcmd'/,
    /status --long/,
  ],
  ["I01", { cloud: { errors: [], tellingKeys: ["a private key"] } }, "warn", /\(a private key\)/, /anew/],
  ["A01", property("WatchdogUSec", "0"), "fail", /WatchdogUSec is 0/, /WatchdogSec=60/],
  ["A01", property("Restart", "no"), "fail", /Restart is no/, /Restart=always/],
  [
    "A01",
    property("Restart", "no"),
    "fail",
    /Restart is no/,
    /orca unit --write puts the one for its directories back/,
  ],
  ["A01", unit({ properties: { kind: "unseen", trouble: "denied" } }), "warn", /denied/, /systemctl show/],
  ["A02", unit({ exposure: { kind: "said", value: 4.2 } }), "warn", /says 4\.2/, /systemd-analyze security/],
  ["A04", { directories: [{ path: "/var/lib/orca", mode: 0o755, uid: 0, most: 0o700 }] }, "fail", /0755/, /chmod 0700/],
  ["A04", { directories: [{ path: "/etc/orca", mode: 0o700, uid: 7, most: 0o755 }] }, "fail", /uid 7/, /chown root/],
  ["A05", unit({ deadMan: GONE }), "warn", /does not run/, /enable --now orca-dead-man\.timer/],
  ["B01", { brokenPoints: ["db/db in local: 9h old"] }, "fail", /db\/db in local/, /orca slo/],
  ["B02", { repositories: [{ name: "s3-geo", recipients: 1 }] }, "warn", /s3-geo: fewer than two/, /second recipient/],
  [
    "P05",
    { secretAges: [{ path: "/prod/app/KEY", sinceMs: NOW_MS - 120 * DAY_MS }] },
    "info",
    /\/prod\/app\/KEY \(120d\)/,
    /new value at the provider/,
  ],
];

test("a host that is as it should be has nothing but what is fine", () => {
  expect(find({})).toEqual([]);
});

describe("is found, once, with why, fix, id and source", () => {
  test.each(ROWS)("%s", (...row) => {
    const [id, changes, severity, what, fix] = row;
    const found = find(changes).filter((finding) => CHECKS[finding.check]?.id === id);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ severity, what: expect.stringMatching(what), fix: expect.stringMatching(fix) });
    expect(found[0]?.why).not.toBe("");
  });

  test("and nothing else is, but for what the same fault brings along", () => {
    const several = ROWS.flatMap(([id, changes]) => {
      const ids = find(changes).map(({ check }) => CHECKS[check]?.id);
      return ids.length === 1 ? [] : [[id, ids.filter((other) => other !== id)]];
    });
    // A port that is open by the container is open whatever the firewall; a filter of IPv4 that is gone stands before that of IPv6.
    expect(several).toEqual([]);
  });
});

test("each check has a host that passes it and one that fails it, and a source", () => {
  const passed = new Set(judgeAll(GOOD_BASELINE, POLICY).map(({ check }) => check));
  expect([...passed].filter((check) => CHECKS[check] === undefined)).toEqual([]);
  // What needs two things to be wrong at once has tests of its own below.
  const failed = new Set([...ROWS.map(([id]) => id), "S03", "U02"]);
  expect([...passed].filter((check) => !failed.has(CHECKS[check]?.id ?? ""))).toEqual([]);
  const ids = Object.values(CHECKS).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(Object.values(CHECKS).filter(({ source }) => source === "")).toEqual([]);
});

test("passwords for ssh: nobody slows down who guesses them, and without them nobody needs to", () => {
  const open = sshd({ passwordauthentication: "yes" });
  const checks = find({ ...open, fail2ban: false }).map(({ check }) => check);
  expect(checks).toEqual(["ssh", "fail2ban"]);
  expect(find({ fail2ban: false })).toEqual([]);
  // A key that is missing is graver where passwords are off already.
  expect(find({ ...open, sshKeyFiles: [] }).find(({ check }) => check === "keys for ssh")?.severity).toBe("warn");
});

test("the engine is upgraded by itself only where that ends nothing, or is held back", () => {
  const check = (kept: string[], liveRestore: boolean): number =>
    find({ ...engine({ liveRestore }), ...apt({ kept }) }).filter(
      (finding) => finding.check === "upgrades of the engine",
    ).length;
  expect(check([], true)).toBe(0);
  expect(check(["docker\\.io$", "containerd$"], false)).toBe(0);
  expect(check(["^(docker|containerd).*"], false)).toBe(0);
  expect(check(["docker-", "containerd"], false)).toBe(0);
  expect(check(["docker"], false)).toBe(1);
  expect(check([], false)).toBe(1);
});

test("an engine that does not tell of new privileges is known by its file, published ports by the firewall of orca firewall", () => {
  const old = {
    ...engine({ securityOptions: ["name=apparmor", "name=seccomp"] }),
    ...options({ "no-new-privileges": true }),
  };
  const walled = {
    ...container(EVERYWHERE),
    ...filter({ published: { kind: "said", value: [] }, hasHostTable: true }),
  };
  for (const changes of [old, walled]) expect(find(changes)).toEqual([]);
});

test("what scripts/install sets a host up with is a host on which nothing of that is found", () => {
  const read = (path: string): string => readFileSync(join(ROOT, "host-config", path), "utf8");
  const values = (text: string, split: RegExp): Record<string, string> =>
    Object.fromEntries(
      text.split("\n").flatMap((line) => {
        const [key = "", ...rest] = line.split(split);
        return line.startsWith("#") || rest.length === 0 ? [] : [[key.trim(), rest.join(" ").trim()] as const];
      }),
    );
  const sysctls = values(read("baseline/sysctl.conf"), /=/);
  expect(JUDGED_SYSCTLS.filter((name) => sysctls[name] === undefined)).toEqual([]);
  const settings = Object.entries(values(read("baseline/sshd.conf"), /\s+/)).map(([key, value]) => [
    key.toLowerCase(),
    value,
  ]);
  const kept = [...read("baseline/upgrades.conf").matchAll(/^ {2}"(.*)";$/gm)].map(([, pattern = ""]) => pattern);
  const daemon = JSON.parse(read("daemon.json")) as Record<string, unknown>;
  const maxUse = values(read("baseline/journald.conf"), /=/)["SystemMaxUse"];
  expect(
    find({
      sysctls,
      sshd: { kind: "said", value: Object.fromEntries(settings) as Record<string, string> },
      journal: { persistent: true, maxUse },
      engineFile: { ...GOOD_BASELINE.engineFile, options: daemon },
      // Held back by its name, whatever the engine does.
      ...engine({ liveRestore: false, logDriver: String(daemon["log-driver"]) }),
      ...apt({ kept }),
    }).map(({ check }) => check),
  ).toEqual(["live restore"]);
});

test("what the policy allows by name is no finding", () => {
  const allowed = container({ service: "collector", privileged: true });
  expect(find(allowed)).toEqual([]);
  expect(find(container({ variables: ["KC_BOOTSTRAP_PASSWORD"] }))).toEqual([]);
  expect(find(container(EVERYWHERE))).toEqual([]);
  // Without a policy the strict one counts.
  expect(judgeAll({ ...GOOD_BASELINE, ...allowed }, undefined).map(({ severity }) => severity)).toContain("fail");
});

test("a host without apt, sshd, systemd or a cloud is asked nothing of them", () => {
  const bare = {
    upgrades: { apt: undefined, rebootSinceMs: undefined },
    sshd: { kind: "absent" },
    unit: { properties: { kind: "absent" }, exposure: { kind: "absent" }, deadMan: { kind: "absent" } },
    cloud: undefined,
    brokenPoints: undefined,
  } as const;
  expect(find(bare)).toEqual([]);
});

test("a finding keeps its name while only its numbers change", () => {
  const name = (share: number): string[] =>
    find({ disks: [{ path: "/", freeShare: share, inodesFreeShare: 1 }] }).map(nameFinding);
  expect(name(0.15)).toEqual(name(0.12));
  expect(name(0.15)).not.toEqual(
    find({ disks: [{ path: "/mnt", freeShare: 0.15, inodesFreeShare: 1 }] }).map(nameFinding),
  );
});
