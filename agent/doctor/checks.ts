// Every group of checks of `orca doctor`, in the order in which people read them. A later group (the engine, sshd, backups) is one more entry. Pure.

import type { HelpTopic } from "../../shared/text/help-topic.ts";
import { checkDelivery } from "./delivery-checks.ts";
import type { HostView } from "./doctor-facts.ts";
import { checkFiles } from "./file-checks.ts";
import type { Finding } from "./finding.ts";
import { checkFirewall } from "./firewall-checks.ts";
import { checkMountWatch } from "./mount-checks.ts";
import { checkProvider } from "./provider-checks.ts";
import { checkWebhook } from "./webhook-checks.ts";

const GROUPS: readonly ((host: HostView) => Finding[])[] = [
  checkProvider,
  checkFiles,
  checkDelivery,
  checkMountWatch,
  checkFirewall,
  checkWebhook,
];

/** Checks that another page is about than that of secrets. */
const PAGES: Readonly<Record<string, HelpTopic>> = {
  policy: "policy",
  "mounts of containers": "policy",
  webhook: "git",
  "firewall between realms": "stage",
};

/** Judges a host. */
export function examine(host: HostView): Finding[] {
  return GROUPS.flatMap((group) => group(host)).map((finding) => ({
    ...finding,
    page: PAGES[finding.check] ?? "secrets",
  }));
}
