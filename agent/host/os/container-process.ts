// Ends a command that runs inside a container, with all that it has started: the engine has no call for that. By the host's own
// /proc, and only what the kernel says belongs to that container. Only docker/ calls it.

import { readdirSync, readFileSync } from "node:fs";

/** Between two looks a command may have started more; nothing that is killed starts anything. */
const MOST_LOOKS = 5;

/**
 * Sends a signal to a command in a container and to everything that it has started.
 * @param pid the command's first process, as the engine names it
 * @returns false where it cannot be reached: it is another host's process, or this agent may not signal it
 */
export function signalInContainer(container: string, pid: number, signal: "SIGHUP" | "SIGKILL"): boolean {
  if (pid <= 1) return false;
  const seen = new Set<number>();
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    const found = listStarted(pid).filter((entry) => !seen.has(entry) && isOf(container, entry));
    if (found.length === 0) return look > 0;
    for (const entry of found) {
      seen.add(entry);
      if (!send(entry, signal)) return false;
    }
  }
  return true;
}

function send(pid: number, signal: "SIGHUP" | "SIGKILL"): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    // It has ended meanwhile.
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** The kernel's groups of a container's processes carry its id in their names, in both versions of them. */
function isOf(container: string, pid: number): boolean {
  return readText(`/proc/${pid}/cgroup`)?.includes(container) === true;
}

/** The process itself, what descends from it, and what is in its session: the engine begins one for each command. */
function listStarted(first: number): number[] {
  const rows = readdirSync("/proc").flatMap((name) => readStat(Number(name)) ?? []);
  const started = new Set([first]);
  for (let before = 0; before < started.size;) {
    before = started.size;
    for (const { pid, parent, session } of rows) if (started.has(parent) || session === first) started.add(pid);
  }
  return rows.filter(({ pid, state }) => started.has(pid) && state !== "Z").map(({ pid }) => pid);
}

interface Row {
  pid: number;
  state: string;
  parent: number;
  session: number;
}

/** One line of proc(5)'s stat: the program's name, in brackets, may hold anything. */
function readStat(pid: number): Row | undefined {
  const text = Number.isInteger(pid) ? readText(`/proc/${pid}/stat`) : undefined;
  if (text === undefined) return undefined;
  const [state = "", parent = "", , session = ""] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { pid, state, parent: Number(parent), session: Number(session) };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
