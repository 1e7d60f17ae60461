// Writes a valid manifests repository of any size, to measure lint and the agent with:
//   node scripts/make-repository.ts DIR [--nodes 100] [--services 100]
// The same numbers write the same bytes. Every node has databases with volumes and backups, applications that require
// them, routes and secrets; every tenth node has a proxy whose template loops over the routes of its realm.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { nodes: { type: "string", default: "100" }, services: { type: "string", default: "100" } },
});
const [directory] = positionals;
const [nodes, services] = [Number(values.nodes), Number(values.services)];
if (directory === undefined || !(nodes > 0) || !(services > 0)) {
  console.error("usage: node scripts/make-repository.ts DIR [--nodes 100] [--services 100]");
  process.exit(1);
}

const REALMS = ["prod", "stage"] as const;

function nodeName(node: number): string {
  return `node-${String(node).padStart(4, "0")}`;
}

function realmOf(node: number): string {
  return REALMS[node % 5 === 4 ? 1 : 0];
}

/** The nearest node before this one in the same realm, to require something of. */
function neighbour(node: number): number | undefined {
  for (let other = node - 1; other >= 0; other -= 1) if (realmOf(other) === realmOf(node)) return other;
  return undefined;
}

function writeFleet(): string {
  const tables = Array.from({ length: nodes }, (_value, node) => {
    const address = `10.${node >> 16}.${(node >> 8) & 255}.${node & 255}`;
    return `[nodes.${nodeName(node)}]\naddress = "${address}"\nenv = "${realmOf(node)}"\nmemory = "${services}GiB"\nreserve = "1GiB"\ncpus = 8\n`;
  });
  const repository = `[repositories.s3-geo]\nkind = "s3"\nendpoint = "https://s3.example"\nbucket = "backups"\nregion = "eu-1"\nsecret = "/prod/backup/s3"\n`;
  return [...tables, repository].join("\n");
}

function writeDatabase(index: number): string {
  return `# A database, with its volume, its backup and what it promises.
image = "postgres:16@sha256:${"0123456789abcdef".repeat(4)}"
owner = "data"
stop_timeout = "60s"

[resources]
memory = "768MiB"
cpus = 1.5

[health]
exec = ["pg_isready", "-U", "app"]
interval = "10s"
start_period = "30s"

[env]
POSTGRES_USER = "app"
POSTGRES_PASSWORD_FILE = "/run/secrets/PASSWORD"
PGDATA = "/var/lib/postgresql/data/pgdata"

[secrets.files]
PASSWORD = "/prod/db-${index}/PASSWORD"

[[volumes]]
name = "db-${index}-data"
target = "/var/lib/postgresql/data"

[slo]
availability = 99.9
rto = "10m"
rpo = "6h"

[[backups]]
name = "db"
engine = "postgres"
schedule = "${index % 2 === 0 ? "every 5h" : `${index % 60} */4 * * *`}"
repositories = ["s3-geo", "local"]
retention = { days = 14, daily = 14, weekly = 4, monthly = 0 }
`;
}

function writeApplication(node: number, index: number): string {
  const database = index - (index % 10);
  const other = neighbour(node);
  const requires = [`"svc-${String(database).padStart(4, "0")}"`];
  if (other !== undefined && index % 10 === 7)
    requires.push(`"${nodeName(other)}/svc-${String(database).padStart(4, "0")}"`);
  return `# An application.
image = "registry.example/team/app-${index}:1.${node}.${index}"
command = ["serve", "--port", "8080", "--workers", "4"]
owner = "product"
requires = [${requires.join(", ")}]
wants_timeout = "45s"
ports = ["${10_000 + index}:8080"]

[resources]
memory = "256MiB"
pids = 256

[health]
http = { port = 8080, path = "/healthz" }
interval = "10s"
timeout = "3s"

[env]
LOG_LEVEL = "info"
DATABASE_HOST = "svc-${database}"
DATABASE_NAME = "app_${index}"
PUBLIC_URL = "https://app-${index}.node-${node}.example.com"
CACHE_TTL = "300"

[secrets.env]
DATABASE_PASSWORD = "/prod/app-${index}/DATABASE_PASSWORD"
${index % 10 === 1 ? `\n[[routes]]\nhost = "app-${index}.node-${node}.example.com"\nport = 8080\nrate = "60/s"\n` : ""}
[update]
healthy_within = "3m"

[slo]
availability = 99.5
rto = "15m"
`;
}

function writeProxy(): string {
  return `# The proxy of this realm on this node.
image = "haproxy:3.0"
owner = "infra"
ports = ["80:80", "443:443"]

[resources]
memory = "128MiB"

[health]
tcp = { port = 80 }

[[files]]
source = "files/proxy.cfg.tmpl"
target = "/usr/local/etc/haproxy/haproxy.cfg"
template = true
on_change = { signal = "SIGUSR2" }
`;
}

const TEMPLATE = `# rendered on {{ node }}
{%- for route in routes %}
backend {{ route.host | replace: ".", "-" }}
  server {{ route.service }} {{ route.upstream }}{% if route.state == "stopped" %} disabled{% endif %}
{%- endfor %}
`;

const manifests = join(directory, "orca", "manifests");
mkdirSync(manifests, { recursive: true });
writeFileSync(join(directory, "orca", "fleet.toml"), writeFleet());
for (let node = 0; node < nodes; node += 1) {
  const own = join(manifests, nodeName(node));
  mkdirSync(join(own, "files"), { recursive: true });
  const hasProxy = node % 10 === 0;
  for (let index = 0; index < services; index += 1) {
    const text = index % 10 === 0 ? writeDatabase(index) : writeApplication(node, index);
    const isProxy = hasProxy && index === services - 1;
    writeFileSync(join(own, `svc-${String(index).padStart(4, "0")}.toml`), isProxy ? writeProxy() : text);
  }
  if (hasProxy) writeFileSync(join(own, "files", "proxy.cfg.tmpl"), TEMPLATE);
}
console.log(`${nodes * services} manifests of ${nodes} nodes in ${directory}`);
