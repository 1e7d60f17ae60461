// Why Git could not be read, as an error: made by whatever speaks to the server or reads the store. What is wrong is a code with fields
// (shared/state/hold.ts); shared/text/words/source-words.ts words it.

import type { AnswerFault, SourceFault } from "../../../../shared/state/hold.ts";
import { describeSourceFault } from "../../../../shared/text/words/source-words.ts";

/** What a failure means for the next attempt. */
export interface FailureTraits {
  /** The same commit fails again: it is not fetched again until the branch moves. */
  lasting?: boolean;
  /** The commit was read, and its signatures do not allow it; left out, the fault says so. */
  distrusted?: boolean;
  /** How long the server asked to be left alone, in milliseconds. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A failure that people can act on. */
export class GitFailure extends Error {
  readonly fault: SourceFault;
  readonly lasting: boolean;
  readonly distrusted: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(fault: SourceFault, traits: FailureTraits = {}) {
    const { lasting = false, distrusted, retryAfterMs, cause } = traits;
    super(describeSourceFault(fault), cause === undefined ? {} : { cause });
    this.fault = fault;
    this.lasting = lasting;
    this.distrusted = distrusted ?? fault.code === "not-trusted";
    this.retryAfterMs = retryAfterMs;
  }
}

/** An answer, or what was made of it, that does not hold together: it may be better the next time. */
export function brokenAnswer(why: AnswerFault): GitFailure {
  return new GitFailure({ code: "broken-answer", why });
}
