// A backup that a test makes without an engine: one dump of one database, of bytes that the test gives.

import type { DumpPart } from "../../../agent/backup/dump-port.ts";
import type { BackupOrder } from "../../../agent/backup/pipeline.ts";

/** The order of one that is not encrypted. */
export function buildBackupOrder(own: Partial<BackupOrder> = {}): BackupOrder {
  return {
    folder: { node: "vm1", service: "pg", store: "db" },
    engine: "postgres",
    trigger: "schedule",
    image: "sha256:1",
    recipients: [],
    keepUntilMs: undefined,
    describeRestore: () => [],
    ...own,
  };
}

/** A dump that is taken for whole whatever its bytes are, unless a form is given. */
export function playPart(
  output: () => AsyncIterable<Uint8Array>,
  { form, exitCode = 0 }: { form?: DumpPart["form"]; exitCode?: number } = {},
): DumpPart {
  return {
    kind: "database",
    content: "app",
    label: "",
    ending: ".dump",
    form: form ?? { heads: [], tail: "", minBytes: 1, warnCodes: [] },
    begin: () =>
      Promise.resolve({
        output: output(),
        ended: Promise.resolve({ exitCode, stderr: "", outOfMemory: false }),
        cancel: () => Promise.resolve(),
      }),
  };
}

/** What a real dump of PostgreSQL begins with, and a size that none is below. */
export const DUMP_FORM: DumpPart["form"] = {
  heads: [{ at: 0, text: "PGDMP" }],
  tail: "",
  minBytes: 512,
  warnCodes: [],
};
