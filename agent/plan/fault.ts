// What a rule threw, for the one service that it was asked about: the others are planned all the same. Pure; plan/ only.
// A rule that throws is a fault of Orca's own, mostly over something stored in a shape that it did not expect.

/** Runs a part of a plan; answers why it failed, in one line, or undefined. What it had written by then is the caller's to drop. */
export function findPlanFault(run: () => void): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return `planning failed: ${message.split("\n", 1)[0] ?? ""}`;
  }
}
