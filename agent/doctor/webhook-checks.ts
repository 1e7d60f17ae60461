// Pushes that never arrive: a forge that does not deliver to this node's address tells nobody here. Pure.

import { describeAllowedHosts } from "../../shared/config/webhook-address.ts";
import type { HostView, WebhookFact } from "./doctor-facts.ts";
import { type Finding, fine } from "./finding.ts";
import { describeCount } from "../../shared/text/count.ts";

const CHECK = "webhook";
const WHY = "without pushes a commit waits for the next poll";

/** Judges whether pushes come to where agent.toml waits for them. */
export function checkWebhook({ webhook }: HostView): Finding[] {
  if (webhook === undefined) return [];
  const { listen, answers } = webhook;
  if (answers === undefined)
    return listAddress(webhook, "whether pushes come there is not known: the agent does not answer");
  const { signed, refused, polled, last } = answers;
  if (signed > 0) return [fine(CHECK, `pushes come to ${listen}`)];
  if (refused > 0) {
    const what = `every request to ${listen} was refused since the agent was started; the last one: ${last}`;
    return [{ check: CHECK, severity: "warn", what, why: WHY, fix: "correct the hook at the forge as it says there" }];
  }
  const none = "no push has come since the agent was started";
  if (polled === 0) return listAddress(webhook, none);
  const came = describeCount(polled, "commit");
  const what = `${none}, and ${came} came by polling; pushes are waited for on ${listen}`;
  return [{ check: CHECK, severity: "warn", what, why: WHY, fix: describeFix(listen) }];
}

/** An address that needs a word of the forge is listed, also while nothing is wrong yet. */
function listAddress({ listen }: WebhookFact, what: string): Finding[] {
  if (describeAllowedHosts(listen) === undefined) return [fine(CHECK, `pushes are waited for on ${listen}`)];
  return [{ check: CHECK, severity: "info", what: `${listen}: ${what}`, why: WHY, fix: describeFix(listen) }];
}

function describeFix(listen: string): string {
  const allowed = describeAllowedHosts(listen);
  const look = "look at the hook's deliveries at the forge, and use its test button";
  return allowed === undefined ? look : `${look}; ${allowed}`;
}
