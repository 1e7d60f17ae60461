// One agent for each node and engine. Used by everything that may change a node's containers.

import { realpathSync } from "node:fs";

import { sha256 } from "../../../shared/state/identity.ts";
import { takeLock } from "./lock.ts";

/** Whose lock to take. */
export interface NodeLockRequest {
  node: string;
  socket: string;
  lockDir: string;
  command: string;
}

/**
 * Takes the lock of a node on an engine; answers a function that lets it go.
 * Throws a `LockHeldError` that names the holder when someone else has it.
 */
export function lockNode({ node, socket, lockDir, command }: NodeLockRequest): () => void {
  return takeLock({
    directory: lockDir,
    name: `${node}-${sha256(resolveSocket(socket)).slice(0, 12)}`,
    what: `node ${node} on the engine ${socket}`,
    holder: { pid: process.pid, command, since: new Date().toISOString() },
  });
}

/** `/var/run/docker.sock` and `/run/docker.sock` are one engine. */
function resolveSocket(socket: string): string {
  try {
    return realpathSync(socket);
  } catch {
    return socket;
  }
}
