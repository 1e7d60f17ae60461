// The five rows of the seed's table (section 2) × the six ways by which a commit could get around them, each tried on the agent of a
// stage host with no lint before it. Every cell is a test; the one that cannot be says why.

import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import type { Policy } from "../../../shared/policy/policy.ts";
import { StageHost, withFile, withTables, withVolume } from "../../builders/node/stage-host.ts";

const ROWS = {
  database: "stage writes to a production database",
  mail: "stage writes to real customers",
  charges: "stage triggers real charges at Polar",
  token: "a token of stage is used in production",
  load: "stage's load takes Keycloak down",
} as const;
const WAYS = ["manifest", "template", "symlink", "..", "secret reference", "value of a secret"] as const;

/** One cell: what is tried, and the rule that refuses it; or why there is nothing to try. */
type Cell =
  | { tries: string; rule: RegExp; manifest: string; files?: Record<string, string>; linkTo?: string }
  | { none: string };

const PREFIX = /secrets\.allowed_prefixes/;
const TEXT = /text\.forbidden/;

function rendered(text: string): { manifest: string; files: Record<string, string> } {
  return { manifest: withFile(true), files: { "files/env": text } };
}

function foreignFile(source: string): string {
  return withTables(`[[files]]\nsource = "${source}"\ntarget = "/x"`);
}

const MOUNTED = withVolume("@data/place");

const CELLS: Record<keyof typeof ROWS, Record<(typeof WAYS)[number], Cell>> = {
  database: {
    manifest: { tries: "its address", rule: TEXT, manifest: withTables('[env]\nDB_HOST = "10.0.0.30"') },
    template: { tries: "its name, put together", rule: TEXT, ...rendered('{% assign a = "data" %}db = "vm-{{ a }}"') },
    symlink: {
      tries: "the state with sealed passwords",
      rule: /Orca's own directories/,
      manifest: MOUNTED,
      linkTo: "/var/lib/orca",
    },
    "..": {
      tries: "a password outside of /stage",
      rule: /is not a secret's path/,
      manifest: withTables('[secrets.files]\na = "/stage/../prod/tenant-registry/DB_PASSWORD"'),
    },
    "secret reference": {
      tries: "its password",
      rule: PREFIX,
      manifest: withTables('[secrets.env]\nDB_PASSWORD = "/prod/tenant-registry/DB_PASSWORD"'),
    },
    "value of a secret": {
      tries: "its URL",
      rule: TEXT,
      manifest: withTables('[secrets.env]\nDB_URL = "/stage/app/URL"'),
    },
  },
  mail: {
    manifest: {
      tries: "another mail server",
      rule: /env \*SMTP_HOST\*/,
      manifest: withTables('[env]\nAPP_SMTP_HOST = "smtp.customer.example"'),
    },
    template: {
      tries: "a mail server's address in a file",
      rule: TEXT,
      ...rendered('{% assign a = "smtp" %}url = "{{ a }}://x:y@relay.example:587"'),
    },
    symlink: {
      tries: "what was delivered to the mail host's services",
      rule: /Orca's own directories/,
      manifest: MOUNTED,
      linkTo: "/run/orca/secrets",
    },
    "..": {
      tries: "Stalwart's own configuration",
      rule: /leaves the node's directory/,
      manifest: foreignFile("../vm-control/files/stalwart/config.toml"),
    },
    "secret reference": {
      tries: "the mail server's own password",
      rule: PREFIX,
      manifest: withTables('[secrets.files]\np = "/prod/stalwart/ADMIN_PASSWORD"'),
    },
    "value of a secret": {
      tries: "another mail server",
      rule: /env \*SMTP_HOST\*/,
      manifest: withTables('[secrets.env]\nSMTP_HOST = "/stage/app/RELAY"'),
    },
  },
  charges: {
    manifest: {
      tries: "the real Polar",
      rule: /env POLAR_API_URL/,
      manifest: withTables('[env]\nPOLAR_API_URL = "https://api.polar.sh"'),
    },
    template: {
      tries: "the real Polar, put together",
      rule: TEXT,
      ...rendered('{% assign a = "https://api" %}{{ a }}.polar.sh'),
    },
    symlink: {
      tries: "the host's own files with keys",
      rule: /Orca's own directories/,
      manifest: MOUNTED,
      linkTo: "/etc/orca",
    },
    "..": {
      tries: "production's webhook secret",
      rule: /is not a secret's path/,
      manifest: withTables('[secrets.env]\nA = "/stage/app/../../prod/customer-portal/POLAR_WEBHOOK_SECRET"'),
    },
    "secret reference": {
      tries: "production's webhook secret",
      rule: PREFIX,
      manifest: withTables('[secrets.files]\nw = "/prod/customer-portal/POLAR_WEBHOOK_SECRET"'),
    },
    "value of a secret": {
      tries: "the real Polar",
      rule: /env POLAR_API_URL/,
      manifest: withTables('[secrets.env]\nPOLAR_API_URL = "/stage/app/POLAR"'),
    },
  },
  token: {
    manifest: {
      tries: "production's client",
      rule: /env \*OIDC_CLIENT_ID\*/,
      manifest: withTables('[env]\nOIDC_CLIENT_ID = "portal"'),
    },
    template: {
      tries: "production's client in a file",
      rule: TEXT,
      ...rendered('{% assign a = "client" %}"{{ a }}_id": "portal"'),
    },
    symlink: {
      tries: "the engine, and with it every token",
      rule: /mounts\.docker_socket/,
      manifest: MOUNTED,
      linkTo: "/var/run",
    },
    "..": {
      tries: "the client's secret in another node's files",
      rule: /leaves the node's directory/,
      manifest: foreignFile("files/../../vm-control/files/client.json"),
    },
    "secret reference": {
      tries: "the client's secret",
      rule: PREFIX,
      manifest: withTables('[secrets.files]\nOIDC_CLIENT_SECRET = "/prod/customer-portal/OIDC_CLIENT_SECRET"'),
    },
    "value of a secret": {
      tries: "production's client",
      rule: /env \*OIDC_CLIENT_ID\*/,
      manifest: withTables('[secrets.env]\nAPP_OIDC_CLIENT_ID = "/stage/app/CLIENT"'),
    },
  },
  load: {
    manifest: {
      tries: "Keycloak's own port, past the proxy that counts",
      rule: TEXT,
      manifest: withTables('[env]\nOIDC_ISSUER = "https://10.0.0.10:8443/realms/breakpilot"'),
    },
    template: {
      tries: "the same, put together",
      rule: TEXT,
      ...rendered('issuer = "https://{{ "vm-" | append: "edge" }}:8443"'),
    },
    symlink: { none: "a link leads to files of this host, and no file of it carries requests past the proxy" },
    "..": {
      tries: "the proxy's template, to write another rate into it",
      rule: /leaves the node's directory/,
      manifest: foreignFile("../vm-edge/files/haproxy/haproxy.cfg.tmpl"),
    },
    "secret reference": {
      tries: "another client's secret, which is not counted as stage's",
      rule: PREFIX,
      manifest: withTables('[secrets.env]\nS = "/prod/customer-portal/OIDC_CLIENT_SECRET"'),
    },
    "value of a secret": {
      tries: "Keycloak's own port",
      rule: TEXT,
      manifest: withTables('[secrets.env]\nOIDC_ISSUER = "/stage/app/ISSUER"'),
    },
  },
};

