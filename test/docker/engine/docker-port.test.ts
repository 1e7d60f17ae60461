// The Docker port's contract on the real engine.

import { openEngine } from "../../../agent/docker/engine.ts";
import { docker } from "../../builders/engine/docker-cli.ts";
import { buildUserImage, USER_IMAGE } from "../../builders/engine/user-image.ts";
import { describeDockerPort } from "../../contract/docker-port.ts";

describeDockerPort("the real engine", async () => {
  buildUserImage();
  const engine = openEngine("/var/run/docker.sock");
  const pause = async (id: string): Promise<void> => void (await docker("pause", id));
  const removeVolume = async (name: string): Promise<void> => void (await docker("volume", "rm", name));
  const images = { image: "orca-test/busybox:1", userImage: USER_IMAGE };
  return { ...engine, ...images, pause, removeVolume, close: async () => engine.close() };
});
