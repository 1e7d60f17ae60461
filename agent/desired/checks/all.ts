// Every check there is, in one list. Used by lint; pure, so that the agent could ask the same.

import { checkAllowlists } from "./allowlists.ts";
import { checkBackupFirst } from "./backup-first-check.ts";
import { checkBootstrap } from "./bootstrap-check.ts";
import { checkComposeHabits } from "./compose-habits.ts";
import { checkConstraints, checkRivals } from "./constraints-check.ts";
import { checkEphemeral } from "./volumes/ephemeral-check.ts";
import { checkFiles, checkSources } from "./files.ts";
import { checkIdleKeys } from "./idle-keys.ts";
import { checkImages } from "./images.ts";
import { checkMembership } from "./membership-check.ts";
import { checkMounts } from "./mounts-check.ts";
import { checkNetwork } from "./network.ts";
import { checkPromises } from "./promises.ts";
import { checkProxyWaits } from "./proxy-wait.ts";
import { checkReferences } from "./references.ts";
import { completeView } from "./view/partial-view.ts";
import type { Check, FileFinding, RepositoryView } from "./view/repository-view.ts";
import { checkRoutes } from "./routes-check.ts";
import { checkSecretEnv } from "./secrets/secret-env.ts";
import { checkSecretLiterals } from "./secrets/secret-literals.ts";
import { checkStrangeFiles } from "./strange-files.ts";
import { checkSysctls } from "./sysctls.ts";
import { checkStartTimes } from "./start-time.ts";
import { checkUnused } from "./unused-check.ts";
import { checkLogs } from "./wal-check.ts";

/** Each of these looks at a few keys of one service: what else is wrong with its manifest does not matter to them. */
const PART_CHECKS: readonly Check[] = [
  checkReferences,
  checkNetwork,
  checkMounts,
  checkImages,
  checkSysctls,
  checkIdleKeys,
  checkComposeHabits,
];

/** The same, of which the whole view knows a part by its other checks. */
const MORE_PART_CHECKS: readonly Check[] = [checkSources, checkRivals];

const CHECKS: readonly Check[] = [
  ...PART_CHECKS,
  checkMembership,
  checkBootstrap,
  checkConstraints,
  checkRoutes,
  checkFiles,
  checkAllowlists,
  checkBackupFirst,
  checkPromises,
  checkLogs,
  checkEphemeral,
  checkStartTimes,
  checkProxyWaits,
  checkSecretEnv,
  checkSecretLiterals,
  checkStrangeFiles,
  checkUnused,
];

/**
 * Runs every check, also on what can be read of invalid manifests, so that one fault hides no other. What the schemas found is not in
 * here: it is in the view's manifests and fleet.
 */
export function checkRepository(view: RepositoryView): FileFinding[] {
  const { whole, partial, partialFiles } = completeView(view);
  const found = CHECKS.flatMap((check) => check(whole));
  if (partialFiles.size === 0) return found;
  const ofParts = [...PART_CHECKS, ...MORE_PART_CHECKS].flatMap((check) => check(partial));
  // A clash between a manifest that can be read whole and one that cannot stands in either.
  const known = new Set(found.map(nameFinding));
  const isNew = (finding: FileFinding): boolean => !known.has(nameFinding(finding));
  const rivals = checkRivals(partial).filter(({ file }) => !partialFiles.has(file));
  return [...found, ...ofParts.filter(({ file }) => partialFiles.has(file)), ...rivals.filter(isNew)];
}

function nameFinding({ file, path, code, message }: FileFinding): string {
  return JSON.stringify([file, path, code, message]);
}
