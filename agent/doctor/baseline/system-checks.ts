// The operating system below: upgrades, the kernel's settings, memory, disks, the journal, what a cloud's first boot has left.

import { describeDuration } from "../../../shared/text/duration.ts";
import { type Finding, fine, judge } from "../finding.ts";
import type { BaselineFacts, DiskFact } from "./baseline-facts.ts";

const DAY_MS = 86_400_000;
const LATE_UPGRADE_MS = 3 * DAY_MS;
/** The engine and what runs containers below it, by the names that Debian, Docker and Ubuntu give their packages. */
const ENGINE_PACKAGES = [
  ["docker.io", "docker-ce", "moby-engine"],
  ["containerd", "containerd.io", "moby-containerd"],
];
const LOW = { free: 0.2, inodes: 0.1 };
const FULL_SHARE = 0.1;

/** Judges the system. */
export function checkSystem(host: BaselineFacts, nowMs: number): Finding[] {
  return [
    ...checkUpgrades(host, nowMs),
    ...checkKernel(host),
    ...checkMemory(host),
    ...checkDisks(host),
    ...checkRecords(host),
    checkCloud(host),
  ];
}

function checkUpgrades({ upgrades, engine }: BaselineFacts, nowMs: number): Finding[] {
  const { apt, rebootSinceMs } = upgrades;
  const reboot = judge("reboot", rebootSinceMs !== undefined, {
    severity: "info",
    what: `an upgrade waits for a reboot since ${describeDuration(Math.max(0, nowMs - (rebootSinceMs ?? nowMs)))}`,
    why: "until then the kernel or a library that was mended is not the one that runs",
    fix: "reboot in your maintenance window: services come back by themselves, in order",
    good: "no upgrade waits for one",
  });
  if (apt === undefined) return [fine("security upgrades", "this host has no apt: look at its own way"), reboot];
  const liveRestore = engine.kind === "said" && engine.value.liveRestore;
  const late = apt.lastMs === undefined || nowMs - apt.lastMs > LATE_UPGRADE_MS;
  const trouble = !apt.automatic
    ? "security upgrades are not installed by themselves"
    : !apt.security
      ? "the archive of security upgrades is not among those that are installed from"
      : !apt.hasTimer
        ? "apt-daily-upgrade.timer is switched off"
        : late
          ? `they were last looked for ${apt.lastMs === undefined ? "never" : `${describeDuration(nowMs - apt.lastMs)} ago`}`
          : undefined;
  const held = ENGINE_PACKAGES.every((names) => names.some((name) => apt.kept.some((kept) => matches(kept, name))));
  return [
    judge("security upgrades", trouble !== undefined, {
      severity: "fail",
      what: trouble ?? "",
      why: "a hole that everybody knows of stays open until somebody logs in",
      fix: "apt-get install unattended-upgrades, then dpkg-reconfigure -plow unattended-upgrades, and systemctl enable --now apt-daily.timer apt-daily-upgrade.timer",
      good: "they are installed by themselves",
    }),
    judge("upgrades of the engine", apt.automatic && !held && !liveRestore, {
      severity: "warn",
      what: "the engine may be upgraded by itself, and its containers end with it",
      why: "at some night all services of this host go down together",
      fix: 'in /etc/apt/apt.conf.d/51orca: Unattended-Upgrade::Package-Blacklist { "docker"; "containerd"; "runc"; };',
      good: "an upgrade of the engine is a person's, or ends no container",
    }),
    reboot,
  ];
}

