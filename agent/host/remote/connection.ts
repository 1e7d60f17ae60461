// Through which SSH connection a command was typed: the process of sshd that it descends from. `orca firewall confirm` asks, since only a
// connection that began after the firewall was loaded proves that one can begin.

import { readFileSync } from "node:fs";

/** One connection. */
export interface SshConnection {
  /** The process of sshd that serves it. */
  pid: number;
  /** When that began: clock ticks after the boot. */
  startTicks: number;
}

/** Ticks of the kernel's clock in a second, as proc(5) counts them for every program (USER_HZ). */
const TICKS_PER_S = 100;

/** What /proc/PID/stat says; the name may hold blanks and brackets. */
function readStat(pid: number): { name: string; parent: number; startTicks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const name = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
    return { name, parent: Number(fields[1]), startTicks: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

/** The connection that a process belongs to; undefined on a console, and in what outlives a connection, such as tmux. */
export function findConnection(pid: number = process.pid): SshConnection | undefined {
  let at = pid;
  for (let steps = 0; steps < 64 && at > 1; steps += 1) {
    const stat = readStat(at);
    if (stat === undefined) return undefined;
    // OpenSSH 9.8 calls the process of a session sshd-session.
    if (stat.name.startsWith("sshd")) return { pid: at, startTicks: stat.startTicks };
    at = stat.parent;
  }
  return undefined;
}

/** Clock ticks since the boot, now. */
export function readBootTicks(): number {
  return Math.floor(Number(readFileSync("/proc/uptime", "utf8").split(" ", 1)[0]) * TICKS_PER_S);
}
