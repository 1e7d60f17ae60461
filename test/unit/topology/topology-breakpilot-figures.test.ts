// breakpilot: every figure of the seed that has a home in a manifest, by value. Each row names the section it is from;
// where the seed says two things, DECISIONS.md says which one counts.

import { expect, test } from "vitest";

import {
  type Figure,
  GIB,
  hasLine,
  HOUR,
  MIB,
  MINUTE,
  readFigure,
  SECOND,
} from "../../builders/data/topology-figures.ts";
import { manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("breakpilot");

const MACHINES: Figure[] = [
  ["1", "fleet", "nodes[vm-edge].memory", 8 * GIB],
  ["1", "fleet", "nodes[vm-edge].cpus", 2],
  ["1", "fleet", "nodes[vm-edge].env", "prod"],
  ["1", "fleet", "nodes[vm-control].memory", 16 * GIB],
  ["1", "fleet", "nodes[vm-control].cpus", 4],
  ["1", "fleet", "nodes[vm-control].env", "prod"],
  ["1", "fleet", "nodes[vm-data].memory", 16 * GIB],
  ["1", "fleet", "nodes[vm-data].cpus", 4],
  ["1", "fleet", "nodes[vm-data].env", "prod"],
  ["1", "fleet", "nodes.stage.memory", 8 * GIB],
  ["1", "fleet", "nodes.stage.cpus", 2],
  ["1", "fleet", "nodes.stage.env", "stage"],
  ["8", "fleet", "nodes[vm-edge].approval", "tag"],
  ["8", "fleet", "nodes[vm-control].approval", "none"],
  ["4", "fleet", "nodes[vm-edge].data.mount", "/mnt/data"],
  ["4", "fleet", "nodes[vm-control].data.mount", "/mnt/data"],
  ["4", "fleet", "nodes[vm-data].data.mount", "/mnt/data"],
  ["4", "fleet", "nodes.stage.data.mount", "/mnt/data"],
  ["4", "fleet", "repositories[s3-geo].bucket", "backups"],
  ["5, 6", "fleet", "repositories[s3-geo].region", "dus2"],
  ["5, 6", "fleet", "repositories.s3.region", "dus2"],
];

const CAPS: Figure[] = [
  ["6 control plane", "vm-control/customer-portal", "resources.memory", GIB],
  ["6 control plane", "vm-control/erpnext", "resources.memory", 6 * GIB],
  ["6 control plane", "vm-control/mariadb", "resources.memory", 3 * GIB],
  ["6 control plane", "vm-control/stalwart-mail", "resources.memory", GIB],
  ["6 control plane", "vm-control/tenant-registry", "resources.memory", 500 * MIB],
  ["2, 6 identity plane", "vm-edge/keycloak-26", "env.JAVA_OPTS_KC_HEAP", "-Xms512m -Xmx1536m"],
];

const PORTS: Figure[] = [
  ["3", "vm-edge/keycloak-26", "ports[0].hostPort", 8443],
  ["3", "vm-control/erpnext", "ports[0].hostPort", 8000],
  ["3", "vm-edge/gitea", "ports[0].hostPort", 3000],
  ["3", "vm-control/stalwart-mail", "ports[0].hostPort", 587],
  ["3", "vm-edge/powerdns-auth", "ports[0].hostPort", 53],
  ["3", "vm-edge/powerdns-auth", "ports[0].protocol", "tcp"],
  ["3", "vm-edge/powerdns-auth", "ports[1].hostPort", 53],
  ["3", "vm-edge/powerdns-auth", "ports[1].protocol", "udp"],
  ["3", "vm-control/customer-portal", "ports[0].hostPort", 3000],
  ["3", "vm-edge/orca-proxy", "ports[0].hostPort", 80],
  ["3", "vm-edge/orca-proxy", "ports[0].address", undefined],
  ["3", "vm-edge/orca-proxy", "ports[1].hostPort", 443],
  ["3", "vm-edge/orca-proxy", "ports[1].address", undefined],
  ["2", "vm-edge/keycloak-26", "routes[auth.breakpilot.com].rate", "60/s"],
];

// Section 7, except where the column "why" of DECISIONS.md raises a figure. N/A is undefined.
const SLA: [from: string, at: string, availability: number, rto: number, rpo: number | undefined][] = [
  ["7", "vm-edge/orca-proxy", 99.9, 5 * MINUTE, undefined],
  ["7", "vm-edge/powerdns-auth", 99.9, 5 * MINUTE, undefined],
  ["7; rto 15 → 10 min", "vm-edge/keycloak-26", 99.5, 10 * MINUTE, 6 * HOUR],
  ["5; the rest as keycloak", "vm-edge/postgres-keycloak", 99.5, 10 * MINUTE, 6 * HOUR],
  ["7; rto 30 → 5 min", "vm-edge/infisical", 99.5, 5 * MINUTE, 24 * HOUR],
  ["5; the rest as infisical", "vm-edge/postgres-infisical", 99.5, 5 * MINUTE, 24 * HOUR],
  ["as infisical", "vm-edge/redis-infisical", 99.5, 5 * MINUTE, undefined],
  ["7", "vm-edge/gitea", 99, 2 * HOUR, 24 * HOUR],
  ["7", "vm-control/customer-portal", 99.5, 10 * MINUTE, undefined],
  ["7", "vm-control/tenant-registry", 99.5, 10 * MINUTE, 6 * HOUR],
  ["7", "vm-control/erpnext", 99, 60 * MINUTE, 6 * HOUR],
  ["7", "vm-control/frappe-hd", 99, 60 * MINUTE, 24 * HOUR],
  ["7", "vm-control/mariadb", 99.5, 20 * MINUTE, 6 * HOUR],
  ["as erpnext", "vm-control/redis-erpnext", 99, 20 * MINUTE, undefined],
  ["7", "vm-control/stalwart-mail", 99, 60 * MINUTE, 24 * HOUR],
  ["7", "vm-data/certifai-dashboard", 99.5, 10 * MINUTE, 24 * HOUR],
  ["7; rto 20 → 10 min", "vm-data/mongodb", 99.5, 10 * MINUTE, 24 * HOUR],
  ["7", "vm-data/litellm", 99, 5 * MINUTE, undefined],
  ["7", "vm-data/backend-compliance", 99.5, 10 * MINUTE, 6 * HOUR],
  ["7", "vm-data/ai-compliance-sdk", 99.5, 10 * MINUTE, 6 * HOUR],
  ["6 data plane; rto as its back ends", "vm-data/admin-compliance", 99.5, 10 * MINUTE, undefined],
  ["7; rto 20 → 10 min", "vm-data/postgres-app", 99.9, 10 * MINUTE, 6 * HOUR],
  ["7", "vm-data/minio", 99.5, 30 * MINUTE, 24 * HOUR],
  ["7; 99 → 99.5, rto 2 h → 10 min, rpo 24 h → 6 h", "vm-data/qdrant", 99.5, 10 * MINUTE, 6 * HOUR],
];

// Section 5. Every 6h is every 5h, and daily is every 22h, so that a run fits into the recovery point.
const BACKUPS: [at: string, name: string, engine: string, every: number, where: string, days: number, owner: string][] =
  [
    ["vm-edge/postgres-keycloak", "db", "postgres", 5, "s3-geo", 14, "infra"],
    ["vm-edge/postgres-infisical", "db", "postgres", 22, "s3-geo", 30, "infra"],
    ["vm-edge/gitea", "dump", "command", 22, "s3", 30, "infra"],
    ["vm-edge/keycloak-26", "realm", "command", 5, "s3", 14, "identity"],
    ["vm-edge/postgres-infisical", "store", "postgres", 22, "s3", 30, "infra"],
    ["vm-control/mariadb", "db", "mysql", 5, "s3", 30, "control"],
    ["vm-control/stalwart-mail", "store", "files", 22, "s3", 7, "control"],
    ["vm-data/postgres-app", "db", "postgres", 5, "s3-geo", 30, "data"],
    ["vm-data/mongodb", "dump", "command", 22, "s3", 30, "data"],
    ["vm-data/minio", "objects", "files", 22, "s3", 90, "data"],
    ["vm-data/qdrant", "storage", "files", 5, "s3", 14, "data"],
  ];

const OTHERS: Figure[] = [
  ["2", "vm-edge/gitea", "env.GITEA__database__DB_TYPE", "sqlite3"],
  ["2", "vm-data/postgres-app", "backups[db].verify.schemas", ["tenant_registry", "compliance"]],
  ["2", "vm-control/tenant-registry", "env.DB_SCHEMA", "tenant_registry"],
  ["2", "vm-data/backend-compliance", "env.DB_SCHEMA", "compliance"],
  ["G", "vm-control/customer-portal", "env.TENANT_CACHE_SECONDS", "60"],
  ["G", "vm-control/tenant-registry", "update.healthy_within", 60 * SECOND],
  ["D", "vm-data/litellm", "health.start_period", 30 * SECOND],
  ["8 rule 4", "vm-control/customer-portal", "health.http.path", "/health"],
  ["8 rule 4", "vm-control/tenant-registry", "health.http.path", "/health"],
  ["8 rule 4", "vm-data/backend-compliance", "health.http.path", "/health"],
  ["8 rule 4", "vm-data/ai-compliance-sdk", "health.http.path", "/health"],
  ["8 rule 4", "vm-data/admin-compliance", "health.http.path", "/health"],
  ["8 rule 4", "vm-data/certifai-dashboard", "health.http.path", "/health"],
  ["8 rule 4", "vm-data/postgres-app", "health.tcp.port", 5432],
  ["8 rule 4", "vm-control/mariadb", "health.tcp.port", 3306],
  ["8 rule 4", "vm-data/mongodb", "health.tcp.port", 27017],
];

test.each([...MACHINES, ...CAPS, ...PORTS, ...OTHERS])("section %s: %s %s", (_from, at, key, is) => {
  expect(readFigure(topology, at, key)).toEqual(is);
});

test.each(SLA)("section %s: %s", (...[, at, availability, rto, rpo]) => {
  expect(manifestAt(topology, at).slo).toEqual({ availability, rto, ...(rpo === undefined ? {} : { rpo }) });
});

test("sections 7 and E: all of stage, and the table leaves nothing of prod out", () => {
  const stage = topology.services.filter((entry) => entry.node === "stage");
  expect(stage.map((entry) => entry.manifest.slo)).toEqual(stage.map(() => ({ availability: 95, rto: 5 * MINUTE })));
  const prod = topology.services.filter((entry) => entry.node !== "stage").map(placeOf);
  expect(SLA.map(([, at]) => at).toSorted()).toEqual(prod);
});

test.each(BACKUPS)("section 5: %s %s", (...[at, name, engine, hours, where, days, owner]) => {
  const backup = manifestAt(topology, at).backups.find((entry) => entry.name === name);
  expect(backup).toMatchObject({ engine, schedule: `every ${hours}h`, retention: { days, weekly: 0, monthly: 0 } });
  expect(backup?.repositories[0]).toBe(where);
  expect(manifestAt(topology, at).owner).toBe(owner);
});

test("section 5: what is backed up beyond the table is chosen, and stage and the caches are not", () => {
  const rows = topology.services.flatMap((entry) =>
    entry.manifest.backups.map((backup) => `${placeOf(entry)} ${backup.name}`),
  );
  const table = new Set(BACKUPS.map(([at, name]) => `${at} ${name}`));
  expect(rows.filter((row) => !table.has(row))).toEqual(["vm-control/erpnext sites"]);
  const none = topology.services.filter((entry) => entry.manifest.backup !== undefined).map(placeOf);
  expect(none).toEqual([
    "stage/mongodb-stage",
    "stage/postgres-app-stage",
    "stage/qdrant-stage",
    "vm-control/frappe-hd",
    "vm-control/redis-erpnext",
    "vm-edge/redis-infisical",
  ]);
  expect(rows.filter((row) => row.startsWith("stage/"))).toEqual([]);
});

// The commands of section 5's methods, as far as a command runs them.
test.each([
  ["vm-edge/gitea", "dump", ["gitea", "dump"]],
  ["vm-data/mongodb", "dump", ["mongodump"]],
])("section 5: %s is taken with %s", (at, name, begins) => {
  const backup = manifestAt(topology, at).backups.find((entry) => entry.name === name);
  expect(backup?.command?.slice(0, begins.length)).toEqual(begins);
});

test("section 5: the realm is exported by Keycloak itself, in a heap of its own", () => {
  const command = manifestAt(topology, "vm-edge/keycloak-26").backups[0]?.command ?? [];
  expect(command).toContain("JAVA_OPTS_KC_HEAP=-Xms64m -Xmx256m");
  expect(command.slice(command.indexOf("/opt/keycloak/bin/kc.sh")).slice(0, 2)).toEqual([
    "/opt/keycloak/bin/kc.sh",
    "export",
  ]);
});

// Section 8, rule 4: restarted always, with exponential backoff.
test("section 8: every service is restarted always, and kept in a cap", () => {
  const odd = topology.services.filter(({ manifest: { restart, resources } }) => {
    const backs = restart.policy === "always" && restart.backoff.max > restart.backoff.initial;
    return !backs || resources.memory > 6 * GIB;
  });
  expect(odd.map(placeOf)).toEqual([]);
});

test.each([
  ["A: the records live 60 s", "vm-edge/files/powerdns/breakpilot.com.zone", "$TTL 60"],
  ["3: ns1 is vm-edge", "vm-edge/files/powerdns/breakpilot.com.zone", "ns1      IN A   203.0.113.10"],
  ["3: stage has its own address", "vm-edge/files/powerdns/breakpilot.com.zone", "*.stage  IN A   203.0.113.40"],
  ["RISK-8: a second provider", "vm-data/files/litellm/config.yaml", '- default: ["fallback"]'],
  ["2: two schemas", "vm-data/files/postgres-app/10-schemas.sql", "create schema if not exists tenant_registry;"],
  ["2: two schemas", "vm-data/files/postgres-app/10-schemas.sql", "create schema if not exists compliance;"],
])("%s", (_what, file, line) => {
  expect(hasLine(topology, file, line)).toBe(true);
});
