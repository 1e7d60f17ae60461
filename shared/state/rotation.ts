// How new values of secrets reach the services that use them, as data: marked in what is in force, told by plan/ from what it
// saw, judged by desired/secrets/rotation-choice.ts.

/** Set from when a service was given newer values until it has settled with them. */
export interface RotationMark {
  /** The secrets whose values are newer. */
  paths: readonly string[];
  /** It was well with the values before: when it fails with these, they are at fault, and others that use them keep theirs. */
  witness: boolean;
}

/** How a service stands with what it was last given, as the last turn saw it. */
export interface ServiceStanding {
  /** It runs what is wanted of it and has settled, or it is not meant to run. */
  settled: boolean;
  /** What it was last given has been good for it, and it has not crashed since. */
  proven: boolean;
  /** Why it failed with what it was given. Left out while something else is at fault, such as what it requires. */
  fault?: { reason: string; wentBack: boolean };
}
