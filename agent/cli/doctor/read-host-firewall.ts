// Reads the firewall of `orca firewall` that is loaded at boot, and makes the one of now from the fleet in force, for `orca doctor`. Reads only.

import { readFile } from "node:fs/promises";

import type { Fleet } from "../../../shared/fleet/fleet.ts";
import type { HostFirewallFact } from "../../doctor/doctor-facts.ts";
import { buildHostFirewall } from "../../setup/host-firewall.ts";

/** What `orca firewall confirm` keeps, and its unit loads at boot. */
export const HOST_FIREWALL_FILE = "/etc/orca/host-firewall.nft";

/** As the render writes it; the port is no part of fleet.toml, so the same one is taken again. */
const SSH_PORT = /@realm[46] tcp dport != (\d+) accept/;

/** Undefined where none is kept. */
export async function readHostFirewall(
  fleet: Fleet,
  node: string,
  file = HOST_FIREWALL_FILE,
): Promise<HostFirewallFact | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const sshPort = Number(SSH_PORT.exec(text)?.[1] ?? 22);
  return { node, file, text, now: buildHostFirewall(fleet, node, sshPort), sshPort };
}
