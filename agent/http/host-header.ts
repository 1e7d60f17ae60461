// Which requests a loopback listener answers: only those whose Host header names loopback itself. A web page elsewhere can
// make a name resolve to 127.0.0.1 and read the answer (DNS rebinding); its Host header gives it away. Pure.

import { isIP } from "node:net";

/** One place to listen at. */
export interface ListenAddress {
  host: string;
  port: number;
}

/**
 * Parses `127.0.0.1:7070`, `[::1]:7070` or `localhost:7070`.
 * @returns the address, or what is wrong with it
 */
export function parseListenAddress(text: string): ListenAddress | string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) return `${JSON.stringify(text)} is no address: write "127.0.0.1:7070"`;
  const port = Number(match?.[3]);
  if (port > 65_535) return `${port} is not a port`;
  if (!isLoopback(host))
    return `${JSON.stringify(text)} is not on loopback: status needs no login, so it listens nowhere else`;
  return { host, port };
}

/** True for an address that only this host can reach. */
function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** True when a Host header names loopback, with any port. */
export function isAllowedHost(header: string | undefined): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(header ?? "");
  const host = match?.[1] ?? match?.[2];
  // A resolver may add the dot that ends a full name.
  return host !== undefined && isLoopback(host.toLowerCase().replace(/^localhost\.$/, "localhost"));
}
