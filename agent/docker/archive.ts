// The engine's archives of a container: one file out of it, links followed; whose a directory is; and a stream of bytes into it. Only
// engine.ts and restores.ts use it.

import { posix } from "node:path";
import { Readable } from "node:stream";

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

/** Whose the path of an archive is: the first entry is the path itself. */
export function readOwner(archive: NodeJS.ReadableStream): Promise<{ uid: number; gid: number }> {
  return new Promise((resolve, reject) => {
    const tar = extract();
    const end = (settle: () => void): void => {
      archive.unpipe(tar);
      (archive as unknown as { destroy(): void }).destroy();
      settle();
    };
    tar.once("entry", ({ uid = 0, gid = 0 }) => end(() => resolve({ uid, gid })));
    tar.once("finish", () => reject(new EngineError("read owner in container: nothing is there", 404)));
    tar.once("error", (error) => end(() => reject(error)));
    archive.once("error", reject);
    archive.pipe(tar);
  });
}

/** The bytes of a file's archive, however many; one that is no file has none. */
export async function* openArchivedFile(archive: NodeJS.ReadableStream): AsyncIterable<Uint8Array> {
  const tar = extract();
  const content = await new Promise<AsyncIterable<Uint8Array> | undefined>((resolve, reject) => {
    // The first entry is the path itself, and a file's archive has no other.
    tar.once("entry", (_header, entry) => resolve(entry));
    tar.once("finish", () => resolve(undefined));
    tar.once("error", reject);
    archive.once("error", (error: Error) => tar.destroy(error));
    archive.pipe(tar);
  });
  try {
    if (content !== undefined) yield* content;
  } finally {
    archive.unpipe(tar);
    (archive as unknown as { destroy(): void }).destroy();
  }
}

/** Sends an archive to its end. What cannot be read is an error, and not an archive that ends early. */
export async function pourArchive(
  archive: AsyncIterable<Uint8Array>,
  send: (stream: Readable) => Promise<unknown>,
): Promise<void> {
  const stream = Readable.from(archive, { objectMode: false });
  const broken = new Promise<never>((_resolve, reject) => stream.once("error", reject));
  try {
    await Promise.race([send(stream), broken]);
  } finally {
    stream.destroy();
  }
}
