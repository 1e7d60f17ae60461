// Any program whose standard output is the backup: from the service's image beside it, with its volumes, files and network, or in its own
// container. What it writes only its maker knows: nothing but its size can be asked of it.

import type { BackupFile } from "../core/backup-record.ts";
import type { DumpPart } from "../dump-port.ts";
import { quoteShell, readFileBy } from "./restore-lines.ts";
import type { StoreEngine, StoreSettings, StoreSource } from "./store-engine.ts";

export const command: StoreEngine = {
  listParts: async (source) => [planCommand(source)],
  describeRestore: describeCommandRestore,
  unproven: ({ command: argv = [] }) =>
    `its bytes are what was written; whether a store can be made of them nobody but ${argv[0]} knows`,
  planBox: () => ({ argv: [], env: {} }),
  verify: () => Promise.resolve({ verdict: "unknown", detail: "a command's backup has no restore of its own" }),
};

function planCommand(source: StoreSource): DumpPart {
  const { command: argv = [], exec, minBytes } = source.settings;
  return {
    kind: "stream",
    content: argv[0] ?? "",
    label: "",
    ending: ".dump",
    form: { heads: [], tail: "", minBytes: Math.max(1, minBytes ?? 0), warnCodes: [] },
    begin: () => source.run(argv, exec ? { inside: true } : { reads: "volumes" }),
  };
}

function describeCommandRestore(
  { command: argv = [] }: StoreSettings,
  files: readonly BackupFile[],
  encrypted: boolean,
): string[] {
  const made = argv.map(quoteShell).join(" ");
  return files.map(({ file }) => `${readFileBy(file, encrypted)} | …   # into the counterpart of: ${made}`);
}
