// What other nodes say of this one: when it was dead for them. Pure; handed to the promise keeper by report.ts.

import type { LostNode } from "../../../shared/slo/availability.ts";
import type { FleetReader } from "../status/fleet-builder.ts";

/** Every loss of this node that its peers tell of, as they said it last. */
export function listOwnLosses(fleet: Pick<FleetReader, "view"> | undefined, own: string): LostNode[] {
  return (fleet?.view() ?? []).flatMap(({ words }) => (words?.lost ?? []).filter(({ node }) => node === own));
}
