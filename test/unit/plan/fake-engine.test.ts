// The Docker port's contract on the fake engine, in real time.

import { systemClock } from "../../../agent/host/os/clock.ts";
import { USER_IMAGE } from "../../builders/engine/user-image.ts";
import { describeDockerPort } from "../../contract/docker-port.ts";
import { FakeEngine } from "../../fakes/fake-engine.ts";

describeDockerPort("the fake engine", async () => {
  const engine = new FakeEngine(systemClock);
  engine.images.set("app:1", {});
  engine.images.set(USER_IMAGE.image, { user: USER_IMAGE.user, files: USER_IMAGE.files });
  const pause = async (id: string): Promise<void> => {
    const container = engine.find(id);
    if (container !== undefined) container.status = "paused";
  };
  const removeVolume = async (name: string): Promise<void> => void engine.volumes.delete(name);
  return {
    pause,
    removeVolume,
    reader: engine.reader,
    writer: engine.writer,
    exec: engine.exec,
    image: "app:1",
    userImage: USER_IMAGE,
    close: async () => engine.breakEvents(),
  };
});
