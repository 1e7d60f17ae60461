// Looks at the host as `orca doctor` does, once a week, in a process of its own, and tells of what is new. Made by daemon.ts; told of
// each turn, and never holds one up.

import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import * as z from "zod";

import { makeDirectory } from "../host/files/make-directory.ts";
import { DOCTOR_COMMAND } from "./doctor-exchange.ts";
import { compareLook } from "../doctor/fresh-findings.ts";
import type { Finding } from "../doctor/finding.ts";
import { setNewerAside } from "../host/newer-document.ts";
import type { Clock } from "../host/os/clock.ts";
import { type ChildRun, runChild } from "../host/os/child-process.ts";
import type { Emit } from "../../shared/state/event.ts";
import { readMessage } from "../../shared/text/read-message.ts";

const VERSION = 1;
const WEEK_MS = 7 * 86_400_000;
/** A start has other work first, and what the agent itself makes is there then. */
const FIRST_MS = 600_000;
/** One that has failed is tried again after so long. */
const RETRY_MS = 6 * 3_600_000;
const DEADLINE_MS = 120_000;
const ANSWER_BYTES = 1024 ** 2;
const MEMORY_BYTES = 160 * 2 ** 20;

const stateSchema = z.object({
  version: z.literal(VERSION),
  lookedMs: z.number(),
  known: z.array(z.string()).readonly(),
});
type DoctorState = z.infer<typeof stateSchema>;

/** What it is made from. */
export interface WeeklyDoctorOptions {
  /** agent.toml, which the look is about. */
  config: string;
  program: string;
  statePath: string;
  clock: Clock;
  emit: Emit;
  /** Runs the child; only a test runs another one. */
  run?: (run: ChildRun) => ReturnType<typeof runChild>;
}

/** One host's weekly look. */
export class WeeklyDoctor {
  readonly #options: WeeklyDoctorOptions;
  readonly #ending = new AbortController();
  #state: DoctorState | undefined;
  #nextTryMs: number;
  #looking: Promise<void> | undefined;

  constructor(options: WeeklyDoctorOptions) {
    this.#options = options;
    const { clock, statePath, emit } = options;
    this.#nextTryMs = clock.monotonicMs() + FIRST_MS;
    const newer = setNewerAside(statePath, VERSION);
    if (newer !== undefined) emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: `doctor: ${newer}` });
    this.#state = readState(statePath);
  }

  /** A turn is over: looks where a look is due. Never throws, never waits. */
  follow(): void {
    const { clock } = this.#options;
    if (this.#looking !== undefined || this.#ending.signal.aborted) return;
    if (clock.monotonicMs() < this.#nextTryMs) return;
    const lookedMs = this.#state?.lookedMs;
    const nowMs = clock.nowMs();
    // One that lies ahead is of a clock that was wrong.
    if (lookedMs !== undefined && lookedMs <= nowMs && nowMs - lookedMs < WEEK_MS) return;
    this.#nextTryMs = clock.monotonicMs() + RETRY_MS;
    this.#looking = this.#look().finally(() => (this.#looking = undefined));
  }

  /** Ends; a look that goes on is cut off. */
  async close(): Promise<void> {
    this.#ending.abort();
    await this.#looking;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { clock, emit, config, program, run = runChild } = this.#options;
    const end = await run({
      program,
      command: DOCTOR_COMMAND,
      request: JSON.stringify({ config }),
      deadlineMs: DEADLINE_MS,
      answerLimitBytes: ANSWER_BYTES,
      memoryLimitBytes: MEMORY_BYTES,
      signal: this.#ending.signal,
    });
    if (this.#ending.signal.aborted) return;
    const findings = end.kind === "answered" ? parseFindings(end.answer) : undefined;
    if (findings === undefined) {
      const trouble = end.kind === "failed" ? end.reason : "its answer cannot be read";
      emit({ kind: "doctor-looked", atMs: clock.nowMs(), look: { weak: 0, fresh: [], trouble } });
      return;
    }
    const { weak, fresh, known } = compareLook(findings, this.#state?.known ?? []);
    this.#state = { version: VERSION, lookedMs: clock.nowMs(), known };
    await this.#save(this.#state);
    const told = fresh.map(({ id = "", check, severity, what, fix }) => ({
      id,
      check,
      severity: severity === "fine" ? "info" : severity,
      what,
      fix,
    }));
    emit({ kind: "doctor-looked", atMs: clock.nowMs(), look: { weak, fresh: told, trouble: undefined } });
  }

  async #save(state: DoctorState): Promise<void> {
    const { statePath, clock, emit } = this.#options;
    try {
      await makeDirectory(dirname(statePath), 0o700);
      await writeFile(`${statePath}.new`, JSON.stringify(state), { mode: 0o600, flush: true });
      await rename(`${statePath}.new`, statePath);
    } catch (error) {
      emit({ kind: "state-not-saved", atMs: clock.nowMs(), message: `doctor: ${readMessage(error)}` });
    }
  }
}

function readState(path: string): DoctorState | undefined {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

const answerSchema = z.object({
  findings: z.array(
    z.object({
      id: z.string().optional(),
      check: z.string(),
      severity: z.enum(["fail", "warn", "info", "fine"]),
      what: z.string(),
      why: z.string(),
      fix: z.string(),
      unseen: z.boolean().optional(),
    }),
  ),
});

function parseFindings(answer: Buffer): Finding[] | undefined {
  try {
    const { findings } = answerSchema.parse(JSON.parse(answer.toString("utf8")));
    return findings.map(({ id, unseen, ...rest }) => ({
      ...rest,
      ...(id === undefined ? {} : { id }),
      ...(unseen === undefined ? {} : { unseen }),
    }));
  } catch {
    return undefined;
  }
}
