// Which endpoints a manifest may have this host ask: `requires` and `wants` are asked from the host's own network, where more
// answers than in a container. Judged as written, by the agent and by lint, and again by every address that a name leads to, when
// it is asked. Pure.

import { BlockList, isIP } from "node:net";

import type { Policy } from "../../../shared/policy/policy.ts";
import { normaliseAddress } from "../../../shared/manifest/published-port.ts";

/**
 * What nobody outside of a host means by an address: the host itself, its link, groups, and where clouds answer with a machine's
 * credentials (AWS, GCP and Azure at 169.254.169.254 and fd00:ec2::254, Alibaba, Oracle in 169.254.0.0/16, Azure's 168.63.129.16).
 */
const CLOSED = buildList([
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "100.100.100.200/32",
  "168.63.129.16/32",
  "::/128",
  "::1/128",
  "fe80::/10",
  "ff00::/8",
  "fd00:ec2::254/128",
]);
const CLOSED_NAMES = /^(?:localhost|.*\.localhost|ip6-localhost|ip6-loopback|metadata|metadata\.google\.internal)$/;

function buildList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/** An address in its one spelling: one in IPv6 that stands for one in IPv4 is that one. */
function unfold(address: string): string {
  const plain = normaliseAddress(address.replace(/%.*$/, ""));
  const translated = /^64:ff9b::([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain);
  return translated === null ? plain : normaliseAddress(`::ffff:${translated[1]}:${translated[2]}`);
}

function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function readHost(url: string): string {
  return new URL(url).hostname
    .replaceAll(/^\[|\]$/g, "")
    .replace(/\.$/, "")
    .toLowerCase();
}

/** Addresses and networks of a list, without its names. */
function selectNetworks(allowed: readonly string[]): BlockList {
  return buildList(allowed.filter((entry) => isIP(entry.split("/", 1)[0] ?? "") !== 0).map(unfoldNetwork));
}

function unfoldNetwork(entry: string): string {
  const [address = "", bits] = entry.split("/");
  return bits === undefined ? unfold(address) : `${address}/${bits}`;
}

function isNamed(host: string, allowed: readonly string[]): boolean {
  return allowed.some((entry) =>
    entry === "*" ? true : entry.startsWith("*.") ? host.endsWith(entry.slice(1)) : entry.toLowerCase() === host,
  );
}

/**
 * Judges an endpoint as it is written.
 * @returns what is wrong, in words; undefined where it may be asked
 */
export function judgeEndpoint(url: string, { endpoints }: Policy): string | undefined {
  const host = readHost(url);
  const { allowed } = endpoints;
  if (isIP(host) !== 0) return judgeAddress(url, host, { endpoints });
  if (allowed !== undefined)
    return isNamed(host, allowed) ? undefined : `${host} is not one of ${allowed.join(", ") || "none"}`;
  return CLOSED_NAMES.test(host) ? `${host} is this host's own` : undefined;
}

/**
 * Judges an address that an endpoint leads to, just before it is asked. A name that the policy allows may lead anywhere but to what
 * is closed; what is closed is opened by its address or network, or by the name written out.
 * @param address as the resolver gave it
 */
export function judgeAddress(
  url: string,
  address: string,
  { endpoints }: Pick<Policy, "endpoints">,
): string | undefined {
  const plain = unfold(address);
  const host = readHost(url);
  const { allowed } = endpoints;
  if (allowed?.includes("*") === true) return undefined;
  if (allowed !== undefined && isIn(selectNetworks(allowed), plain)) return undefined;
  const written = isIP(host) === 0;
  if (isIn(CLOSED, plain))
    return written && allowed?.some((entry) => entry.toLowerCase() === host) === true
      ? undefined
      : `${plain} is this host's own, its link's or a cloud's for its machines`;
  if (allowed === undefined || written) return undefined;
  return `${plain} is not one of ${allowed.join(", ") || "none"}`;
}
