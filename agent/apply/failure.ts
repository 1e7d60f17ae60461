// What the loop must do about a failed step: one place that tells a bad artefact from bad infrastructure. Pure.

import type { FailureClass, Step } from "../../shared/step.ts";
import { EngineError } from "../docker/reader.ts";

/** What registries and engines say when the image itself is wrong, and not the way to it. */
const BAD_IMAGE =
  /manifest unknown|manifest for .* not found|not found: manifest|repository does not exist|invalid reference|no matching manifest|image operating system/i;
/** What the engine says when the container itself is wrong: a program, user or directory that the image has not. */
const BAD_SPEC = /OCI runtime create failed|unable to find user|no such file or directory|executable file not found/i;
const DISK_FULL = /no space left on device|disk quota exceeded|ENOSPC/i;

/** Classes a failure (behaviour, section 2: infrastructure failures wait and retry, they never roll back). */
export function classifyFailure(step: Step["kind"], error: unknown): FailureClass {
  const message = error instanceof Error ? error.message : String(error);
  if (DISK_FULL.test(message)) return "infrastructure";
  if (error instanceof EngineError && error.unreachable) return "infrastructure";
  if (step === "ensure-image") return BAD_IMAGE.test(message) ? "artefact" : "infrastructure";
  if (step !== "create-container" && step !== "start-container") return "retry";
  const refused = error instanceof EngineError && error.status === 400;
  return refused || BAD_SPEC.test(message) ? "artefact" : "retry";
}

/** The message of an error and of what caused it, once each. */
export function describeError(error: unknown): string {
  const messages: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (!messages.some((known) => known.includes(at instanceof Error ? at.message : ""))) messages.push(at.message);
  }
  return messages.length === 0 ? String(error) : messages.join(": ");
}
