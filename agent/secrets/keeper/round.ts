// What a round of answers says as a whole: whether a refusal is one of its path, whether the provider refuses everything, what is left to
// ask. Pure; the keeper asks it before it takes a single answer over.

import type { SecretAnswer } from "../../../shared/secret/secret-provider.ts";

/** The answers of a round, or of a part of it. */
export interface RoundAnswers {
  answers: ReadonlyMap<string, SecretAnswer>;
  /** How many paths the whole round is about. */
  size: number;
  /** A value was read in an earlier part of the round. */
  answeredBefore: boolean;
  /** What could not be asked for the last time either. */
  away: ReadonlySet<string>;
}

/** What it says. */
export interface RoundVerdict {
  /** A value was read, in this part or before. */
  answered: boolean;
  /** The provider has answered something else as well, so that a refusal is one of its path. */
  confirmed: boolean;
  /** Why everything is refused, in the words of the first refusal. */
  refusesAll: string | undefined;
  /** This part of the round led on: what is left is asked for next, and keeps what it had until then. */
  led: boolean;
  /** Why what is left cannot be asked for; undefined while the round goes on. */
  down: Extract<SecretAnswer, { kind: "unavailable" }> | undefined;
  /** What could not be asked for, and for how long the provider wants to be left alone. */
  left: readonly string[];
  waitMs: number;
}

/** What a round that was cut off has still to ask for, whether it has read a value yet, and until when it is tried. */
export interface Rest {
  paths: ReadonlySet<string>;
  answered: boolean;
  /** By the clock that never jumps. */
  untilMs: number;
}

/** What to ask for next; once it has been tried for long, everything, since the others are to be asked for too. */
export function findRest(
  { left, answered }: RoundVerdict,
  before: Rest | undefined,
  { nowMs, forMs }: { nowMs: number; forMs: number },
): Rest | undefined {
  const untilMs = before?.untilMs ?? nowMs + forMs;
  return left.length === 0 || nowMs >= untilMs ? undefined : { paths: new Set(left), answered, untilMs };
}

/** Judges a round. */
export function judgeRound({ answers, size, answeredBefore, away: awayBefore }: RoundAnswers): RoundVerdict {
  const all = [...answers.values()];
  const answered = answeredBefore || all.some(({ kind }) => kind === "value");
  const refused = all.flatMap((answer) => (answer.kind === "denied" || answer.kind === "not-found" ? [answer] : []));
  // A node that takes a single secret has no other to go by: that its folder can be listed says that the provider is as it was.
  const confirmed = answered || (size === 1 && refused.some(({ listed }) => listed === true));
  const away = [...answers].flatMap(([path, answer]) => (answer.kind === "unavailable" ? [{ path, answer }] : []));
  const led = all.some(({ kind }) => kind === "value") || (confirmed && refused.length > 0);
  return {
    answered,
    confirmed,
    refusesAll: confirmed ? undefined : refused[0]?.reason,
    led,
    down: away.find(({ path }) => !led || awayBefore.has(path))?.answer,
    left: away.map(({ path }) => path),
    waitMs: Math.max(0, ...away.map(({ answer }) => answer.waitMs ?? 0)),
  };
}
