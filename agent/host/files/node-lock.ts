// One agent for each node and engine. Used by everything that may change a node's containers.

import { realpathSync } from "node:fs";

import { sha256 } from "../../../shared/state/identity.ts";
import { CommandError, EXIT } from "../../cli/frame/exit-codes.ts";
import { LockHeldError, takeLock } from "./lock.ts";

/** Whose lock to take. */
export interface NodeLockRequest {
  node: string;
  socket: string;
  lockDir: string;
  command: string;
}

/**
 * Takes the lock of a node on an engine; answers a function that lets it go.
 * Throws with exit code 4 and the holder's name when someone else has it.
 */
export function lockNode({ node, socket, lockDir, command }: NodeLockRequest): () => void {
  try {
    return takeLock({
      directory: lockDir,
      name: `${node}-${sha256(resolveSocket(socket)).slice(0, 12)}`,
      what: `node ${node} on the engine ${socket}`,
      holder: { pid: process.pid, command, since: new Date().toISOString() },
    });
  } catch (error) {
    if (error instanceof LockHeldError) throw new CommandError(error.message, EXIT.unreachable);
    throw error;
  }
}

/** `/var/run/docker.sock` and `/run/docker.sock` are one engine. */
function resolveSocket(socket: string): string {
  try {
    return realpathSync(socket);
  } catch {
    return socket;
  }
}
