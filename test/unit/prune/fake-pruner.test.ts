// The fake engine of the prune does what the real one does.

import { claimContainer, LABEL } from "../../../shared/state/identity.ts";
import type { PruneContainer } from "../../../shared/state/prune.ts";
import { describePruner } from "../../contract/pruner.ts";
import { FakePruner } from "../../fakes/fake-pruner.ts";

function build(id: string, imageId: string, status: "running" | "exited"): PruneContainer {
  const own = claimContainer(id, { [LABEL.node]: "n", [LABEL.service]: "app" }, "n");
  if (own === undefined) throw new Error("it is own");
  return {
    id,
    name: id,
    imageId,
    status,
    owner: { kind: "own", id: own, service: "app", specHash: "v1:a" },
    stoppedMs: status === "exited" ? 0 : undefined,
    hasUnnamedData: false,
    pinned: false,
  };
}

const pruner = new FakePruner();
pruner.images = ["idle", "held"].map((id) => ({ id, tags: [`${id}:1`], digests: [], freesBytes: 1, pinned: false }));
pruner.containers = [build("running", "held", "running"), build("stopped", "held", "exited")];
describePruner("the fake", () => ({
  pruner,
  node: "n",
  idleImage: "idle",
  heldImage: "held",
  running: "running",
  stopped: "stopped",
}));
