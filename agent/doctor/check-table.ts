// Every check by its name: its short id, where its rule comes from, and the page that says more. Numbers of CIS are those of the CIS Docker
// Benchmark as docker/docker-bench-security has them; sysctl-NN those of dev-sec/linux-baseline.

import type { HelpTopic } from "../../shared/text/help-topic.ts";

/** What is known of a check. */
export interface CheckFact {
  id: string;
  source: string;
  page: HelpTopic;
}

const ORCA = "Orca";

/** Name → what is known of it. */
export const CHECKS: Readonly<Record<string, CheckFact>> = {
  // Secrets and files.
  provider: { id: "P01", source: ORCA, page: "secrets" },
  "secrets file": { id: "P02", source: ORCA, page: "secrets" },
  "last known secrets": { id: "P03", source: ORCA, page: "secrets" },
  "refused secrets": { id: "P04", source: ORCA, page: "secrets" },
  "age of secrets": { id: "P05", source: "OWASP, Secrets Management Cheat Sheet", page: "secrets" },
  "secrets in variables": { id: "P06", source: ORCA, page: "secrets" },
  "delivery in memory": { id: "P07", source: ORCA, page: "secrets" },
  "core files of the agent": { id: "P08", source: "core(5)", page: "secrets" },
  "core files of services": { id: "P09", source: "CIS 2.7", page: "secrets" },
  swap: { id: "P10", source: ORCA, page: "secrets" },
  "keys and credentials": { id: "P11", source: ORCA, page: "secrets" },
  "bootstrap files": { id: "P12", source: ORCA, page: "secrets" },
  policy: { id: "P13", source: ORCA, page: "policy" },
  // The engine.
  engine: { id: "D00", source: ORCA, page: "doctor" },
  "logs of containers": { id: "D01", source: "Docker documentation, Configure logging drivers", page: "doctor" },
  "live restore": { id: "D02", source: "CIS 2.14", page: "doctor" },
  "userland proxy": { id: "D03", source: "CIS 2.18", page: "doctor" },
  "new privileges": { id: "D04", source: "CIS, section 2", page: "doctor" },
  "sockets of the engine": { id: "D05", source: "CIS 2.6", page: "doctor" },
  "insecure registries": { id: "D06", source: "CIS 2.4", page: "doctor" },
  "address pools": { id: "D07", source: "Docker documentation, dockerd", page: "doctor" },
  storage: { id: "D08", source: "Docker documentation, Storage drivers", page: "doctor" },
  cgroups: { id: "D09", source: "cgroups(7)", page: "doctor" },
  "default bridge": { id: "D10", source: "CIS 2.1", page: "doctor" },
  "metrics of the engine": { id: "D11", source: "Docker documentation, Collect metrics", page: "doctor" },
  "seccomp and AppArmor": { id: "D12", source: "CIS 2.20, 5.1", page: "doctor" },
  "daemon.json": { id: "D13", source: "dockerd(8)", page: "doctor" },
  "place of backups": { id: "D14", source: ORCA, page: "repositories" },
  // Containers.
  "memory caps": { id: "C01", source: "CIS 5.11", page: "manifest" },
  "process limits": { id: "C02", source: "CIS, section 5", page: "manifest" },
  "rights of containers": { id: "C03", source: "CIS 5.5, 5.10, 5.16 to 5.18", page: "policy" },
  "engine's socket in containers": { id: "C05", source: "CIS, section 5", page: "policy" },
  "published ports": { id: "C06", source: "CIS 5.14", page: "policy" },
  "telling variables": { id: "C07", source: ORCA, page: "secrets" },
  "images by digest": { id: "C08", source: ORCA, page: "policy" },
  "restart policies": { id: "C09", source: ORCA, page: "rollout" },
  "logs of each container": { id: "C10", source: "Docker documentation, Configure logging drivers", page: "manifest" },
  "other containers": { id: "C11", source: ORCA, page: "doctor" },
  "leftovers of jobs": { id: "C12", source: ORCA, page: "backup" },
  "mounts of containers": { id: "C13", source: "proc(5)", page: "policy" },
  "sum of caps": { id: "M03", source: ORCA, page: "manifest" },
  // The network.
  "filter of published ports": {
    id: "N01",
    source: "Docker documentation, Packet filtering and firewalls",
    page: "doctor",
  },
  "filter of the host": { id: "N02", source: "SSG, Guide to the Secure Configuration of Debian 12", page: "doctor" },
  "cloud metadata": { id: "N03", source: ORCA, page: "doctor" },
  "filter of IPv6": { id: "N04", source: ORCA, page: "doctor" },
  "firewall between realms": { id: "N05", source: ORCA, page: "stage" },
  "firewall of the host": { id: "N07", source: ORCA, page: "firewall" },
  webhook: { id: "N06", source: ORCA, page: "git" },
  ssh: { id: "S01", source: "sshd_config(5), dev-sec/ssh-baseline", page: "doctor" },
  "keys for ssh": { id: "S02", source: ORCA, page: "doctor" },
  fail2ban: { id: "S03", source: "Debian, fail2ban", page: "doctor" },
  // The system.
  "security upgrades": { id: "U01", source: "SSG, Guide to the Secure Configuration of Debian 12", page: "doctor" },
  "upgrades of the engine": { id: "U02", source: "moby/moby#26109", page: "doctor" },
  reboot: { id: "U03", source: "Debian, unattended-upgrades", page: "doctor" },
  forwarding: { id: "K01", source: "Docker documentation; sysctl-01 wants the opposite", page: "doctor" },
  "settings of the network": { id: "K02", source: "sysctl-02, 11, 13 to 17, 20", page: "doctor" },
  "settings of the kernel": { id: "K03", source: "sysctl-30 to 34", page: "doctor" },
  "room for peaks": { id: "M01", source: ORCA, page: "doctor" },
  "killers of memory": { id: "M02", source: "systemd/systemd#19142", page: "doctor" },
  clock: { id: "T01", source: ORCA, page: "secrets" },
  "time zone": { id: "T02", source: ORCA, page: "doctor" },
  journal: { id: "J01", source: "journald.conf(5)", page: "doctor" },
  "audit daemon": { id: "J02", source: "CIS 1.1", page: "doctor" },
  "free space": { id: "F01", source: ORCA, page: "prune" },
  "first boot": { id: "I01", source: "cloud-init documentation, Security", page: "doctor" },
  // The agent.
  "unit of the agent": { id: "A01", source: ORCA, page: "install" },
  "exposure of the agent": { id: "A02", source: "systemd-analyze(1)", page: "install" },
  "directories of Orca": { id: "A04", source: ORCA, page: "install" },
  "dead man": { id: "A05", source: ORCA, page: "config" },
  "recovery points": { id: "B01", source: ORCA, page: "backup" },
  escrow: { id: "B03", source: ORCA, page: "recover" },
  "recipients of backups": { id: "B02", source: "borgbackup/borg#7959", page: "repositories" },
};
