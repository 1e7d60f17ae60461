// breakpilot: every service of the seed's section 2, every edge of its sections 9 to 11, the phases of its cold start,
// the routes of section 3 and the rules that keep stage away from prod. Figures: topology-breakpilot-figures.test.ts.

import { describe, expect, test } from "vitest";

import { buildTemplateContext } from "../../../agent/desired/build/delivered-files.ts";
import { buildRoutes } from "../../../agent/desired/repository/routes.ts";
import { templates } from "../../../shared/text/template.ts";
import { type Edges, edges, hasLine, MINUTE, readEdges, readFigure } from "../../builders/data/topology-figures.ts";
import { listServices, manifestAt, placeOf, readTopology } from "../../../scripts/lab/cold/topology.ts";

const topology = await readTopology("breakpilot");

// Section 2. orca-controller is left out: agents take its place.
const SERVICES = {
  "vm-edge": [
    "orca-proxy",
    "powerdns-auth",
    "keycloak-26",
    "postgres-keycloak",
    "infisical",
    "postgres-infisical",
    "redis-infisical",
    "gitea",
  ],
  "vm-control": [
    "customer-portal",
    "tenant-registry",
    "erpnext",
    "frappe-hd",
    "mariadb",
    "redis-erpnext",
    "stalwart-mail",
  ],
  "vm-data": [
    "certifai-dashboard",
    "mongodb",
    "litellm",
    "backend-compliance",
    "ai-compliance-sdk",
    "admin-compliance",
    "postgres-app",
    "qdrant",
    "minio",
  ],
  stage: [
    "orca-proxy",
    "customer-portal",
    "tenant-registry",
    "certifai-dashboard",
    "backend-compliance",
    "ai-compliance-sdk",
    "admin-compliance",
    "litellm",
    "postgres-app-stage",
    "mongodb-stage",
    "qdrant-stage",
  ],
};

test("section 2: these services on these machines, and no other", () => {
  const expected = Object.fromEntries(Object.entries(SERVICES).map(([node, names]) => [node, names.toSorted()]));
  expect(listServices(topology)).toEqual(expected);
  expect(topology.services.length).toBe(35);
});

const KC = "vm-edge/keycloak-26";
const INF = "vm-edge/infisical";

// Hard: section 10 F. Soft: ◐ of section 11 and scenario D, and what sections 9 and 11 have beyond section 10 F.
const EDGES: [place: string, from: string, row: Partial<Edges>][] = [
  ["vm-edge/postgres-keycloak", "10 F phase 0", {}],
  ["vm-edge/postgres-infisical", "10 F phase 0", {}],
  ["vm-edge/redis-infisical", "10 F phase 0", {}],
  ["vm-edge/infisical", "10 F phase 1", { requires: ["postgres-infisical", "redis-infisical"] }],
  ["vm-edge/powerdns-auth", "10 F phase 1", {}],
  ["vm-edge/keycloak-26", "10 F phase 2; 11 ◐*", { requires: ["postgres-keycloak"], wants: ["infisical"] }],
  ["vm-edge/gitea", "10 F phase 2; 11", { wants: ["infisical"] }],
  [
    "vm-edge/orca-proxy",
    "10 F phase 5",
    {
      expiring: [
        "keycloak-26",
        "powerdns-auth",
        "gitea",
        "vm-control/customer-portal",
        "vm-control/erpnext",
        "vm-control/stalwart-mail",
      ],
    },
  ],
  ["vm-control/mariadb", "10 F phase 0", {}],
  ["vm-control/redis-erpnext", "10 F phase 0", {}],
  ["vm-control/tenant-registry", "10 F phase 3; 11", { requires: [KC, "vm-data/postgres-app"], wants: [INF] }],
  ["vm-control/erpnext", "10 F phase 3; 11", { requires: ["mariadb", "redis-erpnext", KC], wants: [INF] }],
  ["vm-control/frappe-hd", "10 F phase 3; 11", { requires: ["mariadb", "redis-erpnext", KC], wants: [INF] }],
  ["vm-control/stalwart-mail", "10 F phase 3", { requires: [INF] }],
  ["vm-control/customer-portal", "10 F phase 4; 11", { requires: [KC, "tenant-registry"], wants: [INF] }],
  ["vm-data/postgres-app", "10 F phase 0", {}],
  ["vm-data/mongodb", "10 F phase 0", {}],
  ["vm-data/qdrant", "10 F phase 0", {}],
  ["vm-data/minio", "10 F phase 0", {}],
  ["vm-data/litellm", "10 F phase 3", { requires: [INF] }],
  ["vm-data/certifai-dashboard", "10 F phase 3; 11; D", { requires: [KC, "mongodb"], wants: ["litellm", INF] }],
  ["vm-data/backend-compliance", "10 F phase 3; 9; 11", { requires: [KC, "postgres-app"], wants: ["minio", INF] }],
  [
    "vm-data/ai-compliance-sdk",
    "10 F phase 3; 11; D",
    { requires: ["postgres-app", "qdrant"], wants: ["litellm", INF] },
  ],
  ["vm-data/admin-compliance", "10 F phase 3", { requires: ["backend-compliance", "ai-compliance-sdk"] }],
  ["stage/postgres-app-stage", "2", {}],
  ["stage/mongodb-stage", "2", {}],
  ["stage/qdrant-stage", "2", {}],
  ["stage/litellm", "2", {}],
  ["stage/tenant-registry", "2", { requires: ["postgres-app-stage"] }],
  ["stage/customer-portal", "as prod, less prod's", { requires: ["tenant-registry"] }],
  ["stage/certifai-dashboard", "as prod, less prod's", { requires: ["mongodb-stage"], wants: ["litellm"] }],
  ["stage/backend-compliance", "as prod, less prod's", { requires: ["postgres-app-stage"] }],
  [
    "stage/ai-compliance-sdk",
    "as prod, less prod's",
    { requires: ["postgres-app-stage", "qdrant-stage"], wants: ["litellm"] },
  ],
  ["stage/admin-compliance", "as prod", { requires: ["backend-compliance", "ai-compliance-sdk"] }],
  ["stage/orca-proxy", "3", { expiring: ["customer-portal"] }],
];

