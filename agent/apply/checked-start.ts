// Starts a service's container, whose bind mounts must lead where they were judged to lead. One that shows something else is killed and
// removed at once. Only handlers.ts calls it.

import type { OwnContainerId } from "../../shared/state/identity.ts";
import type { BindSource } from "../../shared/state/step.ts";
import type { DockerReader } from "../docker/reader.ts";
import type { DockerWriter } from "../docker/writer.ts";
import { type BindLook, describeMoved, startAsJudged } from "../host/os/bind-look.ts";

/** What it works with. */
interface Hands {
  reader: DockerReader;
  writer: DockerWriter;
  look: BindLook;
}

/** Starts it; throws where a mount is another than was judged, and then nothing of it runs. */
export async function startChecked(
  id: OwnContainerId,
  binds: readonly BindSource[],
  { reader, writer, look }: Hands,
): Promise<void> {
  const refused = await startAsJudged(
    id,
    { binds, look },
    {
      start: () => writer.startContainer(id),
      findPid: async () => (await reader.inspectContainer(id))?.pid ?? 0,
    },
  );
  if (refused === undefined) return;
  const moved = describeMoved(refused.bind);
  if (refused.found === "before") throw new Error(`start container: ${moved}; it was not started`);
  await writer.removeContainer(id);
  const end =
    refused.found === "while" ? "it was killed while it started, and removed" : "the container was removed at once";
  throw new Error(`start container: ${moved}; ${end}`);
}
