// Watches containers while the engine starts them: a container's first process exists, with its mounts in place, some 40 to 200 ms
// before the runtime lets the program begin. One whose mounts lead elsewhere than they were judged to is killed in that time.
// Sees what runs on this host and in this process namespace alone; starts no process. apply/checked-start.ts opens one for each start.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { BindSource } from "../../../shared/state/step.ts";
import { type MountRow, parseMountinfo, readBinds } from "./mounts.ts";

/** One start that is being watched. */
export interface OpenWatch {
  /** Ends it; answers the bind for which the process was killed. */
  end(): BindSource | undefined;
}

/** So often processes are looked for, and so often the mounts of one that has been found. */
const SEEK_EVERY_MS = 4;
const LOOK_EVERY_MS = 2;
/** A start that takes longer is looked at less often: what is between mount and program is longer than that, too. */
const QUICK_MS = 5_000;
const SLOW_EVERY_MS = 20;
/** A process is not in its cgroup at its very first moment, and some runtimes move it there: it is looked at in these rounds of its life. */
const ROUNDS = new Set([1, 2, 4, 8, 16]);
const LAST_ROUND = Math.max(...ROUNDS);
/** When more processes than this are new at one look, or their numbers began anew, the directory is listed. */
const MOST_NEW = 1_024;

interface Watched {
  binds: readonly BindSource[];
  sinceMs: number;
  /** Its processes so far: the runtime forks some times. */
  pids: Set<number>;
  wrong: BindSource | undefined;
}

/** All starts that are under way. */
export class StartWatch {
  readonly #proc: string;
  readonly #kill: (pid: number) => void;
  /** By container id. */
  readonly #open = new Map<string, Watched>();
  /** Processes that belong to none of them yet, and how many rounds each has lived. */
  readonly #young = new Map<number, number>();
  #lastPid = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param proc where the kernel shows processes */
  constructor(proc = "/proc", kill: (pid: number) => void = killProcess) {
    this.#proc = proc;
    this.#kill = kill;
  }

  /** Watches one container's start until its mounts have been seen to be right, or the caller ends it. */
  open(id: string, binds: readonly BindSource[]): OpenWatch {
    const watched: Watched = { binds, sinceMs: performance.now(), pids: new Set(), wrong: undefined };
    if (this.#open.size === 0) this.#lastPid = this.#readLastPid() ?? 0;
    this.#open.set(id, watched);
    this.#schedule();
    return {
      end: () => {
        this.#close(id, watched);
        return watched.wrong;
      },
    };
  }

  /** Kills a process if it is the container's; false where it is not, or may not be killed. */
  kill(id: string, pid: number): boolean {
    if (pid <= 1 || !this.#read(pid, "cgroup").includes(id)) return false;
    try {
      this.#kill(pid);
      return true;
    } catch {
      // It has ended, or this process may not.
      return false;
    }
  }

  #close(id: string, watched: Watched): void {
    if (this.#open.get(id) === watched) this.#open.delete(id);
    if (this.#open.size > 0) return;
    this.#young.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    const newest = Math.max(...[...this.#open.values()].map(({ sinceMs }) => sinceMs));
    const quickMs = this.#isFound() ? LOOK_EVERY_MS : SEEK_EVERY_MS;
    const everyMs = performance.now() - newest < QUICK_MS ? quickMs : SLOW_EVERY_MS;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
      if (this.#open.size > 0) this.#schedule();
    }, everyMs);
    // An agent that ends does not wait for it.
    this.#timer.unref();
  }

  #isFound(): boolean {
    return [...this.#open.values()].some(({ pids }) => pids.size > 0);
  }

  #look(): void {
    this.#noteNew();
    this.#assign();
    if (!this.#isFound()) return;
    const host = this.#readHost();
    for (const [id, watched] of this.#open) {
      for (const pid of watched.pids) {
        const found = this.#judge(pid, watched.binds, host);
        if (found === "early") continue;
        // The kernel hands the table over in pieces, so that one look alone may be of two moments.
        if (found !== "right" && this.#judge(pid, watched.binds, this.#readHost()) !== found) continue;
        if (found !== "right" && this.kill(id, pid)) watched.wrong = found;
        this.#close(id, watched);
        break;
      }
    }
  }

  /** Which processes have begun since the last look. */
  #noteNew(): void {
    const last = this.#readLastPid();
    if (last === undefined) return;
    const count = last - this.#lastPid;
    const isCounted = count >= 0 && count <= MOST_NEW;
    const pids = isCounted ? Array.from({ length: count }, (_, at) => last - at) : this.#listPids();
    for (const pid of pids) this.#young.set(pid, 0);
    this.#lastPid = last;
  }

  /** Finds whose they are: a container's id stands in the path of its cgroup, whatever drives them and whatever lies above. */
  #assign(): void {
    for (const [pid, before] of this.#young) {
      const round = before + 1;
      this.#young.set(pid, round);
      if (!ROUNDS.has(round)) continue;
      const cgroup = this.#read(pid, "cgroup");
      // An engine inside a container has that one's id in its own paths.
      const ids = cgroup.match(/[0-9a-f]{64}/g) ?? [];
      const own = ids.map((id) => this.#open.get(id)).find((watched) => watched !== undefined);
      // Threads have numbers of their own, and the mounts of their process.
      if (own !== undefined && this.#read(pid, "status").includes(`\nTgid:\t${pid}\n`)) own.pids.add(pid);
      if (own !== undefined || cgroup === "" || round === LAST_ROUND) this.#young.delete(pid);
    }
  }

  /** The bind that is wrong; `early` where they are not all there yet, or it has ended. */
  #judge(
    pid: number,
    binds: readonly BindSource[],
    host: readonly MountRow[] | undefined,
  ): BindSource | "right" | "early" {
    const seen = this.#readRows(pid);
    return host === undefined || seen === undefined ? "early" : readBinds(binds, host, seen);
  }

  #readHost(): MountRow[] | undefined {
    return this.#readRows("1") ?? this.#readRows("self");
  }

  #readRows(pid: number | string): MountRow[] | undefined {
    const text = this.#read(pid, "mountinfo");
    return text === "" ? undefined : parseMountinfo(text);
  }

  /** The number that the kernel gave last (proc(5), loadavg). */
  #readLastPid(): number | undefined {
    const last = Number(this.#read("", "loadavg").trim().split(" ").at(-1));
    return Number.isSafeInteger(last) && last > 0 ? last : undefined;
  }

  #listPids(): number[] {
    try {
      return readdirSync(this.#proc)
        .filter((name) => /^\d+$/.test(name))
        .map(Number);
    } catch {
      return [];
    }
  }

  #read(pid: number | string, name: string): string {
    try {
      return readFileSync(join(this.#proc, String(pid), name), "utf8");
    } catch {
      // It has ended, or may not be looked at.
      return "";
    }
  }
}

function killProcess(pid: number): void {
  process.kill(pid, "SIGKILL");
}
