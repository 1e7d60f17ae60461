// A host on which everything of the baseline is as it should be, as data: tests break one thing of it.

import type { BaselineFacts, ContainerFact } from "../../../agent/doctor/baseline/baseline-facts.ts";

export const BASELINE_NOW_MS = Date.UTC(2026, 10, 28);
const DAY_MS = 86_400_000;

/** A service's container as the agent makes it. */
export const GOOD_CONTAINER: ContainerFact = {
  name: "orca-vm-edge-keycloak-1a2b3c4d",
  service: "keycloak",
  job: undefined,
  createdMs: BASELINE_NOW_MS - DAY_MS,
  running: true,
  memoryBytes: 2 ** 30,
  memorySwapBytes: 2 ** 30,
  pidsLimit: 512,
  privileged: false,
  hostNamespaces: [],
  devices: [],
  sources: ["/run/orca/secrets/keycloak"],
  published: [{ address: "10.0.0.10", port: 8443 }],
  variables: ["PATH", "KC_DB", "DB_PASSWORD_FILE"],
  restartPolicy: "no",
  logDriver: "local",
  logCapped: true,
  image: "quay.io/keycloak/keycloak:26.0@sha256:00",
};

/** Everything as it should be. */
export const GOOD_BASELINE: BaselineFacts = {
  engine: {
    kind: "said",
    value: {
      logDriver: "local",
      liveRestore: true,
      storageDriver: "overlay2",
      cgroupVersion: "2",
      securityOptions: ["name=apparmor", "name=seccomp,profile=default", "name=no-new-privileges"],
      insecureRegistries: ["127.0.0.0/8"],
      rootDir: "/var/lib/docker",
      inSwarm: false,
    },
  },
  containers: [GOOD_CONTAINER],
  engineFile: {
    path: "/etc/docker/daemon.json",
    trouble: undefined,
    options: {
      "log-driver": "local",
      "userland-proxy": false,
      icc: false,
      "default-address-pools": [{ base: "172.20.0.0/14", size: 24 }],
    },
    hosts: ["unix:///var/run/docker.sock"],
    tlsVerify: false,
    socket: { path: "/var/run/docker.sock", mode: 0o660, group: "docker" },
  },
  filter: {
    published: { kind: "said", value: ["-A DOCKER-USER -i eth0 -j DROP"] },
    hasHostTable: false,
    denies4: { kind: "said", value: true },
    denies6: { kind: "said", value: true },
    hasGlobal6: true,
    namesMetadata: { kind: "said", value: true },
  },
  sshd: {
    kind: "said",
    value: {
      passwordauthentication: "no",
      kbdinteractiveauthentication: "no",
      permitrootlogin: "prohibit-password",
      x11forwarding: "no",
      permitemptypasswords: "no",
      maxauthtries: "4",
    },
  },
  sshKeyFiles: ["/root/.ssh/authorized_keys"],
  fail2ban: true,
  upgrades: {
    apt: {
      automatic: true,
      security: true,
      kept: ["docker", "containerd", "runc"],
      lastMs: BASELINE_NOW_MS - DAY_MS,
      hasTimer: true,
    },
    rebootSinceMs: undefined,
  },
  sysctls: {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "2",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.conf.all.accept_redirects": "0",
    "fs.suid_dumpable": "2",
    "kernel.randomize_va_space": "2",
    "kernel.kptr_restrict": "1",
  },
  memory: { totalBytes: 8 * 2 ** 30, hasSwap: true, killers: ["systemd-oomd"] },
  zone: "Etc/UTC",
  journal: { persistent: true, maxUse: "500M" },
  auditing: true,
  disks: [{ path: "/", freeShare: 0.6, inodesFreeShare: 0.9 }],
  backupsApart: true,
  unit: {
    properties: {
      kind: "said",
      value: {
        LoadState: "loaded",
        Type: "notify",
        WatchdogUSec: "1min",
        Restart: "always",
        StartLimitIntervalUSec: "0",
        MemoryMax: "469762048",
        OOMScoreAdjust: "-500",
        LimitCORE: "0",
        KillMode: "mixed",
      },
    },
    exposure: { kind: "said", value: 1.9 },
    deadMan: { kind: "said", value: true },
  },
  directories: [
    { path: "/etc/orca", mode: 0o700, uid: 0, most: 0o755 },
    { path: "/var/lib/orca", mode: 0o700, uid: 0, most: 0o700 },
  ],
  brokenPoints: [],
  repositories: [{ name: "s3-geo", recipients: 2 }],
  secretAges: [{ path: "/prod/app/KEY", sinceMs: BASELINE_NOW_MS - 30 * DAY_MS }],
  cloud: { errors: [], tellingKeys: [] },
};
