// A machine on which a version of the agent is put on trial, as a model: a disk with what is synced, systemd with its units, an agent that is
// good or bad in one way, a peer; and a seed that kills processes, cuts the power and reboots between any two steps. The steps and the
// judgement are the real ones; only time and hands are played.

import { beginJudging, EMPTY_JUDGE, judgeTrial, type JudgeMemory } from "../../../agent/update/core/judge-trial.ts";
import { parseTrial, printTrial, type Trial } from "../../../agent/update/core/trial.ts";
import { chooseUpdate } from "../../../agent/update/core/choose-update.ts";
import { planBack, planConfirm, planTrial, type UpdateStep } from "../../../agent/update/core/update-steps.ts";
import type { UpdateOutcome } from "../../../agent/update/core/update-record.ts";

/** How the new version is. `lonely` is good, and there is no peer. */
export type VersionKind = "good" | "exits" | "hangs" | "never-reconciles" | "unseen" | "lonely";

/** How a play ended. */
export interface MachineEnd {
  current: string;
  running: string | undefined;
  /** The new version was put on trial again after it had failed. */
  retried: boolean;
  /** Times that the host went down without anybody wanting it, while a trial went on. */
  unclean: number;
  /** Times that a process was killed. */
  kills: number;
  /** From the moment in which the new version was in use until the old one was again. */
  backAfterMs: number | undefined;
  /** What must never be, and was. */
  broken: string[];
}

const SHA = "c".repeat(64);
const STEP_MS = 2_000;
const LONGEST_MS = 4 * 3_600_000;
const BOOT_MS = 20_000;

