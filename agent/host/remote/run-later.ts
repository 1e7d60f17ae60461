// One command of this program that is run later, whatever becomes of the terminal it was asked for on: by a timer of systemd's, or where
// systemd does not run, by a process of its own.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const UNIT = "orca-later";

/** Asks for it. @param words the command's, after `orca` */
export async function runLater(program: string, words: readonly string[], afterMs: number): Promise<void> {
  const argv = [process.execPath, program, ...words];
  if (existsSync("/run/systemd/system")) {
    await cancelLater();
    const when = [`--on-active=${Math.ceil(afterMs / 1_000)}s`, "--timer-property=AccuracySec=100ms", `--unit=${UNIT}`];
    await promisify(execFile)("systemd-run", ["--quiet", "--collect", ...when, "--", ...argv]);
    return;
  }
  const waits = `setTimeout(() => require("node:child_process").spawnSync(process.argv[1], process.argv.slice(2)), ${afterMs})`;
  const child = spawn(process.execPath, ["-e", waits, "--", ...argv], { detached: true, stdio: "ignore" });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.unref();
}

/** Takes it back where systemd keeps it; elsewhere the command finds nothing left to do. */
export async function cancelLater(): Promise<void> {
  if (!existsSync("/run/systemd/system")) return;
  await promisify(execFile)("systemctl", ["stop", `${UNIT}.timer`]).catch(() => undefined);
}

/** Has a unit started at each boot. Throws with systemd's words. */
export async function enableUnit(unit: string): Promise<void> {
  await promisify(execFile)("systemctl", ["enable", "--quiet", unit]);
}
