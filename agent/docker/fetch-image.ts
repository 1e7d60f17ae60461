// Images that backups and their proofs take beside those of services: pulled as a service's is, where they are not on this host.

import type { DockerReader } from "./reader.ts";
import type { DockerWriter, RegistryAuth } from "./writer.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What it asks of an engine. */
interface FetchEngine {
  reader: Pick<DockerReader, "findImage">;
  writer: Pick<DockerWriter, "pullImage">;
}

/** A registry that sends nothing for so long does not hold up every backup of the node. */
const PULL_MS = 1_800_000;

/** Builds what brings an image to this host; it answers why it is not there, and never throws. */
export function createImageFetcher(
  { reader, writer }: FetchEngine,
  findAuth: (image: string) => Promise<RegistryAuth | undefined>,
): (image: string, signal: AbortSignal) => Promise<string | undefined> {
  return async (image, signal) => {
    try {
      if ((await reader.findImage(image)) !== undefined) return undefined;
      await writer.pullImage(image, {
        auth: await findAuth(image),
        signal: AbortSignal.any([signal, AbortSignal.timeout(PULL_MS)]),
        onProgress: () => undefined,
      });
      return undefined;
    } catch (error) {
      const why = readMessage(error);
      return `the image ${image} is not on this host, and cannot be pulled: ${why}`;
    }
  };
}
