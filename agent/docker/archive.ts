// One file out of the engine's archive of a container, links followed. Only engine.ts uses it, and loads it when it is asked.

import { posix } from "node:path";

import { extract } from "tar-stream";

import { EngineError } from "./reader.ts";

/** Opens the engine's tar of one path. */
type OpenArchive = (path: string) => Promise<NodeJS.ReadableStream>;

type Entry = { kind: "file"; content: Buffer } | { kind: "link"; target: string } | undefined;

const LARGEST_BYTES = 2 ** 20;
const MOST_LINKS = 8;

/** Reads a file; undefined for anything that is none. */
export async function readArchivedFile(open: OpenArchive, path: string): Promise<Buffer | undefined> {
  let at = path;
  for (let links = 0; links <= MOST_LINKS; links += 1) {
    const entry = await readFirst(await open(at), at);
    if (entry?.kind !== "link") return entry?.content;
    // Above the root there is nothing: normalising keeps it inside.
    at = posix.resolve(posix.dirname(at), entry.target);
  }
  throw new EngineError(`read file in container: ${path} is a chain of more than ${MOST_LINKS} links`, 400);
}

/** The first entry is the path itself; whatever a directory holds is not read. */
function readFirst(archive: NodeJS.ReadableStream, path: string): Promise<Entry> {
  return new Promise((resolve, reject) => {
    const tar = extract();
    const end = (settle: () => void): void => {
      archive.unpipe(tar);
      (archive as unknown as { destroy(): void }).destroy();
      settle();
    };
    const fail = (error: Error): void => end(() => reject(error));
    tar.once("entry", ({ type, linkname, size = 0 }, stream) => {
      if (type === "symlink") return end(() => resolve({ kind: "link", target: linkname ?? "" }));
      if (type !== "file") return end(() => resolve(undefined));
      if (size > LARGEST_BYTES)
        return fail(new EngineError(`read file in container: ${path} has more than ${LARGEST_BYTES} bytes`, 400));
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.once("end", () => end(() => resolve({ kind: "file", content: Buffer.concat(chunks) })));
      stream.once("error", fail);
    });
    tar.once("finish", () => resolve(undefined));
    tar.once("error", fail);
    archive.once("error", fail);
    archive.pipe(tar);
  });
}
