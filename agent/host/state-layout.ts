// Every name below the agent's state directory and below its run directory: who keeps what there, under which name, and what
// `orca up --down` may remove. Whatever else is in these directories is not Orca's.

import { readdirSync } from "node:fs";
import { join } from "node:path";

/** One thing in the state directory. */
interface StateEntry {
  name: string;
  /** What stands beside it under a name that begins with its own, as a regular expression. */
  beside?: string;
  /** An agent that `orca up` runs keeps it too; `orca up --down` removes it. */
  ofUp: boolean;
}

/** A file that is written beside, and then renamed. */
const WRITTEN_BESIDE = String.raw`\.new`;

/** One that a later version wrote is kept beside (newer-document.ts). */
const VERSIONED = String.raw`\.new|\.version-\d+(-\d+)?`;

const STATE = {
  /** What the agent remembers of services, and what is in force: SQLite. A damaged one is moved aside. */
  store: {
    name: "orca.db",
    beside: String.raw`-wal|-shm|-journal|\.damaged-\d+(-wal|-shm)?`,
    ofUp: true,
  },
  /** The files that services get, by service and spec. */
  files: { name: "files", ofUp: true },
  /** The hosts file that every container gets. */
  hosts: { name: "hosts", beside: WRITTEN_BESIDE, ofUp: true },
  /** The control sockets of fronts, one directory each. */
  fronts: { name: "fronts", ofUp: true },
  /** What status shows of the past: actions, rotations, exits. */
  history: { name: "report.json", beside: WRITTEN_BESIDE, ofUp: true },
  /** The audit log, its earlier files by the number of their last line, the head that it ends with, and lines that a crash has torn. */
  audit: { name: "audit.jsonl", beside: String.raw`\.head(\.new)?|\.torn-\d+|\.\d{12}`, ofUp: true },
  /** The key that seals secrets, where the host gives none. */
  hostKey: { name: "host.key", beside: WRITTEN_BESIDE, ofUp: true },
  /** The last known secrets, sealed. */
  sealed: { name: "secrets.sealed", beside: WRITTEN_BESIDE, ofUp: true },
  /** The socket of an agent that `orca up` runs; a host's own is in the run directory. */
  socket: { name: "agent.sock", ofUp: true },
  /** The run directory of an agent that runs without root. */
  run: { name: "run", ofUp: true },
  /** When which backup was made, and how it ended. */
  backupRecord: { name: "backups.json", beside: VERSIONED, ofUp: true },
  /** Which repository has how much of the audit log, and when it was copied last. */
  auditCopies: { name: "audit-copies.json", beside: VERSIONED, ofUp: true },
  /** When was last pruned, and since when which image lies idle. */
  pruneRecord: { name: "prune.json", beside: VERSIONED, ofUp: true },
  /** Restores into place, and how far the one that goes on is. */
  restoreRecord: { name: "restores.json", beside: VERSIONED, ofUp: true },
  restoreProgress: { name: "restore-progress.json", beside: WRITTEN_BESIDE, ofUp: true },
  /** The backups themselves, where no other directory is named: nothing removes them. */
  backups: { name: "backups", ofUp: false },
  /** The node's age identity, which fleet.toml names as backup_key: without it nobody here opens its backups. Nothing removes it. */
  backupKey: { name: "backup.key", beside: WRITTEN_BESIDE, ofUp: false },
  /** Opened backups while they are restored; emptied at each start. */
  backupSpool: { name: "backup-spool", ofUp: true },
  /** How far each log is that is streamed, and what was received of it and is not in every repository yet. */
  walRecord: { name: "wal.json", beside: VERSIONED, ofUp: true },
  walSpool: { name: "wal", ofUp: true },
  /** Which offline bundles were installed, and which image each digest is that came with one. */
  bundles: { name: "bundles.json", beside: VERSIONED, ofUp: false },
  /** Objects of the Git repository, and what was last read of it. */
  git: { name: "git", ofUp: false },
  /** Which commit statuses were told. */
  commitStatus: { name: "commit-status.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** The node's key among its peers, which fleet.toml names: nothing removes it. */
  identity: { name: "identity.key", beside: String.raw`\.new|\.crt(\.new)?`, ofUp: false },
  /** How often the agent was started, for its peers. */
  gossipBoot: { name: "gossip-boot", beside: WRITTEN_BESIDE, ofUp: false },
  /** Which spares stand in whose place, with the recovery key's signature. */
  takeovers: { name: "takeovers.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** Since when this machine has its node's place by a takeover. */
  ownTerm: { name: "own-term.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** When the last escrow of this node was made, and what is in it; no value. */
  escrow: { name: "escrow.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** While a spare gets a lost node's data: which services may start before all is there. */
  recovery: { name: "recovery.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** The last `orca drill isolation`. */
  drill: { name: "drill-isolation.json", beside: WRITTEN_BESIDE, ofUp: false },
  /** The records of drills, a file of JSON and a page for each month. */
  drills: { name: "drills", ofUp: true },
  drillProgress: { name: "drill-progress.json", beside: WRITTEN_BESIDE, ofUp: true },
  /** When the host was looked at last, and which findings are known. */
  doctorRecord: { name: "doctor.json", beside: VERSIONED, ofUp: false },
  /** What the hourly look from outside has told last. */
  deadMan: { name: "dead-man.json", beside: WRITTEN_BESIDE, ofUp: false },
} as const satisfies Record<string, StateEntry>;

/** What the agent keeps in its state directory. */
export type StatePart = keyof typeof STATE;

/** Where a part of the state is. */
export function statePath(stateDir: string, part: StatePart): string {
  return join(stateDir, STATE[part].name);
}

const RUN = {
  /** The agent's unix socket. */
  socket: "agent.sock",
  /** Who runs which node of this host. */
  locks: "locks",
  /** Secrets as containers get them; in memory alone. */
  secrets: "secrets",
  /** Which version the agent asks the updater for. */
  updateRequest: "update-request.json",
  /** Passwords as a dump's program gets them, while it runs; in memory alone. */
  backup: "backup",
} as const;

/** What the agent keeps in its run directory. */
export type RunPart = keyof typeof RUN;

/** Where a part of what a reboot may take is. */
export function runPath(runDir: string, part: RunPart): string {
  return join(runDir, RUN[part]);
}

/** Which part of the state an entry of the state directory belongs to; undefined for what is not Orca's. */
export function findStatePart(entry: string): StatePart | undefined {
  return (Object.keys(STATE) as StatePart[]).find((part) => {
    const { name, beside }: StateEntry = STATE[part];
    const rest = entry.startsWith(name) ? entry.slice(name.length) : undefined;
    return rest === "" || (rest !== undefined && beside !== undefined && new RegExp(`^(?:${beside})$`).test(rest));
  });
}

/** True for an entry of the state directory that an agent which `orca up` ran has left there. */
export function isOfUp(entry: string): boolean {
  const part = findStatePart(entry);
  return part !== undefined && STATE[part].ofUp;
}

/** The entries of both directories that this file does not know; a directory that is not there has none. */
export function listUnknownEntries(stateDir: string, runDir: string): string[] {
  const parts = new Set<string>(Object.values(RUN));
  return [
    ...listEntries(stateDir).filter((entry) => findStatePart(entry) === undefined),
    ...listEntries(runDir).filter((entry) => !parts.has(entry)),
  ];
}

function listEntries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
