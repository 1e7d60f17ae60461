// A base of PostgreSQL: all files of the cluster by `pg_basebackup`, without the log, which is streamed beside it (agent/backup/wal/). What
// the base needs of the log is asked of the server before and after. Run by the child as a dump is.

import type { DumpForm, DumpPart, RunningDump } from "../dump-port.ts";
import { formatPosition } from "../wal/core/wal-position.ts";
import type { WalLook } from "../wal/core/wal-look.ts";
import { lookAtServer, runClient } from "../wal/wal-server.ts";
import { readFileBy } from "./restore-lines.ts";
import type { StoreEngine, StoreSource } from "./store-engine.ts";

/** gzip's own first bytes (RFC 1952). */
const ARCHIVE: DumpForm = {
  heads: [{ at: 0, text: "\u001F\u008B" }],
  tail: "",
  minBytes: 64 * 1024,
  warnCodes: [],
};

export const postgresBase: StoreEngine = {
  listParts: async (source) => {
    const before = await lookAtServer(source, "");
    return [
      {
        kind: "base",
        content: "base",
        label: "",
        ending: ".tar.gz",
        form: ARCHIVE,
        begin: () => beginBase(source, before),
      } satisfies DumpPart,
    ];
  },
  describeRestore: (_settings, files, encrypted) => [
    ...files.map(({ file }) => `${readFileBy(file, encrypted)} | tar -xzpf - -C DATA_DIRECTORY`),
    "the log since lies beside the folder of the base: zstd -d and age -d make its segments",
  ],
  unproven: () => "a base is proved with the log that it needs",
  planBox: () => ({ argv: [], env: {} }),
  verify: () => Promise.resolve({ verdict: "unknown", detail: "a base is proved with the log that it needs" }),
};

/** No more is written to the server's disk at once than a checkpoint would; it waits for none of its own. */
async function beginBase(source: StoreSource, before: WalLook): Promise<RunningDump> {
  const dump = await runClient(source, [
    "pg_basebackup",
    "--format=tar",
    "--pgdata=-",
    "--wal-method=none",
    "--checkpoint=fast",
    "--compress=3",
    "--label=orca",
  ]);
  return {
    ...dump,
    measure: async () => {
      const after = await lookAtServer(source, "");
      const { systemId, timeline, segmentBytes } = after;
      const [start, stop] = [formatPosition(before.flushed), formatPosition(after.flushed)];
      return { wal: { systemId, timeline, segmentBytes, start, stop } };
    },
  };
}
