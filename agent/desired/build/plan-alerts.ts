// From the table [alerts] of fleet.toml to where this node tells of trouble, and which secrets that takes. What the host's policy does not
// let the agent read is left out, and said. Pure.

import type { AlertChannelPlan, AlertPlan } from "../../../shared/fleet/alert-plan.ts";
import type { Fleet } from "../../../shared/fleet/fleet.ts";
import type { Policy } from "../../../shared/policy/policy.ts";
import { isInside } from "../policy/policy-check.ts";

/** Undefined where fleet.toml names nobody. */
export function planAlerts(fleet: Fleet | undefined, policy: Policy): AlertPlan | undefined {
  if (fleet?.alerts === undefined) return undefined;
  const { webhooks, repeat: repeatMs, heartbeat } = fleet.alerts;
  const channels = webhooks.flatMap(({ url_secret: secret, gitea_issues: isGitea, min }): AlertChannelPlan[] => {
    if (secret !== undefined) return isAllowed(secret, policy) ? [{ kind: "webhook", secret, min }] : [];
    return isGitea === true ? [{ kind: "gitea", min }] : [];
  });
  const called = heartbeat !== undefined && isAllowed(heartbeat.url_secret, policy) ? heartbeat : undefined;
  if (channels.length === 0 && called === undefined) return undefined;
  return { channels, repeatMs, heartbeat: called && { secret: called.url_secret, everyMs: called.every } };
}

/** The secrets that telling takes. */
export function listAlertSecrets(plan: AlertPlan | undefined): string[] {
  const urls = (plan?.channels ?? []).flatMap((channel) => (channel.kind === "webhook" ? [channel.secret] : []));
  return plan?.heartbeat === undefined ? urls : [...urls, plan.heartbeat.secret];
}

/** A secret of `[alerts]` that the host's policy refuses. */
interface RefusedAlert {
  /** Its key below `[alerts]`. */
  path: readonly (string | number)[];
  message: string;
}

/** What of it the host's policy refuses: asked by lint, and told by the agent's status. */
export function listRefusedAlerts(fleet: Fleet | undefined, policy: Policy): RefusedAlert[] {
  const { webhooks = [], heartbeat } = fleet?.alerts ?? {};
  const named = [
    ...webhooks.map(({ url_secret: secret }, at) => ({ path: ["webhooks", at, "url_secret"], secret })),
    { path: ["heartbeat", "url_secret"], secret: heartbeat?.url_secret },
  ];
  const prefixes = policy.secrets.allowed_prefixes?.join(", ") ?? "";
  return named.flatMap(({ path, secret }) =>
    secret === undefined || isAllowed(secret, policy)
      ? []
      : [{ path, message: `the secret ${secret} is outside ${prefixes}: nobody is told there` }],
  );
}

/** The same as texts for status. */
export function describeRefusedAlerts(fleet: Fleet | undefined, policy: Policy): string[] {
  return listRefusedAlerts(fleet, policy).map(({ message }) => `fleet.toml: alerts: ${message}`);
}

function isAllowed(path: string, { secrets }: Policy): boolean {
  const { allowed_prefixes: prefixes } = secrets;
  return prefixes === undefined || prefixes.some((prefix) => isInside(path, prefix));
}
