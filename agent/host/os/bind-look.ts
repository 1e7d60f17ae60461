// What says where the sources of bind mounts lead on this host, and what a process that begins has mounted; and how a container is started
// that has them: asked just before, watched while the engine mounts them, and compared right after with what the kernel has mounted.
// Kills a process whose mounts are wrong. Held by test/unit/plan/bind-sources.test.ts and test/docker/engine/mount-swap.test.ts.

import type { BindSource } from "../../../shared/state/step.ts";
import { findOtherNames, readRealPath } from "../files/host-facts.ts";
import { findWrongBind } from "./mounts.ts";
import { type OpenWatch, StartWatch } from "./start-watch.ts";

/** What says where a path leads, and what a process has mounted. */
export interface BindLook {
  readRealPath(path: string): Promise<string | undefined>;
  /** How many names a file has that has more than one, and whether everybody may read it and root alone write. */
  findOtherNames(path: string): Promise<{ names: number; isPublic: boolean } | undefined>;
  findWrongBind(pid: number, binds: readonly BindSource[]): Promise<BindSource | undefined>;
  /** Watches a container until it is started, and kills it before its program begins where a mount is wrong. */
  watch(container: string, binds: readonly BindSource[]): OpenWatch;
  /** Kills a process, if it is this container's. */
  kill(container: string, pid: number): void;
}

const WATCH = new StartWatch();

/** The host's own word. */
export const HOST_BINDS: BindLook = {
  readRealPath,
  findOtherNames,
  findWrongBind,
  watch: (container, binds) => WATCH.open(container, binds),
  kill: (container, pid) => void WATCH.kill(container, pid),
};

/** How one container is started, and which process it has then; 0 for none. */
export interface StartHands {
  start: () => Promise<void>;
  findPid: () => Promise<number>;
}

/** A start of which nothing runs: the mount that is wrong, and whether that was found before, on the way or after it. */
export interface RefusedStart {
  bind: BindSource;
  found: "before" | "while" | "after";
}

/**
 * Starts a container; answers why nothing of it runs where a mount leads elsewhere than it was judged to. Whoever called it removes what
 * was started then. Throws what `start` throws.
 */
export async function startAsJudged(
  container: string,
  { binds, look }: { binds: readonly BindSource[]; look: BindLook },
  { start, findPid }: StartHands,
): Promise<RefusedStart | undefined> {
  if (binds.length === 0) {
    await start();
    return undefined;
  }
  const moved = await findMoved(binds, look);
  if (moved !== undefined) return { bind: moved, found: "before" };
  const watch = look.watch(container, binds);
  try {
    await start();
  } catch (error) {
    // What the engine says of one that was killed on the way is no fault of its own.
    if (watch.end() === undefined) throw error;
  }
  const killed = watch.end();
  if (killed !== undefined) return { bind: killed, found: "while" };
  const pid = await findPid();
  const wrong = (await look.findWrongBind(pid, binds)) ?? (await findMoved(binds, look));
  if (wrong === undefined) return undefined;
  // The engine takes its time to remove one.
  look.kill(container, pid);
  return { bind: wrong, found: "after" };
}

/** The first source that leads elsewhere than when it was judged. */
async function findMoved(binds: readonly BindSource[], look: BindLook): Promise<BindSource | undefined> {
  for (const bind of binds) {
    if (((await look.readRealPath(bind.source)) ?? bind.source) !== bind.real) return bind;
    // A hard link in its place leads nowhere else by its path.
    if ((await look.findOtherNames(bind.real))?.isPublic === false) return bind;
  }
  return undefined;
}

/** What is said of one. */
export function describeMoved({ source, target, real }: BindSource): string {
  return `what is mounted at ${target} is not ${real}, which ${source} was when the host's policy was asked`;
}
