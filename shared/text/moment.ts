// Moments inside a sentence that is kept and read later: how long ago one was, or how far off it is, is counted when somebody reads
// the sentence, not when it was made. The marks are of Unicode's private area and never leave the agent.

import { describeDuration } from "./duration.ts";

const MARK = /\u{E000}(since|until):(-?\d{1,16})\u{E001}/gu;

/** The time from a moment until the sentence is read. */
export function ageOf(atMs: number): string {
  return `\u{E000}since:${Math.trunc(atMs)}\u{E001}`;
}

/** The time from when the sentence is read until a moment. */
export function waitFor(atMs: number): string {
  return `\u{E000}until:${Math.trunc(atMs)}\u{E001}`;
}

/** The sentence as it reads at a time. */
export function tellAt(sentence: string, nowMs: number): string {
  return sentence.replaceAll(MARK, (_mark, kind: string, at: string) =>
    describeDuration(kind === "since" ? nowMs - Number(at) : Number(at) - nowMs),
  );
}

/** The same sentence where the wall clock was set, so that it says the same as before. */
export function moveMoments(sentence: string, byMs: number): string {
  return sentence.replaceAll(MARK, (_mark, kind: string, at: string) =>
    kind === "since" ? ageOf(Number(at) + byMs) : waitFor(Number(at) + byMs),
  );
}
