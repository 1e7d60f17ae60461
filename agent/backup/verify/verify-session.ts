// What every proof by a restore is made of: commands with one deadline, and findings that say whether the backup is at fault or the
// machine is. A false alarm is worse than a bad backup that nobody believes.

import type { BoxAnswer, RestoreBox, RestoreInput, Verdict, VerifyClock } from "./restore-box.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

const READY_MS = 120_000;
const LOOK_MS = 250;
/** The machine's faults, in the words of the kernel and the C library. */
const MACHINE =
  /no space left on device|out of memory|cannot allocate memory|too many open files|could not fork|read-only file system|input\/output error/i;
/** How the engine says that an image lacks a program (runc, "executable file not found"). */
const NO_PROGRAM = /executable file not found|no such file or directory: unknown/i;

/** True for the engine's word that what is to be run is not in the image. */
export function isNoProgram(said: string): boolean {
  return NO_PROGRAM.test(said);
}

/** What is said of an image without a program that a proof needs. */
export function describeLack(image: string | undefined, program: string | undefined): string {
  const named = image === undefined ? "the image" : `the image ${image}`;
  return `${named} has no ${program ?? "program of its own"}: name one that has it as verify.image`;
}

/** One step that did not go well. */
export class Finding extends Error {
  readonly verdict: "bad" | "unknown";
  constructor(verdict: "bad" | "unknown", message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** Says what came of a proof. Never throws. */
export async function judgeProof(box: RestoreBox, prove: () => Promise<string>): Promise<Verdict> {
  try {
    return { verdict: "good", detail: await prove() };
  } catch (error) {
    const message = readMessage(error);
    if (!(error instanceof Finding)) return { verdict: "unknown", detail: message };
    // A process that the kernel has ended looks like a bad dump.
    const oom = error.verdict === "bad" && (await box.ranOutOfMemory().catch(() => false));
    return oom
      ? { verdict: "unknown", detail: `the server ran out of memory while it was restored: ${message}` }
      : { verdict: error.verdict, detail: message };
  }
}

/** The commands of one proof. */
export class VerifySession {
  readonly input: RestoreInput;
  readonly #box: RestoreBox;
  readonly #clock: VerifyClock;
  readonly #machine: RegExp;
  readonly #beganMs: number;

  /** @param machine the server's words for a fault of the machine */
  constructor(parts: { box: RestoreBox; input: RestoreInput; clock: VerifyClock }, machine: RegExp) {
    this.input = parts.input;
    this.#box = parts.box;
    this.#clock = parts.clock;
    this.#machine = machine;
    this.#beganMs = parts.clock.monotonicMs();
  }

  /** `2.4 s` since the proof began. */
  get took(): string {
    return `${((this.#clock.monotonicMs() - this.#beganMs) / 1_000).toFixed(1)} s`;
  }

  /** Where a file lies in the box. */
  locate(file: string): string {
    return `${this.input.directory}/${file}`;
  }

  /** Waits until the server answers a command well. */
  async waitUntilReady(
    argv: readonly string[],
    isReady: (answer: BoxAnswer) => boolean = ({ exitCode }) => exitCode === 0,
    withinMs = READY_MS,
  ): Promise<void> {
    const untilMs = Math.min(this.#beganMs + this.input.deadlineMs, this.#clock.monotonicMs() + withinMs);
    while (this.#clock.monotonicMs() < untilMs) {
      if (!(await this.#box.isRunning())) throw new Finding("unknown", "the server that it is restored into has ended");
      const answer = await this.run(argv).catch(() => undefined);
      if (answer !== undefined && isReady(answer)) return;
      await this.#clock.wait(LOOK_MS);
    }
    throw new Finding("unknown", "the server that it is restored into did not come up");
  }

  /** Runs a command; what it answers is judged by who asked. */
  async run(argv: readonly string[]): Promise<BoxAnswer> {
    const leftMs = this.#beganMs + this.input.deadlineMs - this.#clock.monotonicMs();
    if (leftMs <= 0) throw new Finding("unknown", "it was not restored within verify.timeout");
    try {
      return await this.#box.run(argv, leftMs);
    } catch (error) {
      const said = readMessage(error);
      if (isNoProgram(said)) throw this.#lack(argv);
      throw new Finding("unknown", said);
    }
  }

  /** Runs a command that must end well; answers what it printed. */
  async expect(doing: string, argv: readonly string[]): Promise<string> {
    const answer = await this.run(argv);
    // So runc says it where the command is begun in a container that runs.
    if ((answer.exitCode === 126 || answer.exitCode === 127) && isNoProgram(answer.output)) throw this.#lack(argv);
    this.judge(doing, answer);
    return answer.output.trim();
  }

  #lack([program]: readonly string[]): Finding {
    return new Finding("unknown", describeLack(this.input.image, program));
  }

  /** Throws what is wrong with an answer. */
  judge(doing: string, { exitCode, output }: BoxAnswer): void {
    if (exitCode === 0) return;
    const lines = output.trim().split("\n");
    const first = lines.findIndex((line) => /\berror\b/i.test(line));
    // The error and what explains it; the rest is the command.
    const words = (first === -1 ? lines.slice(-2) : lines.slice(first, first + 2)).join(" ");
    if (this.isMachine(output)) throw new Finding("unknown", `${doing}: ${words}`);
    throw new Finding("bad", `${doing}: ${words === "" ? `exit code ${exitCode}` : words}`);
  }

  /** True where a text tells of a fault of the machine. */
  isMachine(output: string): boolean {
    return MACHINE.test(output) || this.#machine.test(output);
  }
}
