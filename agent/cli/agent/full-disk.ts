// What a person reads where the agent cannot begin because its disk is full: the path, and what to do. Called by run-to-end.ts alone.

import { statfsSync } from "node:fs";
import { dirname } from "node:path";

import { describeSize } from "../../../shared/text/size.ts";
import { CommandError } from "../frame/exit-codes.ts";

const FULL = /ENOSPC|EDQUOT|no space left on device|disk quota exceeded|database or disk is full/i;

/** The error in words where it, or what caused it, is a full disk; undefined for every other one. */
export function explainFullDisk(error: unknown, stateDir: string): CommandError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (!FULL.test(cause.message) && !FULL.test((cause as NodeJS.ErrnoException).code ?? "")) continue;
    const [first = ""] = (error as Error).message.split("\n", 1);
    return new CommandError(
      `the agent cannot begin, since the disk of its state directory ${stateDir} is full${describeFree(stateDir)}: ${first}. ` +
        "No container was touched. Free some space: sudo du -xh -d2 / | sort -h | tail shows what takes it, " +
        "sudo docker image prune and sudo journalctl --vacuum-size=200M give some back. " +
        "systemd starts the agent again every second; orca up is started again by hand",
    );
  }
  return undefined;
}

/** What is left there, in bytes and in inodes: either can be used up. */
function describeFree(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { bavail, bsize, blocks, ffree, files } = statfsSync(at);
      const inodes = files === 0 ? "" : `, ${ffree} of ${files} inodes`;
      return ` (free: ${describeSize(bavail * bsize)} of ${describeSize(blocks * bsize)}${inodes})`;
    } catch {
      if (at === dirname(at)) return "";
    }
  }
}
