// What the loop must do about a failed step: one place that tells what the release is to blame for from what it is not. Pure.

import type { FailureClass, FaultCode, Step } from "../../shared/state/step.ts";
import type { Said } from "../../shared/state/reason.ts";
import { readFault, shortenAnswer } from "../docker/engine-answer.ts";
import { EngineError } from "../docker/reader.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/**
 * Who is to blame (behaviour, section 2): infrastructure waits and never rolls back; an artefact cannot run at all; the rest is tried
 * again, and a release that never gets over it runs out of its time.
 */
const CLASSES: Readonly<Record<FaultCode, FailureClass>> = {
  "disk-full": "infrastructure",
  "host-exhausted": "infrastructure",
  "engine-away": "infrastructure",
  "container-stuck": "infrastructure",
  "endpoint-left": "infrastructure",
  removing: "infrastructure",
  "name-taken": "retry",
  "port-held": "retry",
  "source-missing": "retry",
  gone: "retry",
  "image-unknown": "artefact",
  "spec-refused": "artefact",
  other: "retry",
};

/** Steps whose failure can be the fault of what Git wants. */
const MAKING: ReadonlySet<Step["kind"]> = new Set(["create-container", "start-container"]);

/** Classes a failure, and names what is at fault. */
export function classifyFailure(step: Step["kind"], error: unknown): { failure: FailureClass; fault: FaultCode } {
  const message = readMessage(error);
  const fault = error instanceof EngineError ? error.fault : readOwnFault(message);
  const failure = CLASSES[fault];
  // Whatever else keeps a pull from its end lies at the registry or on the way to it.
  if (step === "ensure-image") return { fault, failure: fault === "image-unknown" ? "artefact" : "infrastructure" };
  return { fault, failure: failure === "artefact" && !MAKING.has(step) ? "retry" : failure };
}

/** An error that is not the engine's comes from this host. */
function readOwnFault(message: string): FaultCode {
  const fault = readFault(0, message);
  return fault === "disk-full" || fault === "host-exhausted" ? fault : "other";
}

/** Of what a failed command printed, so much is kept. */
const LONGEST_OUTPUT = 200;

/** A command that failed in a container; what it printed stands beside the message, since not everybody may read that. */
export class CommandFailure extends Error {
  override name = "CommandFailure";
  readonly output: string;

  constructor(message: string, output: string) {
    super(message);
    this.output = output.slice(0, LONGEST_OUTPUT).trim();
  }
}

/** What is said of an error: its message, and what a container printed with it. */
export function describeFailure(error: unknown, redact: (text: string) => string): Said {
  // What is secret is taken out of the whole: a part of a value would not be known.
  const message = shortenAnswer(redact(describeError(error)));
  const output = error instanceof CommandFailure ? redact(error.output) : "";
  return output === "" ? { message } : { message, output };
}

/** The message of an error and of what caused it, once each; an answer of the engine says itself what caused it. */
function describeError(error: unknown): string {
  const messages: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at instanceof EngineError ? undefined : at.cause) {
    const { message } = at;
    if (!messages.some((known) => known.includes(message))) messages.push(message);
  }
  return messages.length === 0 ? String(error) : messages.join(": ");
}
