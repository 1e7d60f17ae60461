// Every check there is, in one list. Used by lint; pure, so that the agent could ask the same.

import { checkBootstrap } from "./bootstrap.ts";
import { checkConstraints } from "./constraints-check.ts";
import { checkFiles } from "./files.ts";
import { checkMembership } from "./membership.ts";
import { checkMounts } from "./mounts.ts";
import { checkNetwork } from "./network.ts";
import { checkPromises } from "./promises.ts";
import { checkProxyWaits } from "./proxy-wait.ts";
import { checkReferences } from "./references.ts";
import type { Check, FileFinding, RepositoryView } from "./repository-view.ts";
import { checkRoutes } from "./routes-check.ts";
import { checkSecretEnv } from "./secret-env.ts";
import { checkSecretLiterals } from "./secret-literals.ts";
import { checkUnused } from "./unused.ts";

const CHECKS: readonly Check[] = [
  checkMembership,
  checkBootstrap,
  checkReferences,
  checkConstraints,
  checkNetwork,
  checkMounts,
  checkRoutes,
  checkFiles,
  checkPromises,
  checkProxyWaits,
  checkSecretEnv,
  checkSecretLiterals,
  checkUnused,
];

/** Runs every check. What the schemas found is not in here: it is in the view's manifests and fleet. */
export function checkRepository(view: RepositoryView): FileFinding[] {
  return CHECKS.flatMap((check) => check(view));
}
