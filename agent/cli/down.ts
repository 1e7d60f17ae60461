// `orca up --down`: removes what `orca up` brought up on this machine, but for volumes.

import { rm } from "node:fs/promises";

import { tearDown } from "../apply/teardown.ts";
import { openEngine } from "../docker/engine.ts";
import { lockNode } from "../node-lock.ts";

/** What to take down. */
export interface DownRequest {
  node: string;
  stateDir: string;
  runDir: string;
  lockDir: string;
  socket: string;
}

/** Takes a node down; answers the exit code. An agent that runs would bring everything up again: it must be ended first. */
export async function takeDown(request: DownRequest): Promise<number> {
  const unlock = lockNode({ ...request, command: "orca up --down" });
  const engine = openEngine(request.socket);
  try {
    const { containers, network } = await tearDown(engine, request.node);
    await rm(request.stateDir, { recursive: true, force: true });
    await rm(request.runDir, { recursive: true, force: true });
    const what = containers.length === 0 ? "nothing was running" : `removed ${containers.length} containers`;
    console.log(`${request.node}: ${what}${network ? " and the network" : ""}; its volumes are kept`);
    return 0;
  } finally {
    engine.close();
    unlock();
  }
}
