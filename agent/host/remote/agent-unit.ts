// The agent's unit, for who has put something in its place: `orca accept-credentials`, `orca recover`.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const UNIT = "orca-agent.service";
const ANSWER_MS = 30_000;

/**
 * Starts the agent, or lets one that runs read the host's files again.
 * @returns what systemd says against it; undefined where it did as it was told
 */
export async function wakeAgent(): Promise<string | undefined> {
  try {
    const { stdout } = await systemctl("show", "--property=ActiveState", "--value", UNIT);
    if (stdout.trim() === "active") await systemctl("reload", UNIT);
    // One that waits for its next try would wait on.
    else await systemctl("--no-block", "restart", UNIT);
    return undefined;
  } catch (error) {
    return describeSystemctl(error);
  }
}

/**
 * Starts the agent anew: it may be another node's from now on.
 * @returns what systemd says against it; undefined where it did as it was told
 */
export async function restartAgent(): Promise<string | undefined> {
  try {
    await systemctl("--no-block", "restart", UNIT);
    return undefined;
  } catch (error) {
    return describeSystemctl(error);
  }
}

function describeSystemctl(error: unknown): string {
  const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === "ENOENT") return "systemctl is not there";
  return (stderr ?? "").trim().split("\n")[0] || message;
}

function systemctl(...words: string[]): Promise<{ stdout: string }> {
  return promisify(execFile)("systemctl", words, { timeout: ANSWER_MS });
}
