// What images keep in VOLUMEs of their own, as far as this host has them: for lint. Nothing is pulled, and where there is no engine,
// or it does not answer soon, nothing is known.

import { openEngine } from "../../docker/engine.ts";

/** A local engine answers in milliseconds; lint does not wait for one that hangs. */
const ANSWER_MS = 2_000;

/**
 * Looks images up at an engine.
 * @param socket the engine's socket
 * @returns the paths of each image that is there, by its reference
 */
export async function readImageVolumes(
  socket: string,
  images: ReadonlySet<string>,
): Promise<Map<string, readonly string[]>> {
  const known = new Map<string, readonly string[]>();
  const engine = openEngine(socket);
  const look = async (image: string): Promise<void> => {
    const paths = await engine.reader.listImageVolumes(image).catch(() => undefined);
    if (paths !== undefined) known.set(image, paths);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ANSWER_MS)));
  await Promise.race([Promise.all([...images].map(look)), late]);
  clearTimeout(timer);
  engine.close();
  return known;
}
