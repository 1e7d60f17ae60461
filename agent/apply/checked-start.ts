// Starts a container whose bind mounts must lead where they were judged to lead: asked just before, and compared right after
// with what the kernel has mounted. One that shows something else is removed at once. Only handlers.ts calls it.

import type { OwnContainerId } from "../../shared/state/identity.ts";
import type { BindSource } from "../../shared/state/step.ts";
import type { DockerReader } from "../docker/reader.ts";
import type { DockerWriter } from "../docker/writer.ts";
import { readRealPath } from "../host/files/host-facts.ts";
import { findWrongBind } from "../host/os/mounts.ts";

/** What says where a path leads, and what a process has mounted. */
export interface BindLook {
  readRealPath(path: string): Promise<string | undefined>;
  findWrongBind(pid: number, binds: readonly BindSource[]): Promise<BindSource | undefined>;
}

/** The host's own word. */
export const HOST_BINDS: BindLook = { readRealPath, findWrongBind };

/** Starts it; throws where a mount is another than was judged, and then nothing of it runs. */
export async function startChecked(
  id: OwnContainerId,
  binds: readonly BindSource[],
  { reader, writer, look }: { reader: DockerReader; writer: DockerWriter; look: BindLook },
): Promise<void> {
  const before = await findMoved(binds, look);
  if (before !== undefined) throw new Error(`start container: ${describeMoved(before)}; it was not started`);
  await writer.startContainer(id);
  if (binds.length === 0) return;
  const detail = await reader.inspectContainer(id);
  const wrong = (await look.findWrongBind(detail?.pid ?? 0, binds)) ?? (await findMoved(binds, look));
  if (wrong === undefined) return;
  await writer.removeContainer(id);
  throw new Error(`start container: ${describeMoved(wrong)}; the container was removed at once`);
}

/** The first source that leads elsewhere than when it was judged. */
async function findMoved(binds: readonly BindSource[], look: BindLook): Promise<BindSource | undefined> {
  for (const bind of binds) if (((await look.readRealPath(bind.source)) ?? bind.source) !== bind.real) return bind;
  return undefined;
}

function describeMoved({ source, target, real }: BindSource): string {
  return `what is mounted at ${target} is not ${real}, which ${source} was when the host's policy was asked`;
}
