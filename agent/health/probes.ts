// The probes themselves: http, tcp and exec, without any tool inside the image for the first two. Against the own
// container only, no redirects followed. Each answers within its timeout and never throws.

import { lookup as lookupName } from "node:dns";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { connect, isIP, type LookupFunction } from "node:net";

import type { HealthCheck } from "../../shared/manifest/manifest.ts";
import { type DockerExec, EngineError } from "../docker/reader.ts";
import { getStatus, type GotStatus } from "./plain-get.ts";
import type { ProbeResult } from "./thresholds.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** What to probe. */
export interface ProbeTarget {
  container: string;
  /** The container's address on the node's network; undefined while it has none. */
  address: string | undefined;
  check: HealthCheck;
}

/** Of what a failed command printed, so much is kept. */
const LONGEST_OUTPUT = 200;

/** Runs one probe of a container. */
export async function probeContainer(target: ProbeTarget, exec: DockerExec): Promise<ProbeResult> {
  const { check, address } = target;
  if (check.exec !== undefined) return probeExec(target, check.exec, exec);
  if (address === undefined || address === "") return { kind: "not-made", message: "the container has no address" };
  if (check.tcp !== undefined) return probeTcp({ host: address, port: check.tcp.port, timeoutMs: check.timeout });
  const { scheme, port, path, status } = check.http as NonNullable<HealthCheck["http"]>;
  const url = `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}${path}`;
  // The certificate is for the service's public name, and the peer is our own container: it is not checked here.
  return probeHttp({ url, accept: (code) => status.includes(code), timeoutMs: check.timeout, checkCertificate: false });
}

/** Says why an address that an endpoint leads to may not be asked; undefined where it may. */
export type AddressJudge = (url: string, address: string) => string | undefined;

/**
 * Probes an endpoint that a service requires: `tcp://host:port`, or any answer from 200 to 399 over http and https.
 * @param judge asked for every address before it is connected to, also where a name leads to it
 */
export function probeEndpoint(url: string, timeoutMs: number, judge: AddressJudge): Promise<ProbeResult> {
  const parsed = new URL(url);
  const host = parsed.hostname.replace(/^\[|\]$/g, "");
  const fault = isIP(host) === 0 ? undefined : judge(url, host);
  if (fault !== undefined) return Promise.resolve({ kind: "failed", message: describeClosed(url, fault) });
  const lookup = buildLookup((address) => judge(url, address));
  if (parsed.protocol === "tcp:") return probeTcp({ host, port: Number(parsed.port), timeoutMs, lookup });
  return probeHttp({ url, accept: (code) => code >= 200 && code < 400, timeoutMs, checkCertificate: true, lookup });
}

function describeClosed(url: string, fault: string): string {
  return `${url} is not asked: ${fault} (policy: endpoints.allowed)`;
}

/** A resolver that gives no address which may not be asked. */
function buildLookup(judge: (address: string) => string | undefined): LookupFunction {
  return (host, options, done) => {
    lookupName(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, []);
      const open = found.filter(({ address }) => judge(address) === undefined);
      const [first] = open;
      if (first === undefined) {
        const fault = judge(found[0]?.address ?? "") ?? "it has no address";
        return done(new Error(`${host} is not asked: ${fault} (policy: endpoints.allowed)`), []);
      }
      return options.all === true ? done(null, open) : done(null, first.address, first.family);
    });
  };
}

async function probeExec(target: ProbeTarget, command: readonly string[], exec: DockerExec): Promise<ProbeResult> {
  try {
    const { exitCode, output } = await exec.run(target.container, command, target.check.timeout);
    if (exitCode === 0) return { kind: "ok", message: `${command[0]} ended with 0` };
    const failed = { kind: "failed", message: `${command[0]} ended with ${exitCode}` } as const;
    const printed = output.trim().slice(0, LONGEST_OUTPUT);
    return printed === "" ? failed : { ...failed, output: printed };
  } catch (error) {
    const timedOut = error instanceof EngineError && error.status === 408;
    return { kind: timedOut ? "failed" : "not-made", message: readMessage(error) };
  }
}

function probeTcp(at: {
  host: string;
  port: number;
  timeoutMs: number;
  lookup?: LookupFunction;
}): Promise<ProbeResult> {
  const place = `${at.host}:${at.port}`;
  return new Promise((resolve) => {
    const { host, port, lookup } = at;
    const socket = connect({ host, port, ...(lookup === undefined ? {} : { lookup }) });
    const settle = (result: ProbeResult): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => settle({ kind: "failed", message: `${place} took no connection in time` }),
      at.timeoutMs,
    );
    socket.once("connect", () => settle({ kind: "ok", message: `${place} takes connections` }));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      settle({ kind: "failed", message: `${place}: ${error.code ?? error.message}` }),
    );
  });
}

interface HttpProbe {
  url: string;
  accept(code: number): boolean;
  timeoutMs: number;
  checkCertificate: boolean;
  lookup?: LookupFunction;
}

// Each probe has a connection of its own: a service that takes no new one is not healthy. The agent for TLS is shared, since
// making one for each probe cost more than the probe.
const httpsAgent = new HttpsAgent({ keepAlive: false, maxCachedSessions: 0 });

/** Asks; answers how to end it. */
function openRequest({ url, checkCertificate, lookup }: HttpProbe, got: GotStatus): () => void {
  const { protocol, hostname, port, host: authority, pathname, search } = new URL(url);
  const resolving = lookup === undefined ? {} : { lookup };
  if (protocol === "https:") {
    const headers = ["host", authority, "user-agent", "orca-probe", "connection", "close"];
    const tls = { agent: httpsAgent, headers, rejectUnauthorized: checkCertificate, ...resolving };
    const request = requestHttps(url, tls);
    request.once("response", (response) => {
      response.resume();
      got(response.statusCode ?? 0, "");
    });
    request.on("error", (error: NodeJS.ErrnoException) => got(undefined, error.code ?? error.message));
    request.end();
    return () => request.destroy();
  }
  const host = hostname.replace(/^\[|\]$/g, "");
  const path = `${pathname}${search}`;
  return getStatus({ host, port: port === "" ? 80 : Number(port), ...resolving, path, authority }, got);
}

function probeHttp(probe: HttpProbe): Promise<ProbeResult> {
  const { url, timeoutMs } = probe;
  return new Promise((resolve) => {
    const settle = (result: ProbeResult): void => {
      clearTimeout(timer);
      end();
      resolve(result);
    };
    const timer = setTimeout(() => settle({ kind: "failed", message: `GET ${url}: no answer in time` }), timeoutMs);
    const end = openRequest(probe, (status, fault) => {
      const isOk = status !== undefined && probe.accept(status);
      settle({ kind: isOk ? "ok" : "failed", message: `GET ${url}: ${status ?? fault}` });
    });
  });
}
