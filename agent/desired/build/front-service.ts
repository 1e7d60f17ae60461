// From a start-first service to its front: which ports it holds, its configuration, its container. Pure; used by compile.ts.
// A front is tended like any service; what it is told at run time is plan/front.ts's matter.

import type { DesiredService, Front } from "../../../shared/state/desired-state.ts";
import {
  DEFAULT_DRAIN_MS,
  FRONT_CONFIG,
  FRONT_CONTROL,
  FRONT_MEMORY_BYTES,
  nameBackend,
  nameFront,
} from "../../../shared/state/front.ts";
import { canonicalJson, hashSpec, sha256 } from "../../../shared/state/identity.ts";
import type { Manifest } from "../../../shared/manifest/manifest.ts";

/** What of a manifest makes a front. */
type FrontedManifest = Pick<Manifest, "ports" | "routes" | "health">;

/** The port a front answers its own health check on; the next one up where the service has it. */
const READY_PORT = 8405;
const READY_PATH = "/ready";

/** No user of the image and none of the host: it binds low ports all the same, since the engine lets every user do that. */
const FRONT_USER = "65532:65532";

/**
 * Connections at once; more wait in the kernel's queue. Seen with HAProxy 2.6: 1,000, each with half a request of 12 KiB,
 * took 26 MiB. (A limit on buffers instead let all of them starve.)
 */
const MOST_CONNECTIONS = 1_000;

/** One port of a front, and whether it understands what goes over it. */
interface FrontPort {
  port: number;
  mode: "http" | "tcp";
}

/** The container's ports that the manifest names: what it does not name, a front cannot hold. */
export function selectFrontPorts({ ports, routes, health }: FrontedManifest): FrontPort[] {
  const probed = health?.http;
  const plain = new Set(routes.map((route) => route.port));
  if (probed !== undefined) {
    if (probed.scheme === "http") plain.add(probed.port);
    else plain.delete(probed.port);
  }
  const named = [
    ...ports.map((port) => port.containerPort),
    ...routes.map((route) => route.port),
    ...(probed === undefined ? [] : [probed.port]),
    ...(health?.tcp === undefined ? [] : [health.tcp.port]),
  ];
  const sorted = [...new Set(named)].toSorted((left, right) => left - right);
  return sorted.map((port) => ({ port, mode: plain.has(port) ? "http" : "tcp" }));
}

/**
 * Builds the front of a service.
 * @param service the service, with the ports that the front publishes in its place
 * @param image what the front is made from
 * @returns the front, and its configuration as the content to deliver
 */
export function buildFront(
  service: DesiredService,
  { manifest, image, aliases }: { manifest: Manifest; image: string; aliases: readonly string[] },
): { front: Front; hash: string; config: Uint8Array } {
  const ports = selectFrontPorts(manifest);
  const ready = findFreePort(ports);
  const config = new TextEncoder().encode(renderConfig(ports, ready));
  const hash = sha256(config);
  const spec = {
    image,
    entrypoint: ["haproxy"],
    command: ["-db", "-f", FRONT_CONFIG],
    user: FRONT_USER,
    readOnly: true,
    capDrop: ["ALL"],
    // A front reads its configuration once: other content is another container.
    files: [{ target: FRONT_CONFIG, hash }],
    aliases,
    control: FRONT_CONTROL,
    ...(service.spec.ports === undefined ? {} : { ports: service.spec.ports }),
  };
  const desired: DesiredService = {
    name: nameFront(service.name),
    kind: "service",
    fingerprint: sha256(canonicalJson({ spec })).slice(0, 16),
    revision: service.revision,
    spec,
    specHash: hashSpec(spec),
    caps: { memoryBytes: FRONT_MEMORY_BYTES, nanoCpus: 0, cpuShares: 0, pids: 16 },
    files: [
      { target: FRONT_CONFIG, content: { kind: "plain", hash }, mode: "0444", owner: undefined, onChange: "restart" },
    ],
    running: true,
    schedule: undefined,
    health: {
      http: { port: ready, path: READY_PATH, scheme: "http", status: [200] },
      interval: 5_000,
      timeout: 2_000,
      retries: 3,
      start_period: 5_000,
    },
    restart: { policy: "always", backoff: { initial: 200, max: 10_000, reset_after: 60_000 } },
    update: { order: "stop-first", healthy_within: 60_000, settle: 2_000, rollback: true },
    requires: [],
    wants: [],
    wantsTimeoutMs: 0,
    stopTimeoutMs: 5_000,
    owner: service.owner,
    notes: [],
    frontOf: service.name,
  };
  const drainMs = manifest.update.drain ?? DEFAULT_DRAIN_MS;
  return { front: { ports: ports.map(({ port }) => port), drainMs, service: desired }, hash, config };
}

function findFreePort(ports: readonly FrontPort[]): number {
  const taken = new Set(ports.map(({ port }) => port));
  let port = READY_PORT;
  while (taken.has(port)) port += 1;
  return port;
}

/**
 * The configuration: one frontend and one backend with two places for each port. Nobody is in a place until the agent says
 * so through the control socket. Nothing here ends a long silence that the service itself would bear.
 */
function renderConfig(ports: readonly FrontPort[], ready: number): string {
  const head = [
    "global",
    // The directory it lies in is the agent's own: who cannot enter it cannot ask.
    `  stats socket ${FRONT_CONTROL}/control.sock mode 666 level admin`,
    `  maxconn ${MOST_CONNECTIONS}`,
    "  nbthread 1",
    "defaults",
    "  timeout connect 5s",
    // A request must arrive whole within a minute; an answer may take as long as the service lets it.
    "  timeout http-request 1m",
    "  timeout client 24d",
    "  timeout server 24d",
    "  timeout tunnel 24d",
    "  option clitcpka",
    "  option srvtcpka",
    "  option redispatch",
    "  retries 3",
    "frontend ready",
    "  mode http",
    `  bind :${ready}`,
    `  monitor-uri ${READY_PATH}`,
  ];
  const lines = [...head, ...ports.flatMap(renderPort)];
  const wrong = [ready, ...ports.map(({ port }) => port)].find((port) => !isPort(port));
  // Every line is this file's own but for its numbers: one that is no port, or a line more, is nothing to hand to a proxy.
  if (wrong !== undefined) throw new Error(`render the front: ${String(wrong)} is no port`);
  if (lines.some((line) => !/^[ -~]+$/.test(line)))
    throw new Error("render the front: a line has a sign that is not its own");
  return [...lines, ""].join("\n");
}

function isPort(port: unknown): boolean {
  return Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65_535;
}

function renderPort({ port, mode }: FrontPort): string[] {
  // A connection of one client stays its own on both sides, as without a front; each request goes where it should go now.
  const http = ["  option forwardfor if-none", "  option http-no-delay", "  http-reuse never"];
  const backend = nameBackend(port);
  return [
    `frontend at_${port}`,
    `  mode ${mode}`,
    `  bind :${port}`,
    `  default_backend ${backend}`,
    `backend ${backend}`,
    `  mode ${mode}`,
    ...(mode === "http" ? http : []),
    `  server a 127.0.0.1:${port} disabled`,
    `  server b 127.0.0.1:${port} disabled`,
  ];
}
