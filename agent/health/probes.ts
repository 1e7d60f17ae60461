// The probes themselves: http, tcp and exec, without any tool inside the image for the first two. Against the own
// container only, no redirects followed. Each answers within its timeout and never throws.

import { type ClientRequest, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { connect } from "node:net";

import type { HealthCheck } from "../../shared/manifest.ts";
import { type DockerExec, EngineError } from "../docker/reader.ts";
import type { ProbeResult } from "./thresholds.ts";

/** What to probe. */
export interface ProbeTarget {
  container: string;
  /** The container's address on the node's network; undefined while it has none. */
  address: string | undefined;
  check: HealthCheck;
}

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

/** Probes an endpoint that a service requires: `tcp://host:port`, or any answer from 200 to 399 over http and https. */
export function probeEndpoint(url: string, timeoutMs: number): Promise<ProbeResult> {
  const parsed = new URL(url);
  if (parsed.protocol === "tcp:") {
    return probeTcp({ host: parsed.hostname.replace(/^\[|\]$/g, ""), port: Number(parsed.port), timeoutMs });
  }
  return probeHttp({ url, accept: (code) => code >= 200 && code < 400, timeoutMs, checkCertificate: true });
}

async function probeExec(target: ProbeTarget, command: readonly string[], exec: DockerExec): Promise<ProbeResult> {
  try {
    const { exitCode, output } = await exec.run(target.container, command, target.check.timeout);
    if (exitCode === 0) return { kind: "ok", message: `${command[0]} ended with 0` };
    const said = output.trim() === "" ? "" : `: ${output.trim().slice(0, 200)}`;
    return { kind: "failed", message: `${command[0]} ended with ${exitCode}${said}` };
  } catch (error) {
    const timedOut = error instanceof EngineError && error.status === 408;
    return { kind: timedOut ? "failed" : "not-made", message: error instanceof Error ? error.message : String(error) };
  }
}

function probeTcp(at: { host: string; port: number; timeoutMs: number }): Promise<ProbeResult> {
  const place = `${at.host}:${at.port}`;
  return new Promise((resolve) => {
    const socket = connect({ host: at.host, port: at.port });
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
}

// Each probe has a connection of its own: a service that takes no new one is not healthy. The agent for TLS is shared, since
// making one for each probe cost more than the probe.
const httpsAgent = new HttpsAgent({ keepAlive: false, maxCachedSessions: 0 });

/** Without TLS a probe needs no agent: it opens its connection itself, which is a third of the probe's price less. */
function openRequest(url: string, checkCertificate: boolean): ClientRequest {
  const { protocol, hostname, port, host, pathname, search } = new URL(url);
  const headers = ["host", host, "user-agent", "orca-probe", "connection", "close"];
  if (protocol === "https:")
    return requestHttps(url, { agent: httpsAgent, headers, rejectUnauthorized: checkCertificate });
  const at = { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 80 : Number(port) };
  return requestHttp({ path: `${pathname}${search}`, headers, createConnection: () => connect(at) });
}

function probeHttp(probe: HttpProbe): Promise<ProbeResult> {
  const { url, timeoutMs } = probe;
  return new Promise((resolve) => {
    const request = openRequest(url, probe.checkCertificate);
    const settle = (result: ProbeResult): void => {
      clearTimeout(timer);
      request.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => settle({ kind: "failed", message: `GET ${url}: no answer in time` }), timeoutMs);
    request.once("response", (response) => {
      const code = response.statusCode ?? 0;
      response.resume();
      settle({ kind: probe.accept(code) ? "ok" : "failed", message: `GET ${url}: ${code}` });
    });
    request.on("error", (error: NodeJS.ErrnoException) =>
      settle({ kind: "failed", message: `GET ${url}: ${error.code ?? error.message}` }),
    );
    request.end();
  });
}
