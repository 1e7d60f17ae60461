// `orca up --down`: removes what `orca up` brought up on this machine, but for volumes.

import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";

import { tearDown } from "../../apply/teardown.ts";
import { openEngine } from "../../docker/engine.ts";
import { chooseSecretDirectory } from "../../host/os/memory-directory.ts";
import { isOfUp } from "../../host/state-layout.ts";
import { lockNode } from "../../host/files/node-lock.ts";
import { printText } from "../frame/terminal.ts";
import { wordRefusal } from "./run-to-end.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** What to take down. */
export interface DownRequest {
  node: string;
  stateDir: string;
  runDir: string;
  lockDir: string;
  socket: string;
}

async function removeState({ stateDir, runDir }: DownRequest): Promise<void> {
  for (const entry of await readdir(stateDir).catch(() => [])) {
    if (isOfUp(entry)) await rm(join(stateDir, entry), { recursive: true, force: true });
  }
  // Only what is empty by now.
  await rmdir(stateDir).catch(() => undefined);
  await rm(chooseSecretDirectory(runDir), { recursive: true, force: true });
  await rm(runDir, { recursive: true, force: true });
}

/** Takes a node down; answers the exit code. An agent that runs would bring everything up again: it must be ended first. */
export async function takeDown(request: DownRequest): Promise<number> {
  const unlock = holdNode(request);
  const engine = openEngine(request.socket);
  try {
    const { containers, network } = await tearDown(engine, request.node);
    await removeState(request);
    const what =
      containers.length === 0 ? "nothing was running" : `removed ${describeCount(containers.length, "container")}`;
    printText(`${request.node}: ${what}${network ? " and the network" : ""}; its volumes are kept`);
    return 0;
  } finally {
    engine.close();
    unlock();
  }
}

function holdNode(request: DownRequest): () => void {
  try {
    return lockNode({ ...request, command: "orca up --down" });
  } catch (error) {
    throw wordRefusal(error);
  }
}
