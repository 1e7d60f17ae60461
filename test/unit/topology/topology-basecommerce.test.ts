// basecommerce: the three droplets of the seed, their memory tables and connection limits by value. Each row names the
// heading it is from.

import { expect, test } from "vitest";

import {
  type Edges,
  edges,
  type Figure,
  GB,
  hasLine,
  HOUR,
  MB,
  MINUTE,
  readEdges,
  readFigure,
} from "../../builders/data/topology-figures.ts";
import { listServices, manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("basecommerce");

test("Topology: these services on these droplets, and no other", () => {
  expect(listServices(topology)).toEqual({
    edge: ["auth-service", "nginx"],
    vertical: ["construction-app"],
    infra: ["engines-worker", "outbox-relay", "postgres", "redis"],
  });
});

const EDGES: [place: string, from: string, row: Partial<Edges>][] = [
  ["edge/nginx", "Web Request", { expiring: ["vertical/construction-app", "auth-service"] }],
  ["edge/auth-service", "Topology: a placeholder", {}],
  ["vertical/construction-app", "Web Request", { requires: ["infra/postgres"] }],
  ["infra/postgres", "Topology", {}],
  ["infra/redis", "Topology", {}],
  ["infra/outbox-relay", "Event Processing", { requires: ["postgres", "redis"] }],
  ["infra/engines-worker", "Event Processing", { requires: ["postgres", "redis"] }],
];

test.each(EDGES)("%s waits for what %s brings together", (place, _from, row) => {
  expect(readEdges(topology, place)).toEqual(edges(row));
});

test("the table of edges leaves no service out", () => {
  expect(EDGES.map(([place]) => place).toSorted()).toEqual(topology.services.map(placeOf).toSorted());
});

const FIGURES: Figure[] = [
  ["Topology", "fleet", "nodes.edge.memory", GB],
  ["Topology", "fleet", "nodes.edge.cpus", 1],
  ["Topology", "fleet", "nodes.vertical.memory", GB],
  ["Topology", "fleet", "nodes.vertical.cpus", 1],
  ["Topology", "fleet", "nodes.infra.memory", 2 * GB],
  ["Topology", "fleet", "nodes.infra.cpus", 1],
  ["Memory Budget: System/Docker", "fleet", "nodes.edge.reserve", 200 * MB],
  ["Memory Budget: System/Docker", "fleet", "nodes.vertical.reserve", 200 * MB],
  ["Memory Budget: System/Docker", "fleet", "nodes.infra.reserve", 300 * MB],
  ["Memory Budget", "edge/nginx", "resources.memory", 50 * MB],
  ["Memory Budget", "edge/auth-service", "resources.memory", 100 * MB],
  ["Memory Budget", "vertical/construction-app", "resources.memory", 600 * MB],
  ["Memory Budget", "infra/postgres", "resources.memory", 800 * MB],
  ["Memory Budget", "infra/redis", "option[--maxmemory]", "256mb"],
  ["Memory Budget", "infra/outbox-relay", "resources.memory", 100 * MB],
  ["Memory Budget", "infra/engines-worker", "resources.memory", 150 * MB],
  ["Topology", "edge/auth-service", "ports[0].hostPort", 8001],
  ["Topology", "edge/auth-service", "health.http.port", 8001],
  ["Topology", "vertical/construction-app", "ports[0].hostPort", 8000],
  ["Topology", "vertical/construction-app", "health.http.port", 8000],
  ["Topology", "infra/postgres", "ports[0].hostPort", 5432],
  ["Topology", "infra/redis", "ports[0].hostPort", 6379],
  ["Topology", "vertical/construction-app", "option[--workers]", "2"],
  ["Topology", "vertical/construction-app", "option[--threads]", "1"],
  ["Topology", "vertical/construction-app", "option[--bind]", "0.0.0.0:8000"],
  ["Connection Limits", "infra/postgres", "setting[max_connections]", "50"],
  ["Topology", "infra/postgres", "setting[shared_buffers]", "512MB"],
  ["Connection Limits", "vertical/construction-app", "env.DATABASE_POOL_SIZE", "5"],
  ["Connection Limits", "vertical/construction-app", "env.DATABASE_MAX_OVERFLOW", "10"],
  ["Event Processing", "infra/outbox-relay", "env.OUTBOX_POLL_SECONDS", "1"],
  ["Data Flow", "vertical/construction-app", "env.TENANT_HEADER", "X-Tenant-Slug"],
  ["Backup Strategy", "infra/postgres", "backups[daily].schedule", "0 5 * * *"],
  ["Backup Strategy", "infra/postgres", "backups[daily].retention.days", 7],
  ["Backup Strategy", "infra/postgres", "backups[daily].repositories", ["local", "offsite"]],
  ["Backup Strategy", "infra/postgres", "backups[before-update].before_update", true],
  ["Backup Strategy", "infra/postgres", "backups[before-update].retention.days", 30],
  ["Backup Strategy", "infra/postgres", "backups[before-update].repositories", ["offsite"]],
  ["Backup Strategy", "infra/redis", "backup.none", "regenerated from the outbox"],
  ["Recovery Time Objectives", "edge/nginx", "slo.rto", 15 * MINUTE],
  ["Recovery Time Objectives", "edge/auth-service", "slo.rto", 15 * MINUTE],
  ["Recovery Time Objectives", "vertical/construction-app", "slo.rto", 15 * MINUTE],
  ["Recovery Time Objectives: 1 h, raised", "infra/postgres", "slo.rto", 15 * MINUTE],
  ["Recovery Time Objectives: the last backup", "infra/postgres", "slo.rpo", 26 * HOUR],
];

test.each(FIGURES)("%s: %s %s", (_from, at, key, is) => {
  expect(readFigure(topology, at, key)).toEqual(is);
});

// Connection Limits: relay and worker have one connection and a spare each.
test.each(["infra/outbox-relay", "infra/engines-worker"])("%s opens two connections at most", (at) => {
  const { env } = manifestAt(topology, at);
  expect(Number(env["DATABASE_POOL_SIZE"]) + Number(env["DATABASE_MAX_OVERFLOW"])).toBe(2);
});

test("Connection Limits: all pools together leave room below 50", () => {
  const perWorker = 5 + 10;
  const workers = Number(readFigure(topology, "vertical/construction-app", "option[--workers]"));
  const limit = Number(readFigure(topology, "infra/postgres", "setting[max_connections]"));
  expect(workers * perWorker + 2 + 2).toBeLessThan(limit);
});

test("Memory Budget: Redis may fill its memory without meeting its cap", () => {
  const { memory } = manifestAt(topology, "infra/redis").resources;
  expect(memory).toBeGreaterThan(256 * 2 ** 20);
});

test("Memory Budget: what is left free on each droplet is what the seed leaves, less Redis's own needs", () => {
  const free = Object.entries(topology.fleet.nodes).map(([name, node]) => {
    const own = topology.services.filter((entry) => entry.node === name);
    const used = own.reduce((sum, entry) => sum + entry.manifest.resources.memory, 0);
    return [name, (node.memory - node.reserve - used) / MB];
  });
  // 2000 - 300 - 800 - 320 - 100 - 150; the seed's 400 counts 256 for Redis and rounds.
  expect(free).toEqual([
    ["edge", 650],
    ["vertical", 200],
    ["infra", 330],
  ]);
});

test.each([
  ["Web Request: the tenant goes on in a header", "proxy_set_header X-Tenant-Slug $tenant;"],
  ["Web Request: the tenant is the subdomain", "server_name ~^(?<tenant>[a-z0-9-]+)\\.basecommerce\\.com\\.br$;"],
  ["Topology: /tenant.json", "location = /tenant.json {"],
  ["Topology: rate limiting", "limit_req_status 429;"],
])("%s", (_what, line) => {
  expect(hasLine(topology, "edge/files/nginx/nginx.conf.tmpl", line)).toBe(true);
});
