// Asks a program of the host one thing, for whoever only looks: no shell, no input, a deadline, a limit. Never throws.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const ANSWER_MS = 5_000;
const ANSWER_BYTES = 4 * 1024 ** 2;
/** Where administrators' programs lie, also for who has not got them in PATH. */
const PLACES = "/usr/sbin:/sbin:/usr/bin:/bin";

/** What it said. `absent`: it is not installed. */
export type ProgramAnswer =
  | { kind: "said"; value: string; code: number }
  | { kind: "absent" }
  | { kind: "unseen"; trouble: string };

/** How it is asked. */
export interface AskOptions {
  /** Exit codes that are answers too, besides 0. */
  codes?: readonly number[];
  deadlineMs?: number;
}

/** Runs it to its end. */
export async function askProgram(
  program: string,
  words: readonly string[],
  { codes = [], deadlineMs = ANSWER_MS }: AskOptions = {},
): Promise<ProgramAnswer> {
  const path = process.env["PATH"];
  try {
    const { stdout } = await promisify(execFile)(program, words, {
      timeout: deadlineMs,
      killSignal: "SIGKILL",
      maxBuffer: ANSWER_BYTES,
      env: { LC_ALL: "C", PATH: path === undefined ? PLACES : `${path}:${PLACES}` },
    });
    return { kind: "said", value: stdout, code: 0 };
  } catch (error) {
    const { code, stdout = "", stderr = "", message } = error as ExecError;
    if (code === "ENOENT") return { kind: "absent" };
    if (typeof code === "number" && codes.includes(code)) return { kind: "said", value: stdout, code };
    const [line = ""] = stderr.trim().split("\n");
    return { kind: "unseen", trouble: `${program}: ${line === "" ? message.split("\n", 1)[0] : line}`.slice(0, 200) };
  }
}

interface ExecError {
  code?: string | number;
  stdout?: string;
  stderr?: string;
  message: string;
}
