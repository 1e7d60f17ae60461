// Everything of a host that the checks judge, as data: read in one place (agent/cli/doctor/host-view.ts), so that a check is a
// function. No secret value is ever among it.

import type { BaselineFacts } from "./baseline/baseline-facts.ts";
import type { Policy } from "../../shared/policy/policy.ts";
import type { SecretRefusal } from "../../shared/secret/secret-facts.ts";

/** One file on the host, as it lies there. */
export interface FileFact {
  path: string;
  /** What it is, for people: "the client secret of Infisical". */
  role: string;
  /** Undefined where it is not there; `trouble` where it cannot be looked at. */
  found:
    | { uid: number; gid: number; mode: number; kind: "file" | "directory" | "other"; changedMs: number }
    | undefined;
  trouble?: string;
  /** The Git work tree that it lies in. */
  workTree: string | undefined;
  /** True where the configuration promises it; such as a key that is made at the first start is not. */
  required: boolean;
  /** What makes it where it is missing, to be typed as it stands; left out where the agent makes it. */
  make?: string;
  /** What it means that it is not there, where that is no fault. */
  absent?: string;
}

/** A service as its manifest in force says. */
export interface ServiceFact {
  name: string;
  /** Variable → path. */
  secretEnv: Readonly<Record<string, string>>;
  bootstrapFile: string | undefined;
}

/** Where secrets come from, and whether they can be had. */
export interface ProviderFact {
  kind: "none" | "file" | "infisical";
  location: string;
  /** The file may be plain, and is. */
  plainAllowed: boolean;
  isPlain: boolean;
  /** Why it cannot be asked; undefined where it can. */
  trouble: string | undefined;
  /** Its clock less this host's, where it told the time. */
  skewMs: number | undefined;
}

/** The sealed last known values: how many, and when each was last confirmed. */
export interface SealedFact {
  path: string;
  readMs: readonly number[];
  maxStaleMs: number;
  /** Secrets that the provider refused at its last answer, although services of this host were given them. */
  refusals: readonly SecretRefusal[];
}

/** A running agent of this host. */
export interface AgentProcessFact {
  pid: number;
  /** The kernel's words for the soft limit of core files: "0", "unlimited", a number of bytes. */
  coreLimit: string | undefined;
  /** True where its memory is kept out of core files. */
  coreFiltered: boolean | undefined;
  /** The groups that it is in, and whether it may look into every process (CAP_SYS_PTRACE); undefined where that cannot be read. */
  rights: { groups: readonly number[]; maySeeAll: boolean } | undefined;
}

/** One address, a network, or a range with both ends. */
export type AddressRange = string | { addr: string; len: number } | { from: string; to: string };

/** The firewall between realms, and whom it has to know. */
export interface FirewallFact {
  realm: string;
  /** Every node of another realm. */
  others: readonly { node: string; realm: string; address: string }[];
  loaded:
    | { kind: "yes"; others: readonly AddressRange[] }
    | { kind: "no" }
    /** The program that would say it is not installed. */
    | { kind: "no-program" }
    | { kind: "unknown"; trouble: string };
  /** Its file, and whether it is loaded at each boot. */
  file: string;
  atBoot: boolean;
}

/** The firewall of `orca firewall` that a boot loads, and what the fleet in force would make of it now. */
export interface HostFirewallFact {
  node: string;
  /** What `orca firewall confirm` has kept. */
  file: string;
  text: string;
  /** Of the same port of sshd; or what fleet.toml lacks to make one. */
  now: string | { what: string; fix: string };
  sshPort: number;
}

/** Where pushes are waited for, and what the running agent says of them. */
export interface WebhookFact {
  listen: string;
  /** Since the agent was started; undefined where it does not answer. */
  answers: { signed: number; refused: number; polled: number; last: string } | undefined;
}

/** The whole host. */
export interface HostView {
  nowMs: number;
  config: string;
  files: readonly FileFact[];
  /** Undefined where no agent has stored what is in force. */
  services: readonly ServiceFact[] | undefined;
  provider: ProviderFact;
  sealed: SealedFact | undefined;
  policy: { file: FileFact; policy: Policy | undefined; problem: string | undefined };
  bootstrapFiles: readonly FileFact[];
  delivery: { directory: string; inMemory: boolean | undefined; noSwap: boolean };
  corePattern: string | undefined;
  /** What the engine's configuration gives containers as their limit of core files. */
  engineCoreLimit: number | undefined;
  agents: readonly AgentProcessFact[];
  /** How /proc is mounted where it hides the processes of others, and the group that sees them all the same; undefined where it hides none. */
  hiddenProcesses: { option: string; group: number | undefined } | undefined;
  swaps: readonly { name: string; type: string }[];
  clock: { keptBy: string | undefined };
  /** Undefined where agent.toml names no webhook. */
  webhook: WebhookFact | undefined;
  /** Undefined where no agent has stored a fleet with this node in it. */
  firewall: FirewallFact | undefined;
  /** Undefined where nobody has confirmed a firewall of `orca firewall` here, or no agent has stored a fleet with this node in it. */
  hostFirewall: HostFirewallFact | undefined;
  /** The last escrow of this node, without the sealed secrets; undefined where none was made. */
  escrow?: { createdMs: number; files: readonly FileFact[] } | undefined;
  /** The engine, the network, the system and the agent's own unit. */
  baseline: BaselineFacts;
}
