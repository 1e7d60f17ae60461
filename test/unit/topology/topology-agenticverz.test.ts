// agenticverz: what takes the place of the seed's managed services on machines of its own, with the seed's figures by
// value. Each row names the section it is from; what was chosen is in DECISIONS.md.

import { describe, expect, test } from "vitest";

import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { templates } from "../../../shared/text/template.ts";
import {
  type Edges,
  edges,
  type Figure,
  GIB,
  hasLine,
  HOUR,
  MINUTE,
  readEdges,
  readFigure,
  SECOND,
} from "../../builders/data/topology-figures.ts";
import { listServices, manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("agenticverz");

test("these services on these machines, and no other", () => {
  expect(listServices(topology)).toEqual({
    xuniverz: ["certificate-verify", "edge-proxy", "guard-console", "landing", "operator-console"],
    "sin-1": ["api"],
    "sin-2": ["api"],
    "hnd-1": ["api"],
    "data-1": ["pgbouncer", "postgres", "redis"],
    "ops-1": ["grafana", "loki", "postgres-replica", "prometheus", "tempo", "vault"],
  });
});

const API: Partial<Edges> = { requires: ["data-1/pgbouncer", "data-1/redis"], wants: ["ops-1/vault"] };

const EDGES: [place: string, from: string, row: Partial<Edges>][] = [
  ["data-1/postgres", "1", {}],
  ["data-1/redis", "2", {}],
  ["data-1/pgbouncer", "1", { requires: ["postgres"] }],
  ["ops-1/postgres-replica", "1", { requires: ["data-1/postgres"] }],
  ["ops-1/vault", "3", {}],
  ["ops-1/prometheus", "7", {}],
  ["ops-1/loki", "7", {}],
  ["ops-1/tempo", "7", {}],
  ["ops-1/grafana", "7", { wants: ["prometheus", "loki", "tempo"] }],
  ["sin-1/api", "6", API],
  ["sin-2/api", "6", API],
  ["hnd-1/api", "6", API],
  ["xuniverz/guard-console", "Production URLs", {}],
  ["xuniverz/operator-console", "Production URLs", {}],
  ["xuniverz/landing", "Production URLs", {}],
  ["xuniverz/certificate-verify", "Production URLs", { requires: ["data-1/pgbouncer"] }],
  [
    "xuniverz/edge-proxy",
    "5, 6",
    {
      expiring: ["sin-1/api", "sin-2/api", "guard-console", "operator-console", "certificate-verify", "landing"],
    },
  ],
];

test.each(EDGES)("%s waits for what section %s brings together", (place, _from, row) => {
  expect(readEdges(topology, place)).toEqual(edges(row));
});

test("the table of edges leaves no service out", () => {
  expect(EDGES.map(([place]) => place).toSorted()).toEqual(topology.services.map(placeOf).toSorted());
});

const INSTANCES: Figure[] = ["sin-1/api", "sin-2/api", "hnd-1/api"].flatMap((at): Figure[] => [
  ["6 vm", at, "resources.memory", GIB],
  ["6 vm", at, "resources.cpus", 2],
  ["6 http_service", at, "ports[0].containerPort", 8000],
  ["6 metrics", at, "ports[1].containerPort", 9090],
  ["6 metrics", at, "env.METRICS_PORT", "9090"],
  ["6 metrics", at, "env.METRICS_PATH", "/metrics"],
  ["6 http_checks", at, "health.http.port", 8000],
  ["6 http_checks", at, "health.http.path", "/health"],
  ["6 http_checks", at, "health.interval", 10 * SECOND],
  ["6 http_checks", at, "health.timeout", 5 * SECOND],
  ["6 hard_limit", at, "option[--limit-concurrency]", "250"],
  ["6 soft_limit", at, "env.CONCURRENCY_SOFT_LIMIT", "200"],
  ["6 env", at, "env.LOG_LEVEL", "info"],
  ["6 env", at, "env.ENVIRONMENT", "production"],
  ["1", at, "env.DATABASE_PORT", "6432"],
  ["4", at, "env.LLM_PROVIDER", "openai"],
  ["4", at, "env.LLM_MODEL", "gpt-4o-mini"],
  ["4", at, "env.LLM_TIMEOUT_SECONDS", "30"],
  ["4", at, "env.LLM_FALLBACK_PROVIDER", "anthropic"],
  ["4", at, "env.LLM_FALLBACK_MODEL", "claude-3-haiku-20240307"],
  ["4", at, "env.LLM_FALLBACK_TIMEOUT_SECONDS", "30"],
  ["5", at, "routes[api.agenticverz.com].rate", "100/m"],
  ["Executive Summary", at, "slo.availability", 99.9],
  ["Disaster Recovery: database", at, "slo.rto", 5 * MINUTE],
]);

const DATA: Figure[] = [
  ["1", "data-1/pgbouncer", "ports[0].hostPort", 6432],
  ["1", "data-1/pgbouncer", "health.tcp.port", 6432],
  ["2", "data-1/redis", "option[--maxmemory]", "256mb"],
  ["2", "data-1/redis", "option[--maxmemory-policy]", "noeviction"],
  ["2", "data-1/redis", "option[--appendonly]", "yes"],
  ["2", "data-1/redis", "ports[0].hostPort", 6379],
  ["Backup Schedule", "data-1/postgres", "backups[db].retention.days", 7],
  ["Backup Schedule", "data-1/postgres", "backups[db].schedule", "every 40m"],
  ["Disaster Recovery: database", "data-1/postgres", "slo.rto", 5 * MINUTE],
  ["Disaster Recovery: database", "data-1/postgres", "slo.rpo", HOUR],
  ["Executive Summary", "data-1/postgres", "slo.availability", 99.9],
  ["Disaster Recovery: complete outage", "data-1/redis", "slo.rpo", 24 * HOUR],
];

const OPERATIONS: Figure[] = [
  ["3", "ops-1/vault", "health.tcp.port", 8200],
  ["3", "ops-1/vault", "ports[0].hostPort", 8200],
  ["3", "ops-1/vault", "ports[1].hostPort", 8201],
  ["Backup Schedule", "ops-1/vault", "backups[raft].schedule", "every 22h"],
  ["Backup Schedule", "ops-1/vault", "backups[raft].retention.days", 30],
  ["Backup Schedule", "ops-1/vault", "backups[raft].repositories", ["r2-vault"]],
  ["Recovery Procedures", "fleet", "repositories[r2-vault].bucket", "vault-backups"],
  [
    "Recovery Procedures",
    "ops-1/vault",
    "backups[raft].command",
    ["vault", "operator", "raft", "snapshot", "save", "/dev/stdout"],
  ],
  ["Disaster Recovery: complete outage", "ops-1/vault", "slo.rto", 2 * HOUR],
  ["Disaster Recovery: complete outage", "ops-1/vault", "slo.rpo", 24 * HOUR],
  ["Security Checklist", "ops-1/prometheus", "option[--storage.tsdb.retention.time]", "90d"],
  ["5", "xuniverz/certificate-verify", "routes[verify.agenticverz.com].rate", "100/m"],
  ["6 rolling", "fleet", "nodes[sin-2].rollout.after", "sin-1"],
  ["6 rolling", "fleet", "nodes[hnd-1].rollout.after", "sin-2"],
];

test.each([...INSTANCES, ...DATA, ...OPERATIONS])("section %s: %s %s", (_from, at, key, is) => {
  expect(readFigure(topology, at, key)).toEqual(is);
});

test("section 6: two instances run, and the backup region is ready", () => {
  const instances = topology.services.filter((entry) => entry.service === "api");
  expect(instances.map((entry) => [entry.node, entry.manifest.state])).toEqual([
    ["hnd-1", "stopped"],
    ["sin-1", "running"],
    ["sin-2", "running"],
  ]);
  expect(new Set(instances.map((entry) => entry.manifest.image)).size).toBe(1);
});

test("Disaster Recovery: a single instance that fails is known within 30 seconds", () => {
  const { health } = manifestAt(topology, "sin-1/api");
  expect((health?.interval ?? Infinity) * (health?.retries ?? Infinity)).toBe(30 * SECOND);
});

test.each([
  ["1: 100 connections a pooler", "data-1/files/pgbouncer/pgbouncer.ini", "max_db_connections = 100"],
  ["1: port 6432", "data-1/files/pgbouncer/pgbouncer.ini", "listen_port = 6432"],
  ["3: auto-unseal", "ops-1/files/vault/vault.hcl", 'seal "awskms" {'],
  ["3: region", "ops-1/files/vault/vault.hcl", 'region     = "ap-southeast-1"'],
  ["3: key", "ops-1/files/vault/vault.hcl", 'kms_key_id = "alias/vault-unseal-key"'],
  ["3: Raft", "ops-1/files/vault/vault.hcl", 'path    = "/opt/vault/data"'],
  ["3: node", "ops-1/files/vault/vault.hcl", 'node_id = "vault-1"'],
  ["3: listener", "ops-1/files/vault/vault.hcl", 'address       = "0.0.0.0:8200"'],
  ["3: addresses", "ops-1/files/vault/vault.hcl", 'api_addr     = "https://vault.agenticverz.com:8200"'],
  ["3: addresses", "ops-1/files/vault/vault.hcl", 'cluster_addr = "https://vault.agenticverz.com:8201"'],
  ["Backup Schedule: logs 30 days", "ops-1/files/loki/loki.yaml", "limits_config: { retention_period: 720h }"],
  ["6: metrics on 9090", "ops-1/files/prometheus/prometheus.yml", '- targets: ["sin-1:9090", "sin-2:9090"]'],
])("section %s", (_what, file, line) => {
  expect(hasLine(topology, file, line)).toBe(true);
});

test("section 1: the pooler's connections fit into the database", () => {
  expect(Number(readFigure(topology, "data-1/postgres", "setting[max_connections]"))).toBeGreaterThan(100);
});

describe("sections 5 and 6: the edge, rendered", () => {
  const cfg = templates.render(topology.files.get("xuniverz/files/haproxy/haproxy.cfg.tmpl") ?? "", {
    node: "xuniverz",
    service: "edge-proxy",
    realm: "prod",
    nodes: [],
    routes: buildRoutes(topology.services, "xuniverz", topology.fleet),
  });
  const lines = cfg.split("\n").map((line) => line.trim());

  test("Production URLs: every host leads to its service", () => {
    const rows = buildRoutes(topology.services, "xuniverz", topology.fleet).map(
      (route) => `${route.host}${route.path} ${route.upstream}`,
    );
    expect(rows).toEqual([
      "console.agenticverz.com/guard guard-console:8080",
      "verify.agenticverz.com/ certificate-verify:8080",
      "api.agenticverz.com/ 10.20.0.13:8000",
      "api.agenticverz.com/ 10.20.0.11:8000",
      "api.agenticverz.com/ 10.20.0.12:8000",
      "ops.agenticverz.com/ operator-console:8080",
      "agenticverz.com/ landing:8080",
    ]);
  });

  test.each([
    "server sin-1 10.20.0.11:8000 maxconn 200",
    "server sin-2 10.20.0.12:8000 maxconn 200",
    "server hnd-1 10.20.0.13:8000 maxconn 200 disabled",
    "option httpchk GET /health",
    "default-server init-addr last,libc,none resolvers engine check inter 10s fall 3 rise 1",
    "http-request deny deny_status 403 unless { req.hdr(User-Agent) -m found }",
    "http-request deny deny_status 429 if { var(txn.route) -m str api-agenticverz-com_ } { sc_http_req_rate(0,api-agenticverz-com_-rate) gt 100 }",
    "stick-table type ipv6 size 100k expire 2m store http_req_rate(1m)",
    "ssl-default-bind-options ssl-min-ver TLSv1.3",
  ])("it has: %s", (line) => {
    expect(lines).toContain(line);
  });
});
