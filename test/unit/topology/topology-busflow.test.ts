// busflow: the services of the seed on its tiers, what they wait for, and its figures by value. Each row names the
// section it is from.

import { describe, expect, test } from "vitest";

import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { templates } from "../../../shared/text/template.ts";
import {
  DAY,
  type Edges,
  edges,
  type Figure,
  GB,
  GIB,
  hasLine,
  MINUTE,
  readEdges,
  readFigure,
  SECOND,
} from "../../builders/data/topology-figures.ts";
import { listServices, manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("busflow");

test("sections 1 to 5: these services on these tiers, and no other", () => {
  expect(listServices(topology)).toEqual({
    manager: ["frontend", "nest-api", "nhost-auth", "nhost-storage", "traefik"],
    worker: ["frontend", "hasura", "n8n", "nest-api", "nest-workers", "traefik"],
    "stateful-worker": ["minio", "postgres", "redis"],
    "observability-worker": ["grafana", "loki", "mimir", "otel-collector", "prometheus-postgres-exporter", "tempo"],
  });
});

const DB = "stateful-worker/postgres";
const QUEUE = "stateful-worker/redis";

const EDGES: [place: string, from: string, row: Partial<Edges>][] = [
  ["stateful-worker/postgres", "1", {}],
  ["stateful-worker/redis", "3", {}],
  ["stateful-worker/minio", "1", {}],
  ["manager/frontend", "2", {}],
  ["worker/frontend", "2", {}],
  ["manager/nest-api", "2, 3", { requires: [DB, QUEUE] }],
  ["worker/nest-api", "2, 3", { requires: [DB, QUEUE] }],
  ["worker/nest-workers", "3", { requires: [DB, QUEUE] }],
  ["worker/hasura", "2", { requires: [DB] }],
  ["worker/n8n", "2", { requires: [DB] }],
  ["manager/nhost-auth", "2", { requires: [DB], wants: ["worker/hasura"] }],
  ["manager/nhost-storage", "1, 2", { requires: [DB, "stateful-worker/minio", "worker/hasura"] }],
  ["observability-worker/prometheus-postgres-exporter", "5", { requires: [DB] }],
  ["observability-worker/loki", "5", {}],
  ["observability-worker/tempo", "5", {}],
  ["observability-worker/mimir", "5", {}],
  ["observability-worker/otel-collector", "5", { requires: ["loki", "tempo", "mimir"] }],
  ["observability-worker/grafana", "5", { wants: ["loki", "tempo", "mimir"] }],
  [
    "manager/traefik",
    "2",
    { expiring: ["frontend", "nest-api", "worker/hasura", "worker/n8n", "nhost-auth", "nhost-storage"] },
  ],
  [
    "worker/traefik",
    "2",
    { expiring: ["frontend", "nest-api", "hasura", "n8n", "manager/nhost-auth", "manager/nhost-storage"] },
  ],
];

test.each(EDGES)("%s waits for what section %s brings together", (place, _from, row) => {
  expect(readEdges(topology, place)).toEqual(edges(row));
});

test("the table of edges leaves no service out", () => {
  expect(EDGES.map(([place]) => place).toSorted()).toEqual(topology.services.map(placeOf).toSorted());
});

const INGRESS: Figure[] = ["manager/traefik", "worker/traefik"].flatMap((at): Figure[] => [
  ["1 load balancer", at, "health.http.path", "/healthz"],
  ["1 load balancer", at, "health.interval", 15 * SECOND],
  ["1 load balancer", at, "health.timeout", 10 * SECOND],
  ["1 load balancer", at, "health.retries", 3],
  ["1 load balancer", at, "ports[0].hostPort", 80],
  ["1 load balancer", at, "ports[1].hostPort", 443],
  ["1 load balancer", at, "slo.availability", 99.5],
]);

const POOLS: Figure[] = ["manager/nest-api", "worker/nest-api", "worker/nest-workers"].flatMap((at): Figure[] => [
  ["6.2 pools", at, "env.PG_POOL_MAX", "20"],
  ["6.2 pools", at, "env.PG_CONNECTION_TIMEOUT_MS", "5000"],
  ["6.2 retries", at, "env.PG_RETRY_RETRIES", "3"],
  ["6.2 retries", at, "env.PG_RETRY_FACTOR", "2"],
  ["6.2 retries", at, "env.PG_RETRY_MIN_TIMEOUT_MS", "200"],
  ["6.2 retries", at, "env.PG_RETRY_JITTER", "0.1"],
]);

const BACKUP: Figure[] = [
  ["6 strategy", DB, "backups[pg-dump].engine", "postgres"],
  ["6 liveness: 02:00 UTC", DB, "backups[pg-dump].schedule", "0 2 * * *"],
  ["6 retention", DB, "backups[pg-dump].retention.daily", 14],
  ["6 retention", DB, "backups[pg-dump].retention.weekly", 4],
  ["6 retention", DB, "backups[pg-dump].retention.monthly", 0],
  ["6 source", DB, "backups[pg-dump].repositories", ["minio-inswarm", "hetzner-s3"]],
  ["6 fall back", DB, "backups[pg-dump].min_success", 1],
  ["6 cadence: 03:00 UTC", DB, "backups[pg-dump].verify.schedule", "0 3 * * *"],
  ["6 restore pipeline", DB, "backups[pg-dump].verify.image", "postgres:16-alpine"],
  ["6 restore pipeline", DB, "backups[pg-dump].verify.extensions", ["pg_cron", "pgsodium", "pgvector"]],
  [
    "6 integrity probes",
    DB,
    "backups[pg-dump].verify.schemas",
    ["backoffice", "commerce", "operations", "communications"],
  ],
  ["6 integrity probes", DB, "backups[pg-dump].verify.fk_allowlist", "files/backup-verify/soft-fk-allowlist.toml"],
  ["6 size envelope", DB, "backups[pg-dump].verify.max_size", 10 * GB],
  ["6 timeouts", DB, "backups[pg-dump].verify.timeout", 60 * MINUTE],
  ["6 failure routing", "fleet", "alerts.repeat", 7 * DAY],
];

const OTHERS: Figure[] = [
  ["1 database", DB, "image", "pgvector/pgvector:pg16"],
  ["1 observability worker: cpx21", "fleet", "nodes[observability-worker].memory", 4 * GIB],
  ["1 observability worker: cpx21", "fleet", "nodes[observability-worker].cpus", 3],
  ["1 stateful worker", "fleet", "nodes[stateful-worker].data.mount", "/mnt/data"],
  ["3 workers: HTTP off", "worker/nest-workers", "env.HTTP_ENABLED", "false"],
  ["6.2 pools", "worker/hasura", "env.HASURA_GRAPHQL_PG_CONNECTIONS", "20"],
];

test.each([...INGRESS, ...POOLS, ...BACKUP, ...OTHERS])("section %s: %s %s", (_from, at, key, is) => {
  expect(readFigure(topology, at, key)).toEqual(is);
});

test("section 6: each schema is probed for tables", () => {
  const verify = manifestAt(topology, DB).backups[0]?.verify;
  const probes = ["backoffice", "commerce", "operations", "communications"].map(
    (schema) => `select count(*) > 0 from information_schema.tables where table_schema = '${schema}'`,
  );
  expect(verify?.queries).toEqual(probes);
});

test("section 6: backups travel over TLS alone", () => {
  const { repositories } = topology.fleet;
  const endpoints = Object.values(repositories).map((entry) => (entry.kind === "s3" ? entry.endpoint : ""));
  expect(endpoints.map((endpoint) => endpoint.split(":")[0])).toEqual(["https", "https"]);
  expect(readFigure(topology, "stateful-worker/minio", "option[--certs-dir]")).toBe("/run/secrets");
});

test("section 5: every service has a memory limit and a CPU reservation, and a node can keep its reservations", () => {
  const without = topology.services.filter((entry) => entry.manifest.resources.cpus_reserved === undefined);
  expect(without.map(placeOf)).toEqual([]);
  const over = Object.entries(topology.fleet.nodes).filter(([name, node]) => {
    const own = topology.services.filter((entry) => entry.node === name);
    return own.reduce((sum, entry) => sum + (entry.manifest.resources.cpus_reserved ?? 0), 0) > (node.cpus ?? 0);
  });
  expect(over).toEqual([]);
});

test("section 1: only the stateful worker keeps data that counts", () => {
  const holders = topology.services.filter((entry) => entry.manifest.backups.length > 0).map(placeOf);
  expect(holders).toEqual([DB]);
  const nodes = Object.entries(topology.fleet.nodes).filter(([, node]) => node.data !== undefined);
  expect(nodes.map(([name]) => name)).toEqual(["stateful-worker"]);
  const volumes = topology.services.filter((entry) => entry.node === "manager" && entry.manifest.volumes.length > 0);
  expect(volumes.map(placeOf)).toEqual(["manager/traefik"]);
});

test("sections 2 and 3: front end and API run twice, and the workers run the API's image", () => {
  for (const service of ["frontend", "nest-api", "traefik"]) {
    expect(manifestAt(topology, `manager/${service}`).image).toBe(manifestAt(topology, `worker/${service}`).image);
  }
  expect(manifestAt(topology, "worker/nest-workers").image).toBe(manifestAt(topology, "worker/nest-api").image);
});

test("section 5: a rollout of front end and API starts the new copy first", () => {
  const rolling = topology.services.filter((entry) => entry.manifest.update.order === "start-first");
  expect(rolling.map(placeOf)).toEqual(["manager/frontend", "manager/nest-api", "worker/frontend", "worker/nest-api"]);
});

describe("section 2: Traefik's routes, rendered", () => {
  const render = (node: string) =>
    templates.render(topology.files.get(`${node}/files/traefik/routes.yaml.tmpl`) ?? "", {
      node,
      service: "traefik",
      realm: "prod",
      nodes: [],
      routes: buildRoutes(topology.services, node, topology.fleet),
    });

  test("a service on two nodes is one balancer with two servers, the near one by its alias", () => {
    const block = (text: string) => text.slice(text.indexOf("  services:")).split("api-busflow-example_:")[1] ?? "";
    const urls = (node: string) =>
      [...(block(render(node)).split(/\n {4}\S/)[0] ?? "").matchAll(/url: "([^"]+)"/g)].map((match) => match[1]);
    expect(urls("manager")).toEqual(["http://nest-api:3000", "http://10.0.0.3:3000"]);
    expect(urls("worker")).toEqual(["http://10.0.0.2:3000", "http://nest-api:3000"]);
  });

  test("streams may be long, and the health path needs no TLS", () => {
    const lines = render("manager")
      .split("\n")
      .map((line) => line.trim());
    expect(lines).toContain("forwardingTimeouts: { responseHeaderTimeout: 600s }");
    expect(lines).toContain('rule: "Path(`/healthz`)"');
    expect(lines).toContain("service: ping@internal");
    expect(readFigure(topology, "manager/nest-api", "routes[api.busflow.example].timeout")).toBe(10 * MINUTE);
  });
});

test("section 3: the queue refuses writes when full, so that BullMQ loses no job", () => {
  const file = "stateful-worker/files/redis/redis.conf";
  expect(hasLine(topology, file, "maxmemory-policy noeviction")).toBe(true);
  expect(hasLine(topology, file, "appendonly yes")).toBe(true);
});
