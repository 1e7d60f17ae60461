// What should be, as one immutable value: built by desired/ from a snapshot, read by plan/, apply/ and report/.

import type { AlertPlan } from "../fleet/alert-plan.ts";
import type { AgentPin } from "../fleet/agent-version.ts";
import type { BackupNeed, StorePlan } from "./backup.ts";
import type { Caps, ContainerSpec } from "./container-spec.ts";
import type { FileContent } from "./file-content.ts";
import type { Hold } from "./hold.ts";
import type { HealthCheck, Manifest } from "../manifest/manifest.ts";
import type { Problem } from "../text/problem.ts";
import type { Reason } from "./reason.ts";
import type { Requirement, RequirementTarget } from "../manifest/requirement.ts";
import type { SecretRefusal } from "../secret/secret-facts.ts";
import type { BindSource } from "./step.ts";

/** A config file or secret to deliver: the bytes stay beside the plan. */
export interface DesiredFile {
  target: string;
  content: FileContent;
  /** In octal, or PRIVATE_MODE. */
  mode: string;
  /** In numbers, or CONTAINER_USER. */
  owner: string | undefined;
  onChange: "restart" | { signal: string } | { exec: string[] };
}

/** Why Git's word for a service is not in force. */
export interface Objection {
  state: "invalid" | "refused" | "held" | "waiting";
  why: Reason;
  problems: readonly Problem[];
}

/** What a service promises (`[slo]`), as far as it is looked at for the service as a whole; `rpo` is its stores'. */
export interface ServicePromise {
  /** Per cent of rolling 30 days. */
  availability?: number;
  rtoMs?: number;
  /** Changes of it wait while a promise of it is broken. */
  freeze?: true;
}

/** One service of this node, as it should be. */
export interface DesiredService {
  name: string;
  kind: "service" | "job";
  /** Hash over the manifest and its files: another value means the intent changed, and backoff starts anew. */
  fingerprint: string;
  /** The revision whose manifest this is; older than the snapshot's where the service is held at its release. */
  revision: string;
  spec: ContainerSpec;
  specHash: string;
  caps: Caps;
  files: readonly DesiredFile[];
  running: boolean;
  /** When a job runs: a UTC cron, `every …` or `@once`; undefined for a service. */
  schedule: string | undefined;
  health: HealthCheck | undefined;
  restart: Manifest["restart"];
  update: Manifest["update"] & { healthy_within: number };
  requires: readonly Requirement[];
  wants: readonly RequirementTarget[];
  wantsTimeoutMs: number;
  stopTimeoutMs: number;
  /** Set for a start-first service: the front that owns its name and ports. */
  front?: Front;
  /** Where it was before; only for a service that its manifest, or its absence elsewhere, says has moved. */
  movedFrom?: { node: string; service: string };
  /** Set for a front: the service that it belongs to. */
  frontOf?: string;
  owner: string | undefined;
  /** In which time it is promised to be back (`slo.rto`); left out where nothing is promised. */
  rtoMs?: number;
  /** Its manifest says why losing its data is fine. */
  disposable?: true;
  /** Stores that have a verified backup before a new container of it is made; left out where it asks for none. */
  backupFirst?: readonly BackupNeed[];
  /** Its bind mounts as the host's policy judged them; left out where it has none. */
  binds?: readonly BindSource[];
  /** Why no container of it is made any more, where that is so; one that was good before goes on, and is started again. */
  onlyAsItIs?: string;
  /** Why it must not be started now, where that is so; what runs goes on. */
  blocked?: Reason;
  /** What it promises besides `rtoMs`; left out where that is nothing. */
  slo?: Omit<ServicePromise, "rtoMs">;
  /** Parts of the manifest that this version reads but does not act on: what is not done, the same words for all that have them. */
  unused?: readonly string[];
  /** What people should know of it, in plain words; also of each unused part, with its details. */
  notes: readonly string[];
}

/** The front of a start-first service. */
export interface Front {
  /** The ports it takes connections on, which are the container's own. */
  ports: readonly number[];
  /** How long open connections may stay with a container that no longer gets new ones. */
  drainMs: number;
  /** The front itself, which is tended as any service is. */
  service: DesiredService;
}

/** The node's container network. */
interface DesiredNetwork {
  name: string;
  subnet: string | undefined;
  internal: boolean;
}

/** The file system that must be mounted before a service with volumes may start. */
export interface DataMount {
  mount: string;
  uuid: string | undefined;
}

/** A node of the fleet, in any realm, as fleet.toml lists it. */
export interface FleetMember {
  node: string;
  realm: string;
  address: string;
  /** As fleet.toml writes it; undefined for a node without a key. */
  publicKey: string | undefined;
  /** The node whose place this one may take. */
  standbyFor?: string;
}

/** Everything this node should run. */
export interface DesiredState {
  node: string;
  revision: string;
  network: DesiredNetwork;
  dataMount: DataMount | undefined;
  /** Host name → address of every node of the fleet, for the containers' hosts file. */
  hostEntries: Readonly<Record<string, string>>;
  /** Every node of the fleet. */
  fleet: readonly FleetMember[];
  /** Nodes that a service here waits for, and nodes on which one waits for a service here. */
  interests: readonly string[];
  services: ReadonlyMap<string, DesiredService>;
  objections: ReadonlyMap<string, Objection>;
  /** Services that were given newer values and have not settled with them, with the paths of these secrets. */
  rotating: ReadonlyMap<string, readonly string[]>;
  /** What is said of services whose secrets have newer values: whom each waits for, and who keeps the old ones. */
  rotationNotes: ReadonlyMap<string, readonly string[]>;
  /** Service → the secrets that the provider refuses although it was given them; it may run with them still. */
  refusedSecrets: ReadonlyMap<string, readonly SecretRefusal[]>;
  /** What the containers of this node may use together, in bytes; undefined where nothing is enforced. */
  memoryBudgetBytes: number | undefined;
  /** Volumes that Orca has not made and the host's policy lets services use. */
  foreignVolumes?: readonly string[];
  /** Content of delivered files by hash. */
  contents: ReadonlyMap<string, Uint8Array>;
  /** Set where the newest commit says that its changes wait for nobody: its word. */
  emergency?: string;
  /** The version of the agent that this node is to run, where fleet.toml pins one. */
  agentPin?: AgentPin;
  /** Whom fleet.toml tells of trouble; left out where it names nobody. */
  alerts?: AlertPlan;
  /** What is backed up here. */
  backups?: readonly StorePlan[];
  /** What is said of the node as a whole and keeps nothing from running. */
  notes: readonly string[];
  /** Set when the whole input change is held. */
  held: HeldChange | undefined;
}

/** A change that is not in force yet. */
export interface HeldChange {
  revision: string;
  /** All that it waits for; never empty. */
  holds: readonly Hold[];
  /** What it would make of the node; undefined where it cannot be read. */
  desired: DesiredState | undefined;
}
