// A base of PostgreSQL on its way into a server that replays the log: unpacked, and packed again as the engine takes it, piece by piece.
// Used by restore-base.ts for a restore and by verify-base.ts for a proof.

import { createReadStream } from "node:fs";
import { posix } from "node:path";
import { createGunzip } from "node:zlib";

import { extract, type Headers, pack } from "tar-stream";

const DIRECTORY_MODE = 0o700;
const SIGNAL_MODE = 0o600;
const OPEN_MODE = 0o644;

/**
 * A base's files where the server looks for them, and the word that it is to replay the log (PostgreSQL, "recovery.signal").
 * @param inside the server's data directory, below the one that the archive is put into
 * @param beside files of other names there, which the server may read
 */
export async function* repackBase(
  path: string,
  inside: string,
  beside: Readonly<Record<string, string>> = {},
): AsyncIterable<Uint8Array> {
  const [from, to] = [extract(), pack()];
  const place = (name: string): string => posix.join(inside, name.replace(/^\.\//, ""));
  const fail = (error: Error): void => {
    to.destroy(error);
  };
  let isFirst = true;
  from.on("entry", ({ name, uid = 0, gid = 0, mode, size, mtime, type, linkname }, content, next) => {
    const own = { uid, gid };
    if (isFirst) {
      to.entry({ ...own, name: `${place("./")}/`, type: "directory", mode: DIRECTORY_MODE });
      to.entry({ ...own, name: place("recovery.signal"), mode: SIGNAL_MODE }, "");
      for (const [file, text] of Object.entries(beside)) to.entry({ ...own, name: file, mode: OPEN_MODE }, text);
    }
    isFirst = false;
    const header = { ...own, name: place(name), mode, size, mtime, type, linkname } as Headers;
    content.on("error", fail).pipe(to.entry(header, next));
  });
  from.on("finish", () => to.finalize()).on("error", fail);
  const file = createReadStream(path).on("error", fail);
  file.pipe(createGunzip().on("error", fail)).pipe(from);
  try {
    yield* to as AsyncIterable<Uint8Array>;
  } finally {
    file.destroy();
  }
}
