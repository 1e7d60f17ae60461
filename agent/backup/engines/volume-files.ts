// The volumes of a service as one tar, with numeric owners and extended attributes; read by a container of its own that sees them
// read-only, while the service runs or after it was stopped for it.

import type { BackupFile } from "../core/backup-record.ts";
import type { DumpForm, DumpPart } from "../dump-port.ts";
import { verifyFiles } from "../verify/verify-files.ts";
import { quoteShell, readFileBy } from "./restore-lines.ts";
import { readAll } from "./source-program.ts";
import type { RunHow, StoreEngine, StoreSettings, StoreSource } from "./store-engine.ts";
import { TarFacts } from "./tar-facts.ts";

/** In each header of a tar (POSIX, "ustar Interchange Format"). */
const FORM: DumpForm = {
  heads: [{ at: 257, text: "ustar" }],
  // Two blocks of zeros end it.
  tail: "\0".repeat(256),
  minBytes: 1_024,
  // "Some files differ": a file changed while it was read (GNU tar, "Return Value"). 2 is a failure.
  warnCodes: [1],
};
const VOLUMES: RunHow = { reads: "volumes" };

export const files: StoreEngine = {
  listParts: listVolumes,
  describeRestore: describeFilesRestore,
  planBox: () => ({ entrypoint: ["tail", "-f", "/dev/null"], argv: [], env: {} }),
  verify: verifyFiles,
};

async function listVolumes(source: StoreSource): Promise<DumpPart[]> {
  const { volumes, minBytes } = source.settings;
  if (volumes.length === 0) throw new Error("the service has no [[volumes]]: there is nothing to copy");
  const { text } = await readAll(await source.run(["tar", "--version"], VOLUMES));
  // Of others only some know extended attributes, and none says by its exit code that a file has changed.
  if (!text.includes("GNU tar"))
    throw new Error("the image's tar is not GNU tar: name an image that has it as backups.image, such as debian:12");
  const targets = volumes.map(({ target }) => target.replace(/^\/+/, "")).toSorted();
  return [
    {
      kind: "files",
      content: targets.map((target) => `/${target}`).join(", "),
      label: "",
      ending: ".tar",
      form: { ...FORM, minBytes: Math.max(FORM.minBytes, minBytes ?? 0) },
      begin: async () => {
        const dump = await source.run([...TAR, "--", ...targets], VOLUMES);
        const facts = new TarFacts(dump.output);
        return { ...dump, output: facts.output, measure: async () => facts.read() };
      },
    },
  ];
}

const TAR = ["tar", "--create", "--file=-", "--numeric-owner", "--xattrs", "--directory=/"];

/** Into volumes that are empty, mounted where the service has them. */
function describeFilesRestore({ volumes }: StoreSettings, made: readonly BackupFile[], encrypted: boolean): string[] {
  const mounts = volumes.map(({ name, target }) => `-v ${quoteShell(`${name}:${target}`)}`).join(" ");
  const tar =
    "tar --extract --file=- --numeric-owner --same-owner --same-permissions --xattrs '--xattrs-include=*' --directory=/";
  return made.map(({ file }) => `${readFileBy(file, encrypted)} | docker run --rm -i ${mounts} IMAGE ${tar}`);
}
