// What a rule threw, for the one service that it was asked about: the others are planned all the same. Pure; plan/ only.
// A rule that throws is a fault of Orca's own, mostly over something stored in a shape that it did not expect.

import type { ReasonOf } from "../../shared/state/reason.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Runs a part of a plan; answers why it failed, or undefined. What it had written by then is the caller's to drop. */
export function findPlanFault(run: () => void): ReasonOf<"plan-fault"> | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    const message = readMessage(error);
    return { code: "plan-fault", message: message.split("\n", 1)[0] ?? "" };
  }
}