let host: StageHost;

beforeAll(async () => {
  host = await StageHost.open();
});

afterAll(() => host.remove());

afterEach(() => host.rest());

/** Where links are tried, a host's administrator has allowed a directory: the link in it must still be seen through. */
function allowData(linkTo: string | undefined): Partial<Policy> {
  if (linkTo === undefined) return {};
  const place = join(host.data, "place");
  rmSync(place, { force: true });
  symlinkSync(linkTo, place);
  return { mounts: { ...host.policy.mounts, allowed_prefixes: [host.data] } };
}

describe.each(Object.entries(ROWS))("%s: %s", (row, _what) => {
  const cells = Object.entries(CELLS[row as keyof typeof ROWS]);

  test("has a cell for each way", () => expect(cells.map(([way]) => way)).toEqual(WAYS));

  const empty = cells.flatMap(([way, cell]) => ("none" in cell ? [[way, cell.none] as const] : []));
  for (const [way, none] of empty) test(`${way}: nothing to try: ${none}`, () => expect(none).not.toBe(""));

  const tried = cells.flatMap(([way, cell]) => ("none" in cell ? [] : [[way, cell] as const]));
  for (const [way, cell] of tried) {
    test(`${way}: ${cell.tries} is refused`, async () => {
      const { manifest, files, rule, linkTo } = cell;
      const choices = allowData(linkTo);
      const end = await host.attack(manifest.replace("@data", host.data), files, choices);
      expect(["refused", "invalid"]).toContain(end.state);
      expect(end.reason).toMatch(rule);
      expect(end.reason).not.toContain("canary");
      expect(end.containers).toBe(0);
      expect(end.asked.filter((path) => !path.startsWith("/stage/"))).toEqual([]);
    });
  }
});

test("the cells with links are refused for where the link leads: the same place without it is allowed", async () => {
  const place = join(host.data, "real");
  mkdirSync(place);
  const mounts = { ...host.policy.mounts, allowed_prefixes: [host.data] };
  expect((await host.attack(withVolume(place), {}, { mounts })).state).toBe("healthy");
});

test("what stage may have in each row runs", async () => {
  const variables = [
    'DB_HOST = "postgres-app-stage"',
    'SMTP_HOST = "mail.breakpilot.com"',
    'SMTP_USER = "stage@breakpilot.com"',
    'SMTP_URL = "smtp://stage%40breakpilot.com@mail.breakpilot.com:587"',
    'POLAR_API_URL = "https://sandbox-api.polar.sh"',
    'OIDC_CLIENT_ID = "stage_client_id"',
    'OIDC_ISSUER = "https://auth.breakpilot.com/realms/breakpilot"',
  ];
  const tables = `[env]\n${variables.join("\n")}\n[[files]]\nsource = "files/env"\ntarget = "/etc/app.env"\ntemplate = true`;
  const files = { "files/env": "client_id = stage_client_id\nclientId: 'stage_client_id'\n" };
  const { state, reason } = await host.attack(withTables(tables), files);
  expect([state, reason]).toEqual(["healthy", expect.any(String)]);
});
