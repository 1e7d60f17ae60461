// What status says of the node besides its services: each with a name, so that one whose times count down is no new one. Pure.

import { nameReason, type ReasonOf } from "./reason.ts";
import { describeReason } from "../text/describe-reason.ts";

/** Something worth knowing of the node. */
export interface Note {
  /** Names it: what has the same name says the same, whatever times and counts are in its text. */
  name: string;
  text: string;
}

/** A note whose text never changes by itself. */
export function noteText(text: string): Note {
  return { name: text, text };
}

/** The note of an engine that does not answer. */
export function noteSilentEngine(message: string): Note {
  return noteReason({ code: "engine-silent", said: { message } });
}

/** The note of a reason that counts no time; `prefix` says whom it is about. */
export function noteReason(reason: ReasonOf<"engine-silent" | "plan-fault">, prefix = ""): Note {
  return { name: `${prefix}${nameReason(reason)}`, text: `${prefix}${describeReason(reason, 0)}` };
}
