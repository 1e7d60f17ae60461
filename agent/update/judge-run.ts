// The judge as it runs: a process of the version before, in a unit of its own, that looks at the version on trial every two seconds until
// it has stayed or gone. The judgement is judge-trial.ts's. It touches nothing but the link, its own files and the agent's unit.

import { request } from "node:http";
import { uptime } from "node:os";

import * as z from "zod";

import { readBootId } from "../host/files/host-facts.ts";
import { type AgentLook, beginJudging, EMPTY_JUDGE, judgeTrial, type Verdict } from "./core/judge-trial.ts";
import { parseTrial, printTrial, type Trial } from "./core/trial.ts";
import type { UpdateOutcome } from "./core/update-record.ts";
import { planBack, planConfirm } from "./core/update-steps.ts";
import { carryOut, type Hands, readIfThere } from "./carry-out.ts";
import { HOST_DISK, removeDurably, writeDurably } from "./durable.ts";
import { readVersionLink } from "./places.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** The host's boot and its time. */
export interface JudgeHost {
  bootId: () => string;
  uptimeMs: () => number;
}

/** What a judge is given. */
export interface JudgeOptions extends Hands {
  /** The agent's socket. */
  socket: string;
  /** One line for the journal. */
  say: (line: string) => void;
  signal: AbortSignal;
  /** Of this host, unless a test plays it. */
  host?: JudgeHost;
  everyMs?: number;
}

const LOOK_EVERY_MS = 2_000;
const ANSWER_MS = 1_500;
const ANSWER_BYTES = 256 * 1024;

/** Those of this host. */
export const THIS_HOST: JudgeHost = { bootId: (): string => readBootId(), uptimeMs: (): number => uptime() * 1_000 };

/**
 * Judges until the trial is over, or until it is told to end; then the file says that the end was wanted.
 * @returns how it ended: a code for scripts and tests
 */
export async function runJudge(options: JudgeOptions): Promise<"none" | "kept" | "back" | "over" | "told"> {
  const { places, disk = HOST_DISK, host = THIS_HOST, signal, everyMs = LOOK_EVERY_MS } = options;
  const text = readIfThere(places.trial);
  if (text === undefined) return "none";
  let trial = parseTrial(text);
  if (trial === undefined) {
    // Written as a whole or not at all: what is none was not written by an updater.
    options.say(`${places.trial} is no trial: removed, and what is in use stays in use`);
    removeDurably(disk, places.trial);
    return "over";
  }
  trial = beginJudging(trial, host.bootId(), host.uptimeMs());
  writeDurably(disk, places.trial, printTrial(trial));
  options.say(`judges ${trial.to}, which has taken the place of ${trial.from}`);
  let memory = EMPTY_JUDGE;
  while (!signal.aborted) {
    const look = {
      nowMs: host.uptimeMs(),
      current: readVersionLink(places.current),
      agent: await lookAtAgent(options.socket),
    };
    const judged = judgeTrial(trial, memory, look);
    memory = judged.memory;
    const end = await act(judged.verdict, trial, options).catch((error: unknown) => {
      // What failed is tried again at the next look: the file says how far it is.
      options.say(`cannot go on, tried again: ${readMessage(error)}`);
      return undefined;
    });
    if (end !== undefined) return end;
    await rest(everyMs, signal);
  }
  if (readIfThere(places.trial) !== undefined) writeDurably(disk, places.trial, printTrial({ ...trial, clean: true }));
  options.say("told to end: the trial goes on when this is started again");
  return "told";
}

async function act(
  verdict: Verdict,
  trial: Trial,
  options: JudgeOptions,
): Promise<"kept" | "back" | "over" | undefined> {
  const { places, disk = HOST_DISK } = options;
  switch (verdict.kind) {
    case "wait":
      return undefined;
    case "restart":
      await carryOut([{ kind: "restart-agent" }], options);
      return undefined;
    case "confirm":
      await carryOut(planConfirm(describeOutcome(trial, "confirmed", verdict.said)), options);
      options.say(`${trial.to} stays: ${verdict.said}`);
      return "kept";
    case "back":
      await carryOut(planBack(trial, describeOutcome(trial, "failed", verdict.reason)), options);
      options.say(`${trial.to} has failed: ${verdict.reason}; ${trial.from} is back`);
      return "back";
    case "over":
      removeDurably(disk, places.trial);
      options.say(`no judgement on ${trial.to}: ${verdict.said}`);
      return "over";
    default:
      return verdict satisfies never;
  }
}

function describeOutcome({ to, sha256 }: Trial, result: UpdateOutcome["result"], reason: string): UpdateOutcome {
  return { version: to, sha256, result, reason, atMs: Date.now() };
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** The keys that an agent of any version has; others are passed over. */
const documentSchema = z.object({
  agent: z.string(),
  run: z.string(),
  reconciled: z.boolean(),
  heardBy: z.array(z.string()).nullable().catch(null),
});

/** Asks the agent that runs; undefined while it gives no answer that can be read. */
export function lookAtAgent(socket: string): Promise<AgentLook | undefined> {
  return new Promise((resolve) => {
    const question = request({ socketPath: socket, path: "/v1/trial", headers: { host: "localhost" } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => {
        text += piece;
        if (text.length > ANSWER_BYTES) question.destroy();
      });
      answer.once("end", () => resolve(answer.statusCode === 200 ? readLook(text) : undefined));
      answer.once("error", () => resolve(undefined));
      answer.once("close", () => resolve(undefined));
    });
    const timer = setTimeout(() => question.destroy(), ANSWER_MS);
    question.once("close", () => clearTimeout(timer));
    question.once("error", () => resolve(undefined));
    question.end();
  });
}

function readLook(text: string): AgentLook | undefined {
  try {
    const { agent, run, reconciled, heardBy } = documentSchema.parse(JSON.parse(text));
    return { version: agent, run, reconciled, heardBy: heardBy ?? undefined };
  } catch {
    return undefined;
  }
}
