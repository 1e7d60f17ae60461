// Which of the agent's own ports the services of this node publish: such a port is theirs. Pure.

import type { DesiredState } from "../../shared/state/desired-state.ts";
import { parsePublishedPort, portsClash } from "../../shared/manifest/published-port.ts";
import { type ListenAddress, parseListenAddress } from "../http/host-header.ts";

/** Selects the listening ports that a wanted service publishes, with its name. */
export function selectTakenPorts(desired: DesiredState, listen: readonly string[]): Map<number, string> {
  const taken = new Map<number, string>();
  const addresses = listen.map(parseListenAddress).filter((address) => typeof address !== "string");
  for (const service of desired.services.values()) {
    if (!service.running) continue;
    for (const text of service.spec.ports ?? []) {
      const address = addresses.find((own) => clashes(text, own));
      if (address !== undefined && !taken.has(address.port)) taken.set(address.port, service.name);
    }
  }
  return taken;
}

function clashes(text: string, own: ListenAddress): boolean {
  const port = parsePublishedPort(text);
  if (typeof port === "string") return false;
  const address = own.host === "localhost" ? "127.0.0.1" : own.host;
  return portsClash(port, { address, hostPort: own.port, containerPort: own.port, protocol: "tcp" });
}