/** Mulberry32. */
function createRandom(seed: number): () => number {
  let state = seed + 0x6d2b79f5;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

class Cut extends Error {}

class Machine {
  readonly random: () => number;
  readonly kind: VersionKind;
  cuts: number;
  /** On the disk: each step is synced before the next, so a power cut takes nothing back. */
  disk: { trial: string | undefined; current: string; judge: string | undefined; outcomes: UpdateOutcome[] } = {
    trial: undefined,
    current: "0.1.0",
    judge: undefined,
    outcomes: [],
  };
  atMs = 0;
  bootMs = -600_000;
  boot = 1;
  agent: { version: string; run: number; sinceMs: number } | undefined;
  judge: { trial: Trial; memory: JudgeMemory } | undefined;
  runs = 0;
  trials = 0;
  hasFailed = false;
  usedMs: number | undefined;
  backMs: number | undefined;
  unclean = 0;
  kills = 0;
  broken: string[] = [];
  #retried = false;

  constructor(kind: VersionKind, seed: number, cuts: number) {
    [this.kind, this.random, this.cuts] = [kind, createRandom(seed), cuts];
    this.startAgent();
  }

  get retried(): boolean {
    return this.#retried;
  }

  startAgent(): void {
    this.runs += 1;
    this.agent = { version: this.disk.current, run: this.runs, sinceMs: this.atMs };
  }

  /** Between any two steps something may happen; `before` is whether the step that was under way is done. */
  perhapsCut(): void {
    if (this.cuts <= 0 || this.random() > 0.12) return;
    this.cuts -= 1;
    throw new Cut();
  }

  carryOut(steps: readonly UpdateStep[]): void {
    for (const step of steps) {
      this.perhapsCut();
      this.carry(step);
      this.check();
    }
    this.perhapsCut();
  }

  carry(step: UpdateStep): void {
    switch (step.kind) {
      case "write-trial":
        this.disk.trial = printTrial(step.trial);
        return;
      case "remove-trial":
        this.disk.trial = undefined;
        return;
      case "point":
        this.disk[step.link] = step.version;
        if (step.link === "judge") return;
        if (step.version === "0.2.0") this.usedMs = this.atMs;
        else if (this.usedMs !== undefined) this.backMs ??= this.atMs - this.usedMs;
        return;
      case "record":
        this.disk.outcomes = [
          step.outcome,
          ...this.disk.outcomes.filter(({ sha256 }) => sha256 !== step.outcome.sha256),
        ];
        return;
      case "start-judge":
        this.startJudge();
        return;
      case "restart-agent":
        this.startAgent();
        return;
      default:
        step satisfies never;
    }
  }

  check(): void {
    const { trial, current, judge } = this.disk;
    if (!["0.1.0", "0.2.0"].includes(current)) this.broken.push(`${current} is in use, which is no version`);
    const confirmed = this.disk.outcomes.some(({ result }) => result === "confirmed");
    if (current === "0.2.0" && trial === undefined && !confirmed)
      this.broken.push("the new version is in use, nobody judges it, and it was never confirmed");
    if (current === "0.2.0" && trial !== undefined && judge !== "0.1.0")
      this.broken.push(`the judge is of ${judge}, and not of the old version`);
    if (trial !== undefined && parseTrial(trial) === undefined) this.broken.push("the file is no trial");
  }

  startJudge(): void {
    if (this.judge !== undefined || this.disk.trial === undefined) return;
    const trial = parseTrial(this.disk.trial);
    if (trial === undefined) return;
    const begun = beginJudging(trial, `boot-${this.boot}`, this.atMs - this.bootMs);
    this.disk.trial = printTrial(begun);
    this.judge = { trial: begun, memory: EMPTY_JUDGE };
  }

  /** The updater: also what a new one does that finds what the one before has left. */
  update(): void {
    if (this.disk.trial !== undefined) return this.startJudge();
    const choice = chooseUpdate({
      node: "vm1",
      nowMs: this.atMs,
      pin: { version: "0.2.0", sha256: { amd64: SHA }, canary: "vm1" },
      arch: "amd64",
      running: this.agent?.version ?? "",
      current: this.disk.current,
      onTrial: false,
      outcomes: this.disk.outcomes,
      hasSource: true,
      hasKey: true,
      canary: undefined,
      askedMs: undefined,
    });
    if (choice.kind !== "go") return undefined;
    if (this.hasFailed) this.#retried = true;
    this.trials += 1;
    return this.carryOut(
      planTrial({
        from: this.disk.current,
        to: choice.version,
        sha256: choice.sha256,
        phase: "trial",
        heard: this.kind === "lonely" ? [] : ["vm-data"],
        boot: `boot-${this.boot}`,
        sinceMs: this.atMs - this.bootMs,
        clean: true,
        unclean: 0,
        reason: "",
      }),
    );
  }

  judgeOnce(): void {
    const { judge } = this;
    if (judge === undefined) return;
    const { memory, verdict } = judgeTrial(judge.trial, judge.memory, {
      nowMs: this.atMs - this.bootMs,
      current: this.disk.current,
      agent: this.look(),
    });
    judge.memory = memory;
    const outcome = (result: UpdateOutcome["result"], reason: string): UpdateOutcome => ({
      version: judge.trial.to,
      sha256: judge.trial.sha256,
      result,
      reason,
      atMs: this.atMs,
    });
    if (verdict.kind === "wait") return;
    if (verdict.kind === "restart") return this.carry({ kind: "restart-agent" });
    if (verdict.kind === "confirm") this.carryOut(planConfirm(outcome("confirmed", verdict.said)));
    if (verdict.kind === "back") this.hasFailed = true;
    if (verdict.kind === "back") this.carryOut(planBack(judge.trial, outcome("failed", verdict.reason)));
    if (verdict.kind === "over") this.carry({ kind: "remove-trial" });
    this.judge = undefined;
  }

  look() {
    const { agent } = this;
    if (agent === undefined || this.atMs - agent.sinceMs < 4_000) return undefined;
    const isNew = agent.version === "0.2.0";
    if (isNew && this.kind === "exits") return undefined;
    if (isNew && this.kind === "hangs" && this.atMs - agent.sinceMs > 30_000) return undefined;
    const heardBy = this.kind === "lonely" ? undefined : isNew && this.kind === "unseen" ? [] : ["vm-data"];
    const reconciled = !(isNew && this.kind === "never-reconciles");
    return { version: agent.version, run: String(agent.run), reconciled, heardBy };
  }

  /** What a cut does: the process that was at it is killed, the power goes, or somebody reboots. */
  suffer(): void {
    const draw = this.random();
    if (draw < 0.4) {
      // systemd starts what was killed again: the updater, or the judge where there is a trial.
      this.kills += 1;
      this.judge = undefined;
      this.startJudge();
      return;
    }
    const wanted = draw > 0.7;
    if (this.disk.trial !== undefined) {
      const trial = parseTrial(this.disk.trial);
      // The judge is told to end; of a time in which it had not begun yet nothing is held against anybody.
      if (wanted && this.judge !== undefined && trial !== undefined)
        this.disk.trial = printTrial({ ...trial, clean: true });
      else if (trial?.clean === false) this.unclean += 1;
    }
    this.judge = undefined;
    this.boot += 1;
    this.atMs += BOOT_MS;
    this.bootMs = this.atMs - 5_000;
    this.startAgent();
    this.startJudge();
  }
}

/** Plays one machine until nothing changes any more. */
export function playMachine({ seed, kind, cuts = 4 }: { seed: number; kind: VersionKind; cuts?: number }): MachineEnd {
  const machine = new Machine(kind, seed, cuts);
  for (; machine.atMs < LONGEST_MS; machine.atMs += STEP_MS) {
    try {
      // The agent asks once a minute, as long as it is well.
      if (machine.atMs % 60_000 === 0 && machine.look() !== undefined) machine.update();
      machine.judgeOnce();
      if (machine.cuts > 0 && machine.disk.trial !== undefined && machine.random() < 0.01) {
        machine.cuts -= 1;
        throw new Cut();
      }
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      machine.suffer();
    }
    machine.check();
  }
  const { disk, agent, retried, unclean, kills, backMs, broken } = machine;
  return { current: disk.current, running: agent?.version, retried, unclean, kills, backAfterMs: backMs, broken };
}