/** Python's re.match, as unattended-upgrades has it: from the beginning. */
function matches(pattern: string, name: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})`).test(name);
  } catch {
    return pattern === name;
  }
}

/** Name → what it may be; the first is what the fix writes. */
const NET_SYSCTLS: Readonly<Record<string, readonly string[]>> = {
  "net.ipv4.conf.all.rp_filter": ["2", "1"],
  "net.ipv4.tcp_syncookies": ["1"],
  "net.ipv4.conf.all.accept_redirects": ["0"],
  "net.ipv6.conf.all.accept_redirects": ["0"],
  "net.ipv4.conf.all.send_redirects": ["0"],
  "net.ipv4.conf.all.accept_source_route": ["0"],
  "net.ipv6.conf.all.accept_source_route": ["0", "-1"],
};
const KERNEL_SYSCTLS: Readonly<Record<string, readonly string[]>> = {
  "fs.suid_dumpable": ["0", "2"],
  "fs.protected_hardlinks": ["1"],
  "fs.protected_symlinks": ["1"],
  "kernel.randomize_va_space": ["2"],
  "kernel.kptr_restrict": ["1", "2"],
  "kernel.dmesg_restrict": ["1"],
};

/** Every name that is judged: for whoever reads them. */
export const JUDGED_SYSCTLS: readonly string[] = [
  "net.ipv4.ip_forward",
  ...Object.keys(NET_SYSCTLS),
  ...Object.keys(KERNEL_SYSCTLS),
];

function checkKernel({ sysctls }: BaselineFacts): Finding[] {
  const judgeSet = (check: string, set: Readonly<Record<string, readonly string[]>>, why: string): Finding => {
    const bad = Object.entries(set).filter(
      ([name, allowed]) => sysctls[name] !== undefined && !allowed.includes(sysctls[name]),
    );
    const lines = bad.map(([name, [write = ""]]) => `${name} = ${write}`);
    return judge(check, bad.length > 0, {
      severity: "warn",
      what: bad.map(([name]) => `${name} is ${sysctls[name]}`).join(", "),
      why,
      fix: `write into /etc/sysctl.d/60-orca.conf, a line each: ${lines.join("; ")}; then sysctl --system`,
      good: "they are as they should be",
    });
  };
  return [
    judge("forwarding", sysctls["net.ipv4.ip_forward"] === "0", {
      severity: "fail",
      what: "net.ipv4.ip_forward is 0",
      why: "containers reach nothing, and nobody reaches a published port; hardening guides for hosts without containers set it",
      fix: "take it out of /etc/sysctl.conf and /etc/sysctl.d, then sysctl -w net.ipv4.ip_forward=1",
      good: "the kernel forwards for containers",
    }),
    judgeSet("settings of the network", NET_SYSCTLS, "others on the network may lead packets of this host another way"),
    judgeSet("settings of the kernel", KERNEL_SYSCTLS, "it makes a hole in a program easier to use"),
  ];
}

function checkMemory({ memory }: BaselineFacts): Finding[] {
  const { hasSwap, killers } = memory;
  return [
    judge("room for peaks", !hasSwap, {
      severity: "info",
      what: "there is neither swap nor zram",
      why: "a short peak ends in a kill at once; services have no swap in any case",
      fix: "apt-get install systemd-zram-generator: compressed memory, which is no disk",
      good: "there is swap or zram",
    }),
    judge("killers of memory", killers.length > 1, {
      severity: "warn",
      what: `${killers.join(" and ")} both end programs when memory is short`,
      why: "neither knows what the other does, and systemd-oomd ends whole groups with all their containers",
      fix: `systemctl disable --now ${killers[0] ?? ""}`,
      good: killers.length === 0 ? "the kernel alone" : `${killers[0]} alone`,
    }),
  ];
}

function checkDisks({ disks }: BaselineFacts): Finding[] {
  const check = "free space";
  const low = disks.filter((disk) => disk.freeShare < LOW.free || disk.inodesFreeShare < LOW.inodes);
  if (low.length === 0) return [fine(check, `enough is free on ${disks.map(({ path }) => path).join(", ")}`)];
  return low.map(({ path, freeShare, inodesFreeShare }: DiskFact): Finding => {
    const inodes = inodesFreeShare < LOW.inodes;
    const share = inodes ? inodesFreeShare : freeShare;
    return {
      check,
      severity: share < FULL_SHARE ? "fail" : "warn",
      what: `${path}: ${Math.floor(share * 100)} % of its ${inodes ? "inodes are" : "space is"} free`,
      why: "a full disk ends databases in the middle of a write, and no backup is made any more",
      fix: "orca prune --dry-run says what can go; du -xh --max-depth=2 / | sort -h | tail shows what takes the rest",
    };
  });
}

function checkRecords({ journal, auditing, zone }: BaselineFacts): Finding[] {
  const trouble = !journal.persistent
    ? "the journal is gone after a reboot"
    : journal.maxUse === undefined
      ? "the journal may take a tenth of its file system"
      : undefined;
  return [
    judge("journal", trouble !== undefined, {
      severity: "warn",
      what: trouble ?? "",
      why: "after a crash of the host its last lines are what tells why; and they must not fill the disk",
      fix: "write [Journal], Storage=persistent and SystemMaxUse=500M into /etc/systemd/journald.conf.d/orca.conf, then systemctl restart systemd-journald",
      good: "it is kept over a reboot, up to a limit",
    }),
    judge("time zone", zone !== undefined && !/^(Etc\/)?(UTC|Universal|Zulu|GMT)$/.test(zone), {
      severity: "info",
      what: `this host's time zone is ${zone ?? ""}`,
      why: "schedules, names of backups and the audit log are in UTC: two clocks in one bad hour",
      fix: "timedatectl set-timezone UTC",
      good: "UTC",
    }),
    judge("audit daemon", !auditing, {
      severity: "info",
      what: "the kernel records nobody's acts",
      why: "Orca's audit log has what Orca did; who else changed /etc/docker or used the engine's socket stands nowhere",
      fix: "apt-get install auditd; rules: -w /etc/docker -p wa -k docker; -w /etc/orca -p wa -k orca",
      good: "auditd runs",
    }),
  ];
}

function checkCloud({ cloud }: BaselineFacts): Finding {
  const check = "first boot";
  if (cloud === undefined) return fine(check, "no cloud-init has run here");
  const { errors, tellingKeys } = cloud;
  if (tellingKeys.length > 0)
    return {
      check,
      severity: "warn",
      what: `the user data of this machine holds what looks like a secret (${tellingKeys.join(", ")})`,
      why: "it stays readable for the machine's whole life: by root here, by whoever may look at it in the cloud",
      fix: "make that secret anew, hand the new one over in another way, and take it out of your template",
    };
  return judge(check, errors.length > 0, {
    severity: "warn",
    what: `cloud-init has failed: ${errors[0] ?? ""}`,
    why: "what came after that line of the template was perhaps never done",
    fix: "cloud-init status --long; less /var/log/cloud-init-output.log",
    good: "cloud-init has ended without an error, and no secret is in its user data",
  });
}
