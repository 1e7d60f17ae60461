// The fake fronts pass the contract suite that the real ones pass in the docker lane.

import { systemClock } from "../../../agent/host/os/clock.ts";
import { describeFrontPort } from "../../contract/front-port.ts";
import { FakeFronts, FakeFrontWorld } from "../../fakes/fake-fronts.ts";

describeFrontPort("fake", async () => {
  const front = "app.front";
  let run = 1;
  const world = new FakeFrontWorld((name) => (name === front ? `${run}` : undefined));
  return {
    port: new FakeFronts(world, systemClock),
    front,
    ports: [80],
    first: "172.30.0.2",
    second: "172.30.0.3",
    open: async () => {
      const address = world.serving(front) ?? "";
      world.connections.set(address, (world.connections.get(address) ?? 0) + 1);
      return async () => void world.connections.delete(address);
    },
    ask: async () => world.serving(front),
    restart: async () => void (run += 1),
    forget: () => new FakeFronts(world, systemClock),
  };
});
