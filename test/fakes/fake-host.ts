// What the fake engine's host has for containers: ports that other programs hold, and paths that are not there. The engine answers by
// it, and the agent's own look at the host does.

import { EngineError } from "../../agent/docker/reader.ts";
import type { ObstacleProbe } from "../../agent/host/os/host-obstacles.ts";
import type { ContainerSpec } from "../../shared/state/container-spec.ts";
import { type PublishedPort, portsClash } from "../../shared/manifest/published-port.ts";
import { parsePorts } from "./fake-container.ts";

/** The host of a fake engine. */
export class FakeHost {
  /** Ports that programs outside the engine hold, as manifests write them. */
  readonly heldPorts = new Set<string>();
  /** Paths that are not on the host. */
  readonly missingSources = new Set<string>();

  /** Containers of whose last start something is left over: each answers every start and removal in its own way. */
  readonly leftOver = new Map<string, { start?: EngineError; remove?: EngineError }>();

  readonly obstacles: ObstacleProbe = {
    tryPort: async (port) => (this.#isHeld(port) ? "in-use" : undefined),
    isMissing: async (path) => this.missingSources.has(path),
  };

  /** Throws as the engine does when a bind's source is not there. */
  checkSources(spec: ContainerSpec | undefined): void {
    const missing = spec?.volumes?.find(({ source }) => source !== undefined && this.missingSources.has(source));
    if (missing === undefined) return;
    throw new EngineError(
      `invalid mount config for type "bind": bind source path does not exist: ${missing.source}`,
      400,
    );
  }

  /** Throws what is left over says. */
  checkLeftOver(id: string, call: "start" | "remove"): void {
    const error = this.leftOver.get(id)?.[call];
    if (error !== undefined) throw error;
  }

  /** Throws as the engine does when a port cannot be bound. */
  checkPorts(ports: readonly PublishedPort[]): void {
    const held = ports.find((port) => this.#isHeld(port));
    if (held === undefined) return;
    throw new EngineError(`start container: listen tcp4 0.0.0.0:${held.hostPort}: bind: address already in use`, 500);
  }

  #isHeld(port: PublishedPort): boolean {
    return parsePorts([...this.heldPorts]).some((held) => portsClash(port, held));
  }
}