test.each(EDGES)("%s waits for what section %s says", (place, _from, row) => {
  expect(readEdges(topology, place)).toEqual(edges(row));
});

test("the table of edges leaves no service out", () => {
  expect(EDGES.map(([place]) => place).toSorted()).toEqual(topology.services.map(placeOf).toSorted());
});

// Section 10 F, phase by phase.
const PHASES: string[][] = [
  [
    "vm-data/postgres-app",
    "vm-data/mongodb",
    "vm-data/qdrant",
    "vm-data/minio",
    "vm-control/mariadb",
    "vm-control/redis-erpnext",
    "vm-edge/postgres-keycloak",
    "vm-edge/postgres-infisical",
    "vm-edge/redis-infisical",
  ],
  [INF, "vm-edge/powerdns-auth"],
  [KC, "vm-edge/gitea"],
  [
    "vm-control/tenant-registry",
    "vm-control/erpnext",
    "vm-control/frappe-hd",
    "vm-control/stalwart-mail",
    "vm-data/litellm",
    "vm-data/certifai-dashboard",
    "vm-data/backend-compliance",
    "vm-data/ai-compliance-sdk",
    "vm-data/admin-compliance",
  ],
  ["vm-control/customer-portal"],
  ["vm-edge/orca-proxy"],
];

/** `service` and `node/service`, both as `node/service`. */
function placeFrom(node: string, target: string): string {
  return target.includes("/") ? target : `${node}/${target}`;
}

describe("section 10 F: the cold start", () => {
  const phaseOf = new Map(PHASES.flatMap((phase, number) => phase.map((place) => [place, number] as const)));
  const prod = topology.services.filter((entry) => entry.node !== "stage");

  test("every service of prod has a phase", () => {
    expect([...phaseOf.keys()].toSorted()).toEqual(prod.map(placeOf));
  });

  test.each(prod)("$node/$service waits for nothing of a later phase", (entry) => {
    const { requires, wants, expiring } = readEdges(topology, placeOf(entry));
    const mine = phaseOf.get(placeOf(entry)) ?? -1;
    const places = [...requires, ...wants, ...expiring].map((target) => placeFrom(entry.node, target));
    expect(places.filter((place) => (phaseOf.get(place) ?? Infinity) > mine)).toEqual([]);
  });

  test("the data roots wait for nothing", () => {
    const roots = PHASES[0] ?? [];
    expect(roots.map((place) => readEdges(topology, place))).toEqual(roots.map(() => edges({})));
  });

  test("the proxy waits for every service that has a route, 4 minutes at most", () => {
    const routed = prod.filter((entry) => entry.manifest.routes.length > 0).map(placeOf);
    const awaited = readEdges(topology, "vm-edge/orca-proxy").expiring;
    expect(awaited.map((target) => placeFrom("vm-edge", target)).toSorted()).toEqual(routed);
    const { requires } = manifestAt(topology, "vm-edge/orca-proxy");
    expect(requires.map((entry) => entry.expiresMs)).toEqual(requires.map(() => 4 * MINUTE));
  });
});

