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

/** What of it the host's policy refuses, as texts for status. */
export function describeRefusedAlerts(fleet: Fleet | undefined, policy: Policy): string[] {
  const { webhooks = [], heartbeat } = fleet?.alerts ?? {};
  const paths = [...webhooks.map(({ url_secret: path }) => path), heartbeat?.url_secret];
  const refused = paths.filter((path) => path !== undefined && !isAllowed(path, policy));
  const prefixes = policy.secrets.allowed_prefixes?.join(", ") ?? "";
  return refused.map((path) => `fleet.toml: alerts: the secret ${path} is outside ${prefixes}: nobody is told there`);
}

function isAllowed(path: string, { secrets }: Policy): boolean {
  const { allowed_prefixes: prefixes } = secrets;
  return prefixes === undefined || prefixes.some((prefix) => isInside(path, prefix));
}
