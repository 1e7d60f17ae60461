// Published ports in Docker's form: `[address:]host:container[/tcp|/udp]`. Used by the manifest schema, lint and the plan.

import { BlockList, isIP } from "node:net";

import { quoteText } from "../text/problem.ts";

/** One published port. `address` is undefined where the manifest leaves it to the node's private address. */
export interface PublishedPort {
  address: string | undefined;
  hostPort: number;
  containerPort: number;
  protocol: "tcp" | "udp";
}

const FORM = /^(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/;

/**
 * Parses one entry of `ports`.
 * @returns the port, or a text that says what is wrong
 */
export function parsePublishedPort(text: string): PublishedPort | string {
  if (/\d-\d/.test(text)) return "port ranges are not supported: write each port on its own";
  if (/^\d{1,5}(\/\w+)?$/.test(text)) return `the host port is missing: write "${text.replace(/^\d+/, "$&:$&")}"`;
  const match = FORM.exec(text);
  if (match === null) return 'write "8443:8443", "127.0.0.1:8443:8443" or "53:53/udp"';
  const written = match[1]?.replace(/^\[|\]$/g, "");
  if (written !== undefined && isIP(written) === 0) return `${quoteText(written)} is not an IP address`;
  const address = written === undefined ? undefined : normaliseAddress(written);
  const [hostPort, containerPort] = [Number(match[2]), Number(match[3])];
  if (hostPort < 1 || hostPort > 65_535) return `${hostPort} is not a port (1 to 65535)`;
  if (containerPort < 1 || containerPort > 65_535) return `${containerPort} is not a port (1 to 65535)`;
  return { address, hostPort, containerPort, protocol: match[4] === "udp" ? "udp" : "tcp" };
}

/**
 * One spelling for each address. `0::0`, `::` and `0:0:0:0:0:0:0:0` are one address, and Docker binds `::ffff:10.0.0.1` as
 * 10.0.0.1: a rule that compares addresses must not be passed by a spelling.
 * @param address a valid IP address
 */
export function normaliseAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  const short = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const words = [mapped[1], mapped[2]].map((word) => Number.parseInt(word ?? "0", 16));
  return words.flatMap((word) => [word >> 8, word & 255]).join(".");
}

/** True when the address means every address of the host. */
export function isEveryAddress(address: string | undefined): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** Networks that are not routed on the internet: RFC 1918, 6598, 4193, loopback and link-local (RFC 6890). */
const PRIVATE = buildBlockList([
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
]);

function buildBlockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

/**
 * True when what is published on this address may be reached from the internet.
 * @param address in its one spelling
 */
export function isPublicAddress(address: string): boolean {
  return isEveryAddress(address) || !PRIVATE.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Prints a port back in Docker's form. */
export function describePort(port: PublishedPort): string {
  const address =
    port.address === undefined ? "" : `${port.address.includes(":") ? `[${port.address}]` : port.address}:`;
  return `${address}${port.hostPort}:${port.containerPort}${port.protocol === "udp" ? "/udp" : ""}`;
}

/**
 * True when two published ports cannot both be bound on one host. IPv4 and IPv6 do not meet: Docker's proxy binds `tcp4` or
 * `tcp6`, never both at once (moby, cmd/docker-proxy/tcp_proxy_linux.go).
 */
export function portsClash(left: PublishedPort, right: PublishedPort): boolean {
  if (left.hostPort !== right.hostPort || left.protocol !== right.protocol) return false;
  if (left.address === right.address) return true;
  if (!isEveryAddress(left.address) && !isEveryAddress(right.address)) return false;
  return left.address === undefined || right.address === undefined || isIP(left.address) === isIP(right.address);
}