// Section 8, rule 3: what Infisical itself stands on, and Keycloak's database, come from files on the host.
test.each([
  ["vm-edge/keycloak-26", "/etc/orca/bootstrap/keycloak.env"],
  ["vm-edge/postgres-keycloak", "/etc/orca/bootstrap/postgres-keycloak.env"],
  ["vm-edge/infisical", "/etc/orca/bootstrap/infisical.env"],
  ["vm-edge/postgres-infisical", "/etc/orca/bootstrap/postgres-infisical.env"],
])("%s takes %s", (place, file) => {
  expect(readFigure(topology, place, "bootstrap.env_file")).toBe(file);
});

test("tier 0 asks Infisical for nothing, and Keycloak not for its database", () => {
  const tier0 = ["infisical", "postgres-infisical", "redis-infisical", "postgres-keycloak"];
  expect(tier0.filter((name) => manifestAt(topology, `vm-edge/${name}`).secrets !== undefined)).toEqual([]);
  const { env, secrets } = manifestAt(topology, KC);
  const names = [...Object.keys(env), ...Object.keys(secrets?.env ?? {}), ...Object.keys(secrets?.files ?? {})];
  expect(names).not.toEqual(expect.arrayContaining([expect.stringMatching(/^KC_DB_(URL|PASSWORD|USERNAME)/)]));
  const files = topology.services.filter((entry) => entry.manifest.bootstrap !== undefined);
  expect(files.every((entry) => entry.node === "vm-edge")).toBe(true);
});

describe("section 3: the routes", () => {
  const OURS = ["10.0.0.0/16", "203.0.113.0/24"];
  const cfg = templates.render(topology.files.get("vm-edge/files/haproxy/haproxy.cfg.tmpl") ?? "", {
    ...buildTemplateContext({ node: "vm-edge", service: "orca-proxy", fleet: topology.fleet }, []),
    routes: buildRoutes(topology.services, "vm-edge", topology.fleet),
  });

  test("vm-edge: hosts, upstreams and allowlists", () => {
    const rows = buildRoutes(topology.services, "vm-edge", topology.fleet).map((route) => [
      route.host,
      `${route.node}/${route.service}`,
      route.upstream,
      route.allow,
    ]);
    expect(rows).toEqual([
      ["auth.breakpilot.com", KC, "keycloak-26:8443", []],
      ["mail.breakpilot.com", "vm-control/stalwart-mail", "10.0.0.20:587", ["10.0.0.0/16"]],
      ["erp.breakpilot.com", "vm-control/erpnext", "10.0.0.20:8000", ["10.0.0.0/24", "203.0.113.0/24"]],
      ["git.breakpilot.com", "vm-edge/gitea", "gitea:3000", OURS],
      ["ns1.breakpilot.com", "vm-edge/powerdns-auth", "powerdns-auth:53", []],
      ["*.breakpilot.com", "vm-control/customer-portal", "10.0.0.20:3000", []],
    ]);
  });

  test("stage: every subdomain to the portal", () => {
    const rows = buildRoutes(topology.services, "stage", topology.fleet);
    expect(rows.map((route) => [route.host, route.upstream])).toEqual([
      ["*.stage.breakpilot.com", "customer-portal:3000"],
    ]);
    expect(manifestAt(topology, "stage/customer-portal").ports).toEqual([
      { address: "127.0.0.1", hostPort: 3000, containerPort: 3000, protocol: "tcp" },
    ]);
  });

  test.each([
    "acl route-6 hdr(host),field(1,:),lower -m end .breakpilot.com",
    "http-request deny deny_status 403 if { var(txn.route) -m str route-3 } !{ src 10.0.0.0/24 203.0.113.0/24 }",
    "acl guest-machine src 10.0.1.10",
    "http-request deny deny_status 403 if { var(txn.route) -m str route-4 } guest-machine !agents-door",
    "http-request deny deny_status 403 if { var(txn.route) -m str route-6 } guest-machine",
    "http-request deny deny_status 403 if { var(txn.route) -m str route-4 } !{ src 10.0.0.0/16 203.0.113.0/24 }",
    "acl route-1-guest src 10.0.1.10",
    "acl route-1-guest req.body_param(client_id),url_dec(1) -m str stage_client_id",
    "http-request track-sc0 str(guests) table route-1-rate if { var(txn.route) -m str route-1 } route-1-guest",
    "http-request deny deny_status 429 if { var(txn.route) -m str route-1 } route-1-guest { sc0_gpc0_rate(route-1-rate) gt 60 }",
    "stick-table type string len 32 size 1k expire 1m store gpc0,gpc0_rate(1s)",
    "tcp-request connection reject if !{ src 10.0.0.0/16 }",
    "server stalwart-mail 10.0.0.20:587",
    "bind :587",
  ])("the proxy's configuration has: %s", (line) => {
    expect(cfg.split("\n").map((entry) => entry.trim())).toContain(line);
  });

  test("the most specific host is chosen first", () => {
    const order = ["auth.breakpilot.com", "erp.breakpilot.com", "git.breakpilot.com", "end .breakpilot.com"];
    const places = order.map((host) => cfg.indexOf(host));
    expect(places.every((place) => place > 0)).toBe(true);
    expect(places).toEqual(places.toSorted((left, right) => left - right));
  });
});

