// The Docker port's contract on the fake engine, in real time.

import { systemClock } from "../../agent/host/clock.ts";
import { describeDockerPort } from "../contract/docker-port.ts";
import { FakeEngine } from "../fakes/fake-engine.ts";

describeDockerPort("the fake engine", async () => {
  const engine = new FakeEngine(systemClock);
  engine.images.set("app:1", {});
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
    close: async () => engine.breakEvents(),
  };
});
