// What of a host the baseline's checks judge, as data: the engine and its containers, the network's filters, ssh, upgrades, the kernel,
// memory, disks, the agent's unit, backups. Read in agent/cli/doctor/baseline/. No value of a variable or a secret is ever among it.

/** What a program of the host said. `absent`: it is not installed. `unseen`: it could not be asked, such as without the right to. */
export type Said<T> = { kind: "said"; value: T } | { kind: "absent" } | { kind: "unseen"; trouble: string };

/** The engine, as `GET /info` says. */
export interface EngineFact {
  logDriver: string;
  liveRestore: boolean;
  storageDriver: string;
  cgroupVersion: string;
  securityOptions: readonly string[];
  insecureRegistries: readonly string[];
  rootDir: string;
  inSwarm: boolean;
}

/** One container, whoever made it. */
export interface ContainerFact {
  name: string;
  /** The service of this node that it is; undefined where Orca has not made it. */
  service: string | undefined;
  /** The job that it belongs to: a dump, a restore. */
  job: string | undefined;
  createdMs: number;
  running: boolean;
  /** 0 where there is none. */
  memoryBytes: number;
  /** Memory and swap together, as Docker counts; -1 without a limit. */
  memorySwapBytes: number;
  /** 0 and less: none. */
  pidsLimit: number;
  privileged: boolean;
  /** The host's namespaces that it shares: "network", "pid", "ipc". */
  hostNamespaces: readonly string[];
  devices: readonly string[];
  /** What of the host is mounted into it. */
  sources: readonly string[];
  published: readonly { address: string; port: number }[];
  /** Names of its variables that hold something. */
  variables: readonly string[];
  restartPolicy: string;
  logDriver: string;
  logCapped: boolean;
  image: string;
}

/** /etc/docker/daemon.json together with the arguments of dockerd, which say the same in other words. */
export interface EngineFileFact {
  path: string;
  /** Why it cannot be read; undefined where it can, or is not there. */
  trouble: string | undefined;
  options: Readonly<Record<string, unknown>>;
  /** Where the engine listens besides its own socket. */
  hosts: readonly string[];
  tlsVerify: boolean;
  socket: { path: string; mode: number; group: string | undefined } | undefined;
}

/** What lets packets in. */
export interface FilterFact {
  /** The rules of Docker's chain for published ports, as `iptables -S DOCKER-USER` prints them. */
  published: Said<readonly string[]>;
  /** True where the firewall of `orca firewall` is loaded: it judges published ports before Docker's rules. */
  hasHostTable: boolean;
  /** True where what no rule lets in is dropped, by iptables or nftables. */
  denies4: Said<boolean>;
  denies6: Said<boolean>;
  /** True where this host has an address of IPv6 that the internet may reach. */
  hasGlobal6: boolean;
  /** True where a rule names the address of cloud metadata. */
  namesMetadata: Said<boolean>;
}

/** How upgrades come. */
export interface UpgradeFact {
  /** Undefined where this host has no apt. */
  apt:
    | { automatic: boolean; security: boolean; kept: readonly string[]; lastMs: number | undefined; hasTimer: boolean }
    | undefined;
  /** Since when the host waits for a reboot. */
  rebootSinceMs: number | undefined;
}

/** The agent's unit, as `systemctl show` says. */
export interface UnitFact {
  properties: Said<Readonly<Record<string, string>>>;
  /** `systemd-analyze security`: 0 is locked away, 10 is open. */
  exposure: Said<number>;
  /** True where orca-dead-man.timer waits for its hour. */
  deadMan: Said<boolean>;
}

/** One directory or file with the mode that it should have at most. */
export interface DirectoryFact {
  path: string;
  mode: number;
  uid: number;
  /** The widest mode that it may have. */
  most: number;
}

/** What is left on a file system. */
export interface DiskFact {
  path: string;
  freeShare: number;
  inodesFreeShare: number;
}

/** Everything. */
export interface BaselineFacts {
  engine: Said<EngineFact>;
  containers: readonly ContainerFact[];
  engineFile: EngineFileFact;
  /** Undefined where nothing on this host is published by an agent's manifest: then nothing is asked of it. */
  filter: FilterFact;
  /** The settings in force, as `sshd -T` prints them, lower-case. */
  sshd: Said<Readonly<Record<string, string>>>;
  /** Files of keys that let somebody in, who may become root. */
  sshKeyFiles: readonly string[];
  fail2ban: boolean;
  upgrades: UpgradeFact;
  /** Name → value, as under /proc/sys; what the kernel does not have is left out. */
  sysctls: Readonly<Record<string, string>>;
  memory: { totalBytes: number; hasSwap: boolean; killers: readonly string[] };
  zone: string | undefined;
  journal: { persistent: boolean; maxUse: string | undefined };
  auditing: boolean;
  disks: readonly DiskFact[];
  /** Whether backups lie on the same file system as the engine's data. */
  backupsApart: boolean | undefined;
  unit: UnitFact;
  directories: readonly DirectoryFact[];
  /** Recovery points that are not held, in words; undefined where the agent does not answer. */
  brokenPoints: readonly string[] | undefined;
  /** Repositories of fleet.toml that services of this host use, with how many can open what lies there. */
  repositories: readonly { name: string; recipients: number }[];
  /** Since when the value that is in use is known here, of each secret. */
  secretAges: readonly { path: string; sinceMs: number }[];
  /** Undefined where this is no machine of a cloud. */
  cloud: { errors: readonly string[]; tellingKeys: readonly string[] } | undefined;
}