describe("section 2: stage cannot touch prod", () => {
  const stage = topology.services.filter((entry) => entry.node === "stage");
  const prod = topology.services.filter((entry) => entry.node !== "stage");

  test("stage is a realm of its own", () => {
    expect(["vm-edge", "vm-control", "vm-data", "stage"].map((node) => topology.fleet.nodes[node]?.env)).toEqual([
      "prod",
      "prod",
      "prod",
      "stage",
    ]);
  });

  test("every POLAR_API_URL of stage is the sandbox's, and none of prod is", () => {
    const urls = (services: typeof stage) => services.flatMap((entry) => entry.manifest.env["POLAR_API_URL"] ?? []);
    expect(urls(stage)).toEqual(Array.from({ length: 6 }, () => "https://sandbox-api.polar.sh"));
    expect(urls(prod)).toEqual(["https://api.polar.sh"]);
  });

  test("stage signs in as stage_client_id, and prod refuses that audience", () => {
    const clients = stage.flatMap((entry) => entry.manifest.env["OIDC_CLIENT_ID"] ?? []);
    expect(clients).toEqual(Array.from({ length: 5 }, () => "stage_client_id"));
    const takeTokens = prod.filter((entry) => entry.manifest.env["OIDC_ISSUER"] !== undefined);
    expect(takeTokens.map((entry) => [entry.service, entry.manifest.env["JWT_REJECTED_AUDIENCES"]])).toEqual([
      ["customer-portal", "stage_client_id"],
      ["erpnext", "stage_client_id"],
      ["frappe-hd", "stage_client_id"],
      ["tenant-registry", "stage_client_id"],
      ["admin-compliance", "stage_client_id"],
      ["backend-compliance", "stage_client_id"],
      ["certifai-dashboard", "stage_client_id"],
    ]);
  });

  test("no environment of stage names a prod machine or a prod database", () => {
    const values = stage.flatMap((entry) => Object.values(entry.manifest.env));
    expect(values.filter((value) => /vm-(edge|control|data)|postgres-app(?!-stage)|10\.0\.0\./.test(value))).toEqual(
      [],
    );
  });

  test("stage runs newer images than prod, and LiteLLM's is the same", () => {
    const shared = stage.filter((entry) => prod.some((other) => other.service === entry.service));
    const same = shared.filter(
      (entry) => prod.find((other) => other.service === entry.service)?.manifest.image === entry.manifest.image,
    );
    expect(same.map((entry) => entry.service)).toEqual(["litellm", "orca-proxy"]);
  });

  test("mail from stage reaches +stage@ addresses only", () => {
    const file = "vm-control/files/stalwart/config.toml";
    expect(
      hasLine(topology, file, `{ if = "authenticated_as = 'stage@breakpilot.com'", then = "'stage-recipients'" },`),
    ).toBe(true);
    expect(hasLine(topology, file, 'if not envelope :matches "to" "*+stage@*" {')).toBe(true);
    expect(readFigure(topology, "stage/customer-portal", "env.SMTP_HOST")).toBe("mail.breakpilot.com");
    expect(readFigure(topology, "stage/customer-portal", "env.SMTP_PORT")).toBe("587");
  });
});
