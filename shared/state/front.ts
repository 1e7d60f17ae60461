// Fronts: the small proxy that owns the name and the ports of one start-first service for good, so that two containers of
// it can run side by side and the traffic goes from one to the other without a lost request (behaviour, section 2).

/** The image that fronts are made from where the host says nothing else. */
export const FRONT_IMAGE = "haproxy:3.2-alpine";

/** What a front may use; counted in the node's memory budget. */
export const FRONT_MEMORY_BYTES = 32 * 2 ** 20;

/** Where a front finds its configuration and its control socket, inside its container. */
export const FRONT_CONFIG = "/etc/orca-front.cfg";
export const FRONT_CONTROL = "/run/orca-front";

/** How long open connections may stay with the old container where the manifest does not say. */
export const DEFAULT_DRAIN_MS = 30_000;

const SUFFIX = ".front";

/** The name under which a service's front is shown; no manifest can have it, since names have no dots. */
export function nameFront(service: string): string {
  return `${service}${SUFFIX}`;
}

/** The service whose front has this name; undefined where it is no front's name. */
export function findFronted(name: string): string | undefined {
  return name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : undefined;
}

/** The lane in which traffic is switched, and the one in which a container without traffic is drained and ended. */
export function nameFrontLanes(service: string): { traffic: string; retire: string } {
  return { traffic: `${service}.traffic`, retire: `${service}.old` };
}

/** The service that a lane belongs to: the lanes of a front's work carry a suffix. */
export function findLaneService(lane: string): string {
  return lane.replace(/\.(traffic|old)$/, "");
}

/** The name of the backend for one port in a front's configuration; the same in what is written and what is asked. */
export function nameBackend(port: number): string {
  return `to_${port}`;
}

/** Who gets a front's traffic in one run of it: as the front said itself, or as this agent has told it since. */
export interface FrontRouting {
  /** The front's container and when it was started: another run knows nothing. */
  run: string;
  /** The address that gets its traffic; undefined for none. */
  address: string | undefined;
  /** Its ports do not all go to that address, or not to it alone: it was told half of something. */
  uneven?: true;
  /** It was asked and did not answer, in words: nothing is known of its traffic. */
  silent?: string;
}
