// The network half of `orca drill isolation`: tries one listener or one allowed call and says what came of it. Sends nothing but a
// connection's beginning, or a question for a name by UDP.

import { createSocket } from "node:dgram";
import { connect } from "node:net";

import type { AllowedCall, ForbiddenListener } from "../../desired/checks/isolation.ts";

/**
 * One thing that was tried. `held`: it was refused, as it must be; `allowed`: it is reachable, as it must be; `broken`: it is
 * reachable and must not be; `unguarded`: nothing listens there now, and no firewall would have held it; `missed`: it is not
 * reachable and must be; `unknown`: it could not be tried.
 */
export interface Probe {
  what: string;
  result: "held" | "allowed" | "broken" | "unguarded" | "missed" | "unknown";
  detail: string;
}

const ANSWER_MS = 3_000;
const NO_ANSWER = "no answer";
const NO_ANSWER_BY_UDP = "no answer, which by UDP may be the service's own silence";
/** How a connection ends that the other side, a router or a firewall has refused. */
const REFUSALS: ReadonlySet<string> = new Set([
  NO_ANSWER,
  NO_ANSWER_BY_UDP,
  "ECONNRESET",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EACCES",
  "EPERM",
]);
const AT_ONCE = 16;
/** A name server's root question (RFC 1035): whatever listens may answer, and nothing is changed by it. */
const QUESTION = Buffer.from("4f52010000010000000000000000020001", "hex");
/** An answer of the host itself: the packet came through. */
const FROM_HOST = "ECONNREFUSED";

/** Probes all, some at once; answers in the order of the places. */
export async function probeAll<T>(places: readonly T[], probe: (place: T) => Promise<Probe>): Promise<Probe[]> {
  const open = [...places.entries()];
  const probes: Probe[] = [];
  const work = async (): Promise<void> => {
    for (let next = open.shift(); next !== undefined; next = open.shift()) probes[next[0]] = await probe(next[1]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return probes;
}

/** Tries what must not be reachable. */
export async function probeListener({ service, host, port, protocol }: ForbiddenListener): Promise<Probe> {
  const what = `${service} at ${host}:${port}${protocol === "udp" ? "/udp" : ""}`;
  const trouble = protocol === "udp" ? await tryAsk(host, port) : await tryConnect(host, port);
  if (trouble === undefined) {
    const detail = protocol === "udp" ? "it answers this host" : "it takes connections from this host";
    return { what, result: "broken", detail };
  }
  if (trouble === FROM_HOST) {
    const detail = "the host itself answers that nothing listens there now: nothing on the way refused it";
    return { what, result: "unguarded", detail };
  }
  // What this host could not even try (no network, no file left, a name that nobody knows) was not refused by anybody.
  return { what, result: REFUSALS.has(trouble) ? "held" : "unknown", detail: trouble };
}

/** Tries what must be reachable. */
export async function probeAllowed({ service, host, port }: AllowedCall): Promise<Probe> {
  const what = `${service} as ${host}:${port}, which is allowed`;
  const trouble = await tryConnect(host, port);
  if (trouble === undefined) return { what, result: "allowed", detail: "it takes connections from this host" };
  return { what, result: "missed", detail: `it should take connections from this host: ${trouble}` };
}

/** Why no connection came about; undefined where it did. */
function tryConnect(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ANSWER_MS });
    const end = (trouble: string | undefined): void => {
      socket.destroy();
      resolve(trouble);
    };
    socket.once("connect", () => end(undefined));
    socket.once("timeout", () => end(NO_ANSWER));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}

/** Why no answer came; undefined where one did. */
function tryAsk(host: string, port: number): Promise<string | undefined> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const end = (trouble: string | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(trouble);
    };
    const timer = setTimeout(() => end(NO_ANSWER_BY_UDP), ANSWER_MS);
    socket.once("message", () => end(undefined));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("connect", () => socket.send(QUESTION));
    // Connected, so that an error on the way is told.
    socket.connect(port, host);
  });
}
