// The short-lived child behind `orca run-drill`: brings the services of a node up apart from it, with their data from backups. The agent
// starts it and nobody else.

import { sweepSpool } from "../backup/spool.ts";
import { openEngine } from "../docker/engine.ts";
import { createImageIds } from "../host/files/bundle-state.ts";
import { makeDirectory } from "../host/files/make-directory.ts";
import { serveParent } from "../host/os/child-request.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import type { DrillAnswer, DrillRequest } from "./drill-exchange.ts";
import { NodeApart } from "./node-apart.ts";

/** Runs the child and ends the process. A failure is an answer like any other. */
export function runDrillChild(): Promise<never> {
  return serveParent(answerRequest);
}

async function answerRequest(request: DrillRequest): Promise<DrillAnswer> {
  const { node, socket, cgroupParent, bundles, spool } = request;
  const engine = openEngine(socket, cgroupParent, bundles === undefined ? undefined : createImageIds(bundles));
  try {
    await engine.oneShots.sweep(node);
    await sweepSpool(spool);
    if (request.kind === "sweep") return { kind: "swept" };
    await makeDirectory(spool, 0o700);
    const apart = new NodeApart(request, engine);
    return { kind: "drilled", parts: await apart.drill() };
  } catch (error) {
    return { kind: "failed", reason: readMessage(error) };
  } finally {
    engine.close();
  }
}
