// The recreate group: everything about a container whose change means a new container (contract, section 5).
// Built by desired/, hashed into the label orca.spec, turned into an engine's request by docker/.

/** A volume or bind mount of a container. Exactly one of `name` and `source` is set. */
export interface VolumeMount {
  name?: string;
  /** The volume that the manifest names, where a later generation of it is mounted, or the one that this release has of an ephemeral one. */
  of?: string;
  source?: string;
  target: string;
  readOnly?: boolean;
  /** It begins empty with each release, and goes when no release needs it any more. */
  ephemeral?: true;
}

/** A file that Orca delivers into a container; its content is not part of the spec. */
interface FileMount {
  target: string;
  mode?: string;
  owner?: string;
  /** It has a secret in it, and lies in memory. */
  memory?: true;
  /** The name of its content (`nameContent`), where new content means a new container. The key is part of the hash of such a spec, and stays. */
  hash?: string;
}

/**
 * What a container is made from. Keys that hold their default are left out, so that a default added by a later version
 * changes no hash. Lists whose order means nothing are sorted.
 */
export interface ContainerSpec {
  image: string;
  command?: readonly string[];
  entrypoint?: readonly string[];
  user?: string;
  workingDir?: string;
  stopSignal?: string;
  env?: Readonly<Record<string, string>>;
  /** Variable → the secret's path and keyed version digest; never a value. */
  secretEnv?: Readonly<Record<string, string>>;
  /** File under /run/secrets → the secret's path; with its keyed version digest where another version is another container. */
  secretFiles?: Readonly<Record<string, string>>;
  /** The host's environment file and its keyed version digest. */
  bootstrapFile?: string;
  volumes?: readonly VolumeMount[];
  /** Published ports in Docker's form, each with its address. */
  ports?: readonly string[];
  files?: readonly FileMount[];
  network?: "host" | "none";
  pid?: "host";
  ipc?: "shareable" | "host" | "none";
  shmSizeBytes?: number;
  ulimits?: Readonly<Record<string, { soft: number; hard: number }>>;
  sysctls?: Readonly<Record<string, string>>;
  tmpfs?: readonly string[];
  readOnly?: boolean;
  capAdd?: readonly string[];
  capDrop?: readonly string[];
  devices?: readonly string[];
  privileged?: boolean;
  init?: boolean;
  hostname?: string;
  dns?: readonly string[];
  labels?: Readonly<Record<string, string>>;
  log?: { driver: string; options: Readonly<Record<string, string>> };
  /** The front that owns this container's name and ports. The key is part of the hash of every such spec, and stays as it is. */
  behind?: string;
  /** The names it answers to on the node's network in place of its own. */
  aliases?: readonly string[];
  /** A directory for its control socket, shared with the agent, is mounted here. */
  control?: string;
  /** The ephemeral volumes that a job fills through the services that it requires: for another one it runs again. */
  fills?: readonly string[];
}

/** The names that a container answers to on the node's network; one behind a front has none of its own. */
export function listAliases(service: string, spec: Pick<ContainerSpec, "behind" | "aliases" | "hostname">): string[] {
  if (spec.behind !== undefined) return [];
  if (spec.aliases !== undefined) return [...spec.aliases];
  return spec.hostname === undefined || spec.hostname === service ? [service] : [service, spec.hostname];
}

/** Caps that the engine can change while a container runs. Memory is memory and swap together. */
export interface Caps {
  memoryBytes: number;
  /** Cores × 10⁹; 0 for no cap. */
  nanoCpus: number;
  /** CPU shares; 0 for the engine's default. */
  cpuShares: number;
  pids: number;
}
