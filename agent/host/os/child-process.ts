// Runs a heavy part of the program as a short-lived process of its own, so that its memory is the system's again when it
// ends. A request on stdin, an answer on stdout; whatever takes too long, answers too much or takes too much memory is
// killed. The child ends when its stdin does, so that it does not outlive the agent.

import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { constants, setPriority } from "node:os";

import { type ChildSlots, HOST_SLOTS } from "./child-slots.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** One run of a child. */
export interface ChildRun {
  /** The program that is run: the agent's own entry. */
  program: string;
  command: string;
  /** One line. It travels through a pipe that only the child holds; never in argv or the environment. */
  request: string;
  deadlineMs: number;
  answerLimitBytes: number;
  memoryLimitBytes: number;
  signal: AbortSignal;
  /** Services wait for it, and it computes for less than a second: it competes as the agent does, and not behind all that the host runs. */
  isAwaited?: boolean;
}

/** How it went. */
export type ChildEnd =
  | { kind: "answered"; answer: Buffer }
  /** `tooLarge`: it was killed for what it took, and would be again. */
  | { kind: "failed"; reason: string; tooLarge: boolean };

/** Enough for git objects of the largest pack that is taken; V8 collects sooner and gives back more. */
const FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=192"];
/** How often a child's memory is looked at. */
const LOOK_EVERY_MS = 100;
const STDERR_BYTES = 4096;
/** One that was killed ends at once, but where the kernel waits for a disk that hangs, or somebody else holds its pipes. */
const KILLED_MS = 5_000;

/** Runs a child, when there is a place for it; never throws, and always ends. Its deadline begins with it. */
export async function runChild(run: ChildRun, slots: ChildSlots = HOST_SLOTS): Promise<ChildEnd> {
  const giveBack = await slots.take(run.signal);
  try {
    // The agent's own flags are for a process that lives long and computes little.
    const child = spawn(process.execPath, [...FLAGS, run.program, run.command], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NOTIFY_SOCKET: "", NODE_OPTIONS: "" },
    });
    return await new Promise((resolve) => follow(child, run, resolve));
  } catch (error) {
    return describeNoStart(error);
  } finally {
    giveBack();
  }
}

function describeNoStart(error: unknown): ChildEnd {
  const reason = `it cannot be started: ${readMessage(error)}`;
  return { kind: "failed", reason, tooLarge: false };
}

function follow(child: ChildProcessWithoutNullStreams, run: ChildRun, resolve: (end: ChildEnd) => void): void {
  const pieces: Buffer[] = [];
  let [sizeBytes, complaint] = [0, ""];
  let [reason, tooLarge]: [string | undefined, boolean] = [undefined, false];
  const kill = (why: string, isSize = false): void => {
    if (reason === undefined) {
      [reason, tooLarge] = [why, isSize];
      giveUp = setTimeout(
        () => end({ kind: "failed", reason: `${why}, and has not ended since`, tooLarge }),
        KILLED_MS,
      );
    }
    child.kill("SIGKILL");
  };
  let giveUp: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => kill(`it took longer than ${run.deadlineMs / 1_000} s`), run.deadlineMs);
  const onAbort = (): void => kill("the agent ends");
  run.signal.addEventListener("abort", onAbort);
  if (run.signal.aborted) onAbort();
  const stopWatching = watchMemory(child, run.memoryLimitBytes, kill);
  if (run.isAwaited !== true) yieldToOthers(child);
  const end = (how: ChildEnd): void => {
    clearTimeout(timer);
    clearTimeout(giveUp);
    stopWatching();
    run.signal.removeEventListener("abort", onAbort);
    resolve(how);
  };
  // Heard before the streams are touched: a process that could not be started has none.
  child.once("error", (error) => end(describeNoStart(error)));
  child.stdout.on("data", (piece: Buffer) => {
    sizeBytes += piece.length;
    if (sizeBytes > run.answerLimitBytes) kill(`its answer is larger than ${describeSize(run.answerLimitBytes)}`, true);
    else pieces.push(piece);
  });
  child.stderr.on("data", (piece: Buffer) => {
    complaint = (complaint + piece.toString()).slice(0, STDERR_BYTES);
  });
  child.once("close", (code, signal) => {
    if (reason === undefined && code !== 0) reason = describeEnd(code, signal, complaint);
    if (reason === undefined) end({ kind: "answered", answer: Buffer.concat(pieces) });
    else end({ kind: "failed", reason, tooLarge });
  });
  // A child that has died takes no request; how it ended says why.
  child.stdin.on("error", () => undefined);
  child.stdin.write(`${run.request}\n`);
}

function describeEnd(code: number | null, signal: string | null, complaint: string): string {
  const line = /heap out of memory/.test(complaint) ? "it ran out of memory" : complaint.trim().split("\n").at(-1);
  const said = line === undefined || line === "" ? "" : `: ${line.slice(0, 200)}`;
  return signal === null ? `it ended with ${code}${said}` : `it was ended by ${signal}${said}`;
}

/** Its work is long, and nobody's service stands still for it. */
function yieldToOthers({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // The unit's system call filter may forbid it: then it runs as the agent does.
  }
}

/** Makes the child the first to go when memory is short, and kills it when it takes more than its share. */
function watchMemory(
  child: ChildProcess,
  limitBytes: number,
  kill: (why: string, isSize: boolean) => void,
): () => void {
  const { pid } = child;
  if (pid === undefined) return () => undefined;
  writeFile(`/proc/${pid}/oom_score_adj`, "500").catch(() => undefined);
  const look = async (): Promise<void> => {
    if ((await readResident(pid)) > limitBytes) kill(`it took more than ${describeSize(limitBytes)} of memory`, true);
  };
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  return () => clearInterval(timer);
}

/** The bytes of a process that are in memory; 0 for one that has ended. */
async function readResident(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
