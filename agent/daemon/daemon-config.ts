// What a running agent is told, whether by a config file or by the command line. Types only.

import type { AgentEvent } from "../../shared/state/event.ts";
import type { DesiredSettings } from "../desired/build/desired-settings.ts";
import type { NatsSettings } from "../gossip/nats/nats-settings.ts";
import type { PeerHealth } from "../plan/world.ts";
import type { CommitStatusSettings } from "../report/notify/commit-status.ts";
import type { SecretsConfig } from "../secrets/open-secrets.ts";
import type { ReadKeys } from "../../shared/config/trusted-key.ts";
import type { GitLocation } from "../sources/git/poll/git-exchange.ts";

/** Which branch of which repository a node follows. */
interface GitSettings {
  location: GitLocation;
  path: string;
  pollMs: number;
  fetchMs: number;
  limitBytes: number;
  /** The forge's API, where it cannot be derived from the repository's URL. */
  apiUrl: string | undefined;
  readKeys: ReadKeys;
}

/** Where pushes are received, and where their secret is. */
export interface WebhookSettings {
  listen: string;
  secretFile: string;
}

/** Where peers reach this node, and where its key is. */
interface GossipSettings {
  /** Undefined where it travels through NATS. */
  listen: string | undefined;
  identityFile: string;
  nats: NatsSettings | undefined;
}

/** Everything a running agent is told. */
export interface DaemonConfig {
  node: string;
  /** How the lock's holder is named. */
  command: string;
  source: { kind: "directory"; dir: string } | { kind: "git"; git: GitSettings };
  /** Where commit statuses go; undefined for nowhere. */
  commitStatus: CommitStatusSettings | undefined;
  /** Where pushes are received. */
  webhook: WebhookSettings | undefined;
  /** The file all this comes from, and how it is read again; undefined for a command line. */
  file: { path: string; read: () => Promise<DaemonConfig> } | undefined;
  stateDir: string;
  /** A directory in memory for delivered secrets. */
  runDir: string;
  lockDir: string;
  docker: {
    socket: string;
    authFile: string | undefined;
    frontImage: string;
    /** The slice that containers go into; undefined for the engine's own place. */
    cgroupParent: string | undefined;
  };
  /** Loopback addresses where status is served. */
  listen: readonly string[];
  socketPath: string;
  /** The directory of the backup repository `local`. */
  backupDir: string;
  policyFile: string | undefined;
  standInFile: string | undefined;
  /** Where ports are published; undefined for the node's own address. */
  address: string | undefined;
  ports: DesiredSettings["ports"];
  budget: DesiredSettings["budget"];
  secrets: SecretsConfig;
  hostNotes: DesiredSettings["hostNotes"];
  /** What is taken for known of other nodes where there is no gossip. */
  peers: PeerHealth;
  gossip: GossipSettings | undefined;
  /** True where agent.toml says where packages of the agent are. */
  hasUpdates: boolean;
  alerts: { webhookFile: string; min: "info" | "warning" | "critical"; repeatMs: number } | undefined;
  /** Lines for a person, or a log for a journal. */
  output:
    | { kind: "progress"; watch(listTroubles: () => readonly string[]): (event: AgentEvent) => void }
    | { kind: "log"; level: string; format: "text" | "json" | undefined };
  /** Ends when everything has settled. */
  once: { timeoutMs: number } | undefined;
}
