// A real journald of the test's own, in a mount namespace of its own: what agents print goes where it goes on a host, and is
// read back with journalctl. Needs root and systemd's programs; systemd itself need not run.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const DAEMON = "/lib/systemd/systemd-journald";
/** The machine's own kernel messages are nobody's business here, and nothing may be dropped. */
const CONFIG =
  "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\nRuntimeMaxUse=1G\nRuntimeKeepFree=64M\n";
const SCRIPT = [
  "mkdir -p /run/systemd /run/log",
  "mount -t tmpfs tmpfs /run/systemd",
  "mkdir /run/systemd/journal",
  'mount --bind "$1/log" /run/log',
  'mount --bind "$1/journald.conf" /etc/systemd/journald.conf',
  `exec ${DAEMON}`,
].join(" && ");

/** Where a journal can be written to and read, for a process that did not start it. */
export interface JournalPlace {
  /** Its stream socket, through the daemon's own root. */
  socketPath: string;
  pid: number;
  directory: string;
}

/** A journal in the test's hand. */
export class Journal {
  readonly place: JournalPlace;
  readonly #daemon: ChildProcess;

  private constructor(daemon: ChildProcess, place: JournalPlace) {
    this.#daemon = daemon;
    this.place = place;
  }

  /** Starts a journald that writes below a directory. */
  static async start(directory: string): Promise<Journal> {
    mkdirSync(join(directory, "log", "journal"), { recursive: true });
    writeFileSync(join(directory, "journald.conf"), CONFIG);
    const command = ["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", directory];
    const daemon = spawn("unshare", command, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    daemon.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const pid = daemon.pid ?? 0;
    const socketPath = `/proc/${pid}/root/run/systemd/journal/stdout`;
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if (existsSync(socketPath) && readdirSync(join(directory, "log", "journal")).length > 0)
        return new Journal(daemon, { socketPath, pid, directory });
      if (daemon.exitCode !== null) break;
      await sleep(50);
    }
    daemon.kill("SIGKILL");
    throw new Error(`journald did not start: ${said}`);
  }

  /** Ends it; its files stay. */
  async stop(): Promise<void> {
    if (this.#daemon.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#daemon.once("exit", resolve));
    this.#daemon.kill("SIGTERM");
    await ended;
  }
}

/** A stream into a journal, as systemd gives one to a unit for its stdout (the protocol of sd_journal_stream_fd). */
export function openJournalStream({ socketPath }: JournalPlace, identifier: string): Socket {
  // The journal shuts its own direction at once.
  const stream = connect({ path: socketPath, allowHalfOpen: true });
  // Identifier, unit, priority, and four switches that are off.
  stream.write(`${identifier}\n\n6\n0\n0\n0\n0\n`);
  // A journal that has gone takes nothing any more; who writes goes on.
  stream.resume().on("error", () => undefined);
  return stream;
}

/** Everything in a journal with every field, as journalctl gives it. */
export function readJournal({ directory }: JournalPlace): Buffer {
  const words = ["--directory", findMachine(directory), "--no-pager", "--output", "export", "--quiet"];
  return execFileSync("journalctl", words, { maxBuffer: 2 ** 30 });
}

function findMachine(directory: string): string {
  const root = join(directory, "log", "journal");
  const [machine = ""] = readdirSync(root);
  return join(root, machine);
}
