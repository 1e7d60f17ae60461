// The firewall of one VM as nftables reads it, from fleet.toml: a table of its own beside Docker's rules, ufw's and the one between realms.
// It judges what was called before Docker translates it, so published ports are judged too. A person applies it. Pure.

import { isIPv6 } from "node:net";

import type { Fleet } from "../../shared/fleet/fleet.ts";

/** The table's name; `inet`, so both IP versions are in it. */
export const HOST_TABLE = "orca_host";

/** What is wrong with a fleet.toml to make a firewall from it. */
export interface FirewallFault {
  what: string;
  fix: string;
}

/** A rule's sources, by IP version; undefined for everybody. */
type Sources = { v4: string[]; v6: string[] } | undefined;

/**
 * Renders it.
 * @param name a node of the fleet
 * @param sshPort where this VM's sshd listens
 * @returns the text of the file, or what has to be said in fleet.toml first
 */
export function buildHostFirewall(fleet: Fleet, name: string, sshPort = 22): string | FirewallFault {
  const node = fleet.nodes[name];
  const host = fleet.host;
  if (node === undefined || host === undefined || host.ssh.length === 0) {
    const what = "nothing says from where SSH is let in, and a firewall without it would lock everybody out";
    return { what, fix: 'write [host] ssh = ["198.51.100.0/24"], or the name of one of its networks' };
  }
  const peers = Object.entries(fleet.nodes).filter(([other, { env }]) => other !== name && env === node.env);
  const realm = splitVersions(peers.map(([, { address }]) => address));
  const find = (words: readonly string[]): Sources => {
    if (words.includes("any")) return undefined;
    const networks = words.flatMap((word) => {
      if (word === "fleet") return [...realm.v4, ...realm.v6];
      return Object.hasOwn(host.networks, word) ? (host.networks[word] ?? []) : [word];
    });
    return splitVersions(networks);
  };
  const open = host.open.filter(({ nodes }) => nodes === undefined || nodes.includes(name));
  const subnet = node.network.subnet;
  const containers = splitVersions(["172.16.0.0/12", "fd00::/8", ...(subnet === undefined ? [] : [subnet])]);
  const rules = [
    ...allow(find(host.ssh), "tcp", sshPort, "SSH"),
    ...open.flatMap(({ from, protocol, port }) => allow(find(from), protocol, port, from.join(", "))),
  ];
  return render({ name, env: node.env, realm, containers, rules, sshPort });
}

function splitVersions(networks: readonly string[]): { v4: string[]; v6: string[] } {
  const unique = [...new Set(networks)];
  return { v4: unique.filter((text) => !isVersion6(text)), v6: unique.filter(isVersion6) };
}

function isVersion6(network: string): boolean {
  return isIPv6(network.split("/", 1)[0] ?? "");
}

function allow(sources: Sources, protocol: "tcp" | "udp", port: number, why: string): string[] {
  const call = `${protocol} dport ${port} accept comment "${why.slice(0, 100)}"`;
  if (sources === undefined) return [call];
  return [
    ...(sources.v4.length === 0 ? [] : [`ip saddr ${braces(sources.v4)} ${call}`]),
    ...(sources.v6.length === 0 ? [] : [`ip6 saddr ${braces(sources.v6)} ${call}`]),
  ];
}

function braces(words: readonly string[]): string {
  return `{ ${words.join(", ")} }`;
}

function setOf(name: string, version: 4 | 6, elements: readonly string[]): string {
  const list = elements.length === 0 ? "" : ` elements = ${braces(elements)};`;
  return `  set ${name}${version} { type ipv${version}_addr; flags interval; auto-merge;${list} }`;
}

const METADATA = `  # It would show a container this VM's user-data, and on some clouds credentials. Where it is the resolver too, port 53 stays open.
  chain metadata {
    type filter hook forward priority filter; policy accept;
    ip daddr 169.254.169.254 meta l4proto { tcp, udp } th dport != 53 counter name refused_metadata drop
    ip6 daddr { fd00:ec2::254, fd20:ce::254 } meta l4proto { tcp, udp } th dport != 53 counter name refused_metadata drop
  }
`;

interface Parts {
  name: string;
  env: string;
  realm: { v4: string[]; v6: string[] };
  containers: { v4: string[]; v6: string[] };
  rules: readonly string[];
  sshPort: number;
}

function render({ name, env, realm, containers, rules, sshPort }: Parts): string {
  return `#!/usr/sbin/nft -f
# The firewall of ${name}, from fleet.toml. It is loaded with orca firewall apply, and never by a commit. orca help firewall
table inet ${HOST_TABLE}
delete table inet ${HOST_TABLE}

table inet ${HOST_TABLE} {
  comment "${name}: what may come in"

  # The other VMs of the realm ${env}.
${setOf("realm", 4, realm.v4)}
${setOf("realm", 6, realm.v6)}
  # Networks of containers: their way out, and to this host, is not what this table is about.
${setOf("containers", 4, containers.v4)}
${setOf("containers", 6, containers.v6)}

  counter refused { comment "packets that began something here and were dropped"; }
  counter refused_metadata { comment "packets of containers for the cloud's metadata that were dropped"; }

  # Before Docker's translation (dstnat, -100): what counts is the port that was called, whoever listens behind it.
  chain arriving {
    type filter hook prerouting priority mangle; policy accept;
    ct state { established, related } accept
    iif lo accept
    iifname "docker*" jump from_containers
    iifname "br-*" jump from_containers
    jump let_in
    limit rate 6/minute burst 10 packets log prefix "orca-host refused: " level info
    counter name refused drop
  }

  # The same once more for what this host itself is called for, in a chain that drops what it does not name.
  chain to_host {
    type filter hook input priority filter; policy drop;
    ct state { established, related } accept
    iif lo accept
    iifname "docker*" jump from_containers
    iifname "br-*" jump from_containers
    jump let_in
  }

  # A bridge that is not Docker's has other sources, and is judged like everybody.
  chain from_containers {
    ip saddr @containers4 accept
    ip6 saddr @containers6 accept
    ip6 saddr fe80::/10 accept
  }

${renderLetIn(rules, sshPort)}
${METADATA}}
`;
}

function renderLetIn(rules: readonly string[], sshPort: number): string {
  return `  chain let_in {
    icmp type { echo-request, destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query } accept
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
    ip saddr @realm4 tcp dport != ${sshPort} accept
    ip6 saddr @realm6 tcp dport != ${sshPort} accept
    ip saddr @realm4 meta l4proto udp accept
    ip6 saddr @realm6 meta l4proto udp accept
${rules.map((rule) => `    ${rule}\n`).join("")}  }
`;
}
