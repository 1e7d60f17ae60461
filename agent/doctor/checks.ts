// Every group of checks of `orca doctor`, in the order in which people read them. A later group is one more entry; each check of it has a
// row in check-table.ts. Pure.

import { checkAgentUnit } from "./baseline/unit-checks.ts";
import { checkContainers } from "./baseline/container-checks.ts";
import { checkEngine } from "./baseline/engine-checks.ts";
import { checkNetwork } from "./baseline/network-checks.ts";
import { checkSystem } from "./baseline/system-checks.ts";
import { CHECKS } from "./check-table.ts";
import { checkDelivery } from "./delivery-checks.ts";
import type { HostView } from "./doctor-facts.ts";
import { checkEscrow } from "./escrow-checks.ts";
import { checkFiles } from "./file-checks.ts";
import type { Finding } from "./finding.ts";
import { checkFirewall } from "./firewall-checks.ts";
import { checkHostFirewall } from "./host-firewall-checks.ts";
import { checkMountWatch } from "./mount-checks.ts";
import { checkProvider } from "./provider-checks.ts";
import { checkWebhook } from "./webhook-checks.ts";

const GROUPS: readonly ((host: HostView) => Finding[])[] = [
  checkProvider,
  checkFiles,
  checkDelivery,
  checkMountWatch,
  checkFirewall,
  checkHostFirewall,
  checkWebhook,
  checkEscrow,
  ({ baseline }) => checkEngine(baseline),
  ({ baseline, policy, services, nowMs }) =>
    checkContainers(baseline, {
      policy: policy.policy,
      nowMs,
      secretEnv: Object.fromEntries((services ?? []).map(({ name, secretEnv }) => [name, Object.keys(secretEnv)])),
    }),
  ({ baseline, policy }) => checkNetwork(baseline, policy.policy),
  ({ baseline, nowMs }) => checkSystem(baseline, nowMs),
  ({ baseline, nowMs }) => checkAgentUnit(baseline, nowMs),
];

/** Judges a host. */
export function examine(host: HostView): Finding[] {
  return GROUPS.flatMap((group) => group(host)).map((finding) => ({ ...CHECKS[finding.check], ...finding }));
}
