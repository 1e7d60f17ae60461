// Whether what this process prints goes to the journal, which then takes priorities in front of each line. Used by the log and by
// what a command says when it fails.

import { fstatSync } from "node:fs";

/** The two streams of a process that people read. */
type Stream = "stdout" | "stderr";

/**
 * True where systemd has connected a stream with the journal: it names the stream's device and inode in JOURNAL_STREAM
 * (systemd.exec(5)), so that a stream which was redirected since then does not count.
 */
export function isJournal(stream: Stream, named = process.env["JOURNAL_STREAM"]): boolean {
  if (named === undefined || named === "") return false;
  try {
    const { dev, ino } = fstatSync(stream === "stdout" ? 1 : 2, { bigint: true });
    return named === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
