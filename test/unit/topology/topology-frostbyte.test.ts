// frostbyte: one tenant's online machines with the shared control plane, and the offline bundle as a realm of its own.
// Each row names the section of the seed it is from.

import { describe, expect, test } from "vitest";

import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { templates } from "../../../shared/text/template.ts";
import {
  type Edges,
  edges,
  type Figure,
  GIB,
  readEdges,
  readFigure,
  SECOND,
} from "../../builders/data/topology-figures.ts";
import { listServices, manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("frostbyte");

test("sections 1 and 3: these services on these machines, and no other", () => {
  expect(listServices(topology)).toEqual({
    // postgres-registry is what section 1.6 replicates some day.
    "control-plane": ["audit-aggregator", "postgres-registry", "provisioning", "tenant-registry", "traefik"],
    gateway: ["auth", "intake-gateway", "serving"],
    worker: ["celery-worker"],
    db: ["minio", "postgres", "qdrant", "redis"],
    offline: [
      "celery-worker",
      "clamav",
      "intake-gateway",
      "minio",
      "nomic-embed",
      "postgres",
      "qdrant",
      "redis",
      "serving",
    ],
  });
});

const EDGES: [place: string, from: string, row: Partial<Edges>][] = [
  ["control-plane/traefik", "1.4", { expiring: ["gateway/intake-gateway"] }],
  ["control-plane/postgres-registry", "1.6", {}],
  ["control-plane/tenant-registry", "1.1", { requires: ["postgres-registry"] }],
  ["control-plane/provisioning", "2.2", { requires: ["tenant-registry"] }],
  ["control-plane/audit-aggregator", "1.1", { requires: ["postgres-registry"] }],
  ["gateway/intake-gateway", "3.2, less ClamAV", { requires: ["db/postgres", "db/redis", "db/minio"] }],
  ["gateway/serving", "3.2", { requires: ["db/qdrant", "db/postgres", "db/minio"] }],
  ["gateway/auth", "1.2", { requires: ["db/postgres"] }],
  ["worker/celery-worker", "3.2, less nomic-embed", { requires: ["db/postgres", "db/redis", "db/minio", "db/qdrant"] }],
  ["db/postgres", "1.2", {}],
  ["db/redis", "1.1", {}],
  ["db/minio", "1.1", {}],
  ["db/qdrant", "1.2", {}],
  ["offline/postgres", "3.2", {}],
  ["offline/redis", "3.2", {}],
  ["offline/minio", "3.2", {}],
  ["offline/qdrant", "3.2", {}],
  ["offline/clamav", "3.2", {}],
  ["offline/nomic-embed", "3.2", {}],
  ["offline/intake-gateway", "3.2", { requires: ["postgres", "redis", "minio", "clamav"] }],
  ["offline/celery-worker", "3.2", { requires: ["postgres", "redis", "minio", "qdrant", "nomic-embed"] }],
  ["offline/serving", "3.2", { requires: ["qdrant", "postgres", "minio"] }],
];

test.each(EDGES)("%s waits for what section %s says", (place, _from, row) => {
  expect(readEdges(topology, place)).toEqual(edges(row));
});

test("the table of edges leaves no service out", () => {
  expect(EDGES.map(([place]) => place).toSorted()).toEqual(topology.services.map(placeOf).toSorted());
});

const MACHINES: Figure[] = ["gateway", "worker", "db"].flatMap((node): Figure[] => [
  ["1.2: cx22", "fleet", `nodes[${node}].memory`, 4 * GIB],
  ["1.2: cx22", "fleet", `nodes[${node}].cpus`, 2],
  ["1.1", "fleet", `nodes[${node}].env`, "prod"],
]);

const BUNDLE: Figure[] = [
  ["3.2", "fleet", "nodes.offline.network.subnet", "172.28.0.0/16"],
  ["3.2", "fleet", "nodes.offline.network.internal", true],
  ["3.3", "offline/postgres", "image", "postgres:16-alpine"],
  ["3.3", "offline/redis", "image", "redis:8-alpine"],
  ["3.3", "offline/qdrant", "image", "qdrant/qdrant:v1.13.0"],
  ["3.3", "offline/minio", "image", "minio/minio:latest"],
  ["3.3", "offline/clamav", "image", "clamav/clamav:1.4"],
  ["3.3", "offline/intake-gateway", "image", "frostbyte/api:v1.0"],
  ["3.3", "offline/serving", "image", "frostbyte/api:v1.0"],
  ["3.3", "offline/celery-worker", "image", "frostbyte/worker:v1.0"],
  ["3.3", "offline/nomic-embed", "image", "frostbyte/nomic-embed:v1.5"],
  ["3.2", "offline/minio", "command", ["server", "/data"]],
  ["3.2: pgdata", "offline/postgres", "volumes[0].target", "/var/lib/postgresql/data"],
  ["3.2: miniodata", "offline/minio", "volumes[0].target", "/data"],
  ["3.2: qdrantdata", "offline/qdrant", "volumes[0].target", "/qdrant/storage"],
  ["3.2: clamavdata", "offline/clamav", "volumes[0].target", "/var/lib/clamav"],
  ["3.2: models", "offline/nomic-embed", "volumes[0].target", "/models"],
  ["3.2", "offline/intake-gateway", "env.FROSTBYTE_MODE", "offline"],
  ["3.2", "offline/celery-worker", "env.FROSTBYTE_MODE", "offline"],
  ["3.2", "offline/serving", "env.FROSTBYTE_MODE", "offline"],
  ["3.2", "offline/intake-gateway", "env.FROSTBYTE_EMBEDDING_ENDPOINT", "http://nomic-embed:8080/embeddings"],
  ["3.2", "offline/celery-worker", "env.FROSTBYTE_EMBEDDING_ENDPOINT", "http://nomic-embed:8080/embeddings"],
  ["3.2", "offline/nomic-embed", "health.http.port", 8080],
  ["3.4", "offline/nomic-embed", "env.MODEL_PATH", "/models/nomic-embed-text-v1.5/model.gguf"],
  ["3.6", "offline/intake-gateway", "health.http.path", "/health"],
  ["3.6", "offline/intake-gateway", "health.http.port", 8080],
];

const ONLINE: Figure[] = [
  ["1.4", "gateway/intake-gateway", "health.http.path", "/health"],
  ["1.4", "gateway/intake-gateway", "health.interval", 10 * SECOND],
  ["1.4", "gateway/intake-gateway", "ports[0].hostPort", 8080],
  ["1.4", "gateway/intake-gateway", "routes[tenanta.pipeline.frostbyte.io].rate", "1000/m"],
  ["1.4", "control-plane/traefik", "ports[0].hostPort", 80],
  ["1.4", "control-plane/traefik", "ports[1].hostPort", 443],
  [
    "1.4: 80 leads to 443",
    "control-plane/traefik",
    "option[--entrypoints.web.http.redirections.entryPoint.to]",
    "websecure",
  ],
  ["3.3", "db/postgres", "image", "postgres:16-alpine"],
  ["3.3", "db/redis", "image", "redis:8-alpine"],
  ["3.3", "db/qdrant", "image", "qdrant/qdrant:v1.13.0"],
  ["Document Conventions", "control-plane/provisioning", "env.HETZNER_LOCATION", "nbg1"],
  ["1.2", "control-plane/provisioning", "env.HETZNER_GATEWAY_TYPE", "cx22"],
  ["1.2", "control-plane/provisioning", "env.HETZNER_WORKER_TYPE", "cx22"],
  ["1.2", "control-plane/provisioning", "env.HETZNER_DB_TYPE", "cx22"],
  ["1.2", "control-plane/provisioning", "env.HETZNER_DB_HEAVY_TYPE", "cx32"],
];

test.each([...MACHINES, ...BUNDLE, ...ONLINE])("section %s: %s %s", (_from, at, key, is) => {
  expect(readFigure(topology, at, key)).toEqual(is);
});

test("section 1.2: the image of Traefik is of version 3", () => {
  expect(manifestAt(topology, "control-plane/traefik").image).toMatch(/^traefik:v3\./);
});

test("section 1.3: the tenant's machines are in 10.{octet}.1.0/24", () => {
  const addresses = ["gateway", "worker", "db"].map((node) => topology.fleet.nodes[node]?.address ?? "");
  expect(addresses.filter((address) => address.startsWith("10.1.1."))).toEqual(addresses);
});

test("section 3.2: one port on the host, and on loopback only", () => {
  const published = topology.services.filter((entry) => entry.node === "offline" && entry.manifest.ports.length > 0);
  expect(published.map((entry) => [entry.service, entry.manifest.ports])).toEqual([
    ["intake-gateway", [{ address: "127.0.0.1", hostPort: 8080, containerPort: 8080, protocol: "tcp" }]],
  ]);
});

test("section 3.2: the worker's environment is the intake gateway's, and what it needs besides", () => {
  const intake = manifestAt(topology, "offline/intake-gateway").env;
  expect(manifestAt(topology, "offline/celery-worker").env).toEqual({
    ...intake,
    FROSTBYTE_HEALTH_PORT: "8085",
    FROSTBYTE_QDRANT_URL: "http://qdrant:6333",
  });
});

test("section 3: offline is a realm that nothing leads into or out of", () => {
  expect(topology.fleet.nodes["offline"]?.env).toBe("offline");
  expect(buildRoutes(topology.services, "offline", topology.fleet)).toEqual([]);
  const outside = topology.services
    .filter((entry) => entry.node === "offline")
    .flatMap((entry) => entry.manifest.backups.flatMap((backup) => backup.repositories));
  expect(new Set(outside)).toEqual(new Set(["local"]));
});

describe("section 1.4: Traefik's configuration, rendered", () => {
  const text = topology.files.get("control-plane/files/traefik/tenants.yaml.tmpl") ?? "";
  const context = { node: "control-plane", service: "traefik", realm: "prod", nodes: [] };
  const routes = buildRoutes(topology.services, "control-plane", topology.fleet);
  const lines = (given: object[]): string[] =>
    templates
      .render(text, { ...context, routes: given })
      .split("\n")
      .map((line) => line.trim());

  test.each([
    "tenant-tenanta:",
    'rule: "Host(`tenanta.pipeline.frostbyte.io`)"',
    "entryPoints: [websecure]",
    "service: tenant-tenanta-gateway",
    'servers: [{ url: "http://10.1.1.10:8080" }]',
    'healthCheck: { path: "/health", interval: "10s" }',
    "rateLimit: { average: 1000, period: 1m, burst: 100, sourceCriterion: { requestHost: true } }",
  ])("it has: %s", (line) => {
    expect(lines(routes)).toContain(line);
  });

  test("section 1.6: a suspended tenant has no server, so it gets 503", () => {
    expect(lines(routes.map((route) => ({ ...route, state: "stopped" })))).toContain("servers: []");
  });
});
