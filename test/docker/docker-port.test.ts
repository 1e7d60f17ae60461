// The Docker port's contract on the real engine.

import { openEngine } from "../../agent/docker/engine.ts";
import { describeDockerPort } from "../contract/docker-port.ts";

describeDockerPort("the real engine", async () => {
  const engine = openEngine("/var/run/docker.sock");
  return { ...engine, image: "orca-test/busybox:1", close: async () => engine.close() };
});
