// What the agent would do now, without doing it: the answer to `orca plan` without a directory. Plain data.

import type { Hold } from "../state/hold.ts";
import type { ServiceView } from "../state/status.ts";
import type { Operation } from "../state/step.ts";

/** One look ahead. */
export interface PlanPreview {
  node: string;
  revision: string | undefined;
  operations: readonly Operation[];
  services: readonly ServiceView[];
  notes: readonly string[];
  /** A change that is not in force yet, and what it would do besides. */
  held?: { revision: string; holds: readonly Hold[]; operations: readonly Operation[] };
}
