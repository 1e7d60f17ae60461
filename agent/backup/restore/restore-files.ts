// Volumes restored into place from a tar: the engine writes it into new volumes with its owners, modes and attributes, so that the image
// needs no tar. Nothing of the service is run. What came out is counted on the way, and a few files are read back.

import { createHash } from "node:crypto";

import { describeCount } from "../../../shared/text/count.ts";
import type { BackupFile } from "../core/backup-record.ts";
import { TarFacts } from "../engines/tar-facts.ts";
import { type FillWork, nameRestore, readTelling } from "./fill-work.ts";

/** Fills volumes from a tar; answers what is in them. Throws where they cannot be used. */
export async function fillFiles(work: FillWork): Promise<string> {
  const { request, restores, shape, files } = work;
  const [file] = files;
  if (file === undefined) throw new Error("the backup holds nothing");
  const facts = new TarFacts(readTelling(work, file));
  await restores.unpack({
    job: nameRestore(request),
    node: request.folder.node,
    image: shape.image,
    volumes: request.volumes,
    archive: facts.output,
    look: (digest) => compareSamples(file, digest),
  });
  const { entries } = facts.read();
  const had = file.facts?.entries;
  if (had !== undefined && entries !== undefined && entries !== had)
    throw new Error(`${describeCount(entries, "entry", "entries")} came out of it, and ${had} were read`);
  const said = entries === undefined ? "" : `${describeCount(entries, "entry", "entries")}, `;
  return `unpacked ${said}compared ${describeCount(file.facts?.samples?.length ?? 0, "file")}`;
}

/** What the volumes have is what was read from the old ones. */
async function compareSamples(
  { facts }: BackupFile,
  read: (path: string) => Promise<AsyncIterable<Uint8Array>>,
): Promise<void> {
  for (const { path, sha256 } of facts?.samples ?? []) {
    const hash = createHash("sha256");
    for await (const chunk of await read(`/${path}`)) hash.update(chunk);
    if (hash.digest("hex") !== sha256) throw new Error(`${path} came out as another one than was read`);
  }
}
