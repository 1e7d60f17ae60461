// The firewall between realms: whether it is loaded where fleet.toml has more than one, knows every machine of the others, and will be
// there after a boot.

import { BlockList, isIP } from "node:net";

import { type Finding, fine } from "./finding.ts";
import type { AddressRange, FirewallFact, HostView } from "./doctor-facts.ts";

const CHECK = "firewall between realms";

/** Judges the firewall; says nothing where nothing is known of the fleet, or it has one realm only. */
export function checkFirewall({ firewall }: HostView): Finding[] {
  if (firewall === undefined || firewall.others.length === 0) return [];
  const { loaded, others, realm, atBoot, file } = firewall;
  const realms = [...new Set(others.map((node) => node.realm))].join(", ");
  // Which of two realms may call the other is nothing that fleet.toml says.
  const install =
    `in a checkout of Orca: install -m 600 host-config/firewall/stage.nft ${file} where ${realm} is the side that calls, ` +
    "host-config/firewall/production.nft where it is called; write your addresses into it; " +
    "install -m 644 systemd/orca-firewall.service /etc/systemd/system/; systemctl enable --now orca-firewall";
  const why = `between ${realm} and ${realms} only what the firewall names as doors may pass; manifests and policy cannot hold a program that connects by itself`;
  const unseen = (trouble: string, fix: string): Finding[] => [
    { check: CHECK, severity: "warn", what: `it cannot be looked at: ${trouble}`, why, fix },
  ];
  if (loaded.kind === "no-program") return unseen("nft is not installed", "apt-get install nftables");
  if (loaded.kind === "unknown") return unseen(loaded.trouble, "run orca doctor as root");
  if (loaded.kind === "no")
    return [{ check: CHECK, severity: "fail", what: "no table inet orca_isolation is loaded", why, fix: install }];
  const findings = listUncovered(firewall, loaded.others);
  if (!atBoot) {
    const what = `it is loaded, and nothing will load ${file} at the next boot`;
    findings.push({ check: CHECK, severity: "warn", what, why, fix: install });
  }
  return findings.length > 0 ? findings : [fine(CHECK, `it is loaded and knows every machine of ${realms}`)];
}

function listUncovered({ others, file }: FirewallFact, ranges: readonly AddressRange[]): Finding[] {
  const known = new BlockList();
  for (const range of ranges) addRange(known, range);
  return others
    .filter(({ address }) => !known.check(address, familyOf(address)))
    .map(({ node, address, realm }): Finding => {
      const what = `it does not know ${node} of ${realm} (${address})`;
      const why = `whatever goes to or comes from ${address} passes`;
      const fix = `add ${address} to the addresses at the top of ${file}, then systemctl reload orca-firewall`;
      return { check: CHECK, severity: "fail", what, why, fix };
    });
}

function addRange(list: BlockList, range: AddressRange): void {
  if (typeof range === "string") list.addAddress(range, familyOf(range));
  else if ("addr" in range) list.addSubnet(range.addr, range.len, familyOf(range.addr));
  else list.addRange(range.from, range.to, familyOf(range.from));
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}
