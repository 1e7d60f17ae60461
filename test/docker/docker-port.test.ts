// The Docker port's contract on the real engine.

import { openEngine } from "../../agent/docker/engine.ts";
import { docker } from "../builders/docker-cli.ts";
import { describeDockerPort } from "../contract/docker-port.ts";

describeDockerPort("the real engine", async () => {
  const engine = openEngine("/var/run/docker.sock");
  const pause = async (id: string): Promise<void> => void (await docker("pause", id));
  const removeVolume = async (name: string): Promise<void> => void (await docker("volume", "rm", name));
  return { ...engine, pause, removeVolume, image: "orca-test/busybox:1", close: async () => engine.close() };
});
