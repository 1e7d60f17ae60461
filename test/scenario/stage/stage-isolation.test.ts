// Red team against a stage host with the policy that is shipped: each way by which a commit could reach production is tried
// on the agent itself, with no lint before it, and is refused by a rule with a name.

import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { StageHost, withFile, withTables, withVolume } from "../../builders/node/stage-host.ts";
import type { FakeSecrets } from "../../fakes/fake-secrets.ts";

let host: StageHost;

beforeAll(async () => {
  host = await StageHost.open();
});

afterAll(() => host.remove());

afterEach(() => host.rest());

const RULES: [name: string, rule: RegExp, manifest: string, files?: Record<string, string>][] = [
  [
    "a production secret as a variable",
    /secrets\.allowed_prefixes/,
    withTables('[secrets.env]\nA = "/prod/app/PASSWORD"'),
  ],
  [
    "a production secret as a file",
    /secrets\.allowed_prefixes/,
    withTables('[secrets.files]\na = "/prod/app/PASSWORD"'),
  ],
  [
    "a folder that only begins like stage",
    /secrets\.allowed_prefixes/,
    withTables('[secrets.files]\na = "/stage-of-prod/A"'),
  ],
  ["a path with ..", /is not a secret's path/, withTables('[secrets.files]\na = "/stage/../prod/app/PASSWORD"')],
  [
    "a path with an empty folder",
    /is not a secret's path/,
    withTables('[secrets.files]\na = "/stage//../prod/app/PASSWORD"'),
  ],
  [
    "a bootstrap file",
    /bootstrap\.allowed_files/,
    withTables('[bootstrap]\nenv_file = "/etc/orca/bootstrap/prod.env"'),
  ],
  ["what was delivered to others", /Orca's own directories/, withVolume("/run/orca/secrets")],
  ["the agent's state", /Orca's own directories/, withVolume("/var/lib/orca")],
  ["the root of the host", /docker_socket|own directories/, withVolume("/")],
  ["the engine's socket through a link", /mounts\.docker_socket/, withVolume("@data/harmless")],
  ["a host directory", /mounts\.allowed_prefixes/, withVolume("/srv/prod")],
  ["a host directory with ..", /has a "\." or "\.\." in it/, withVolume("/mnt/data/../../etc")],
  [
    "a config file outside of the node's directory",
    /leaves the node's directory/,
    withTables('[[files]]\nsource = "../vm-edge/files/x"\ntarget = "/x"'),
  ],
  ["the real Polar in a variable", /env POLAR_API_URL/, withTables('[env]\nPOLAR_API_URL = "https://api.polar.sh"')],
  [
    "the real Polar behind a name like the sandbox",
    /env POLAR_API_URL/,
    withTables('[env]\nPOLAR_API_URL = "https://sandbox-api.polar.sh.evil.example"'),
  ],
  [
    "the real Polar from a secret, as a variable",
    /env POLAR_API_URL/,
    withTables('[secrets.env]\nPOLAR_API_URL = "/stage/app/POLAR"'),
  ],
  [
    "the real Polar from a secret, as a file",
    /env POLAR_API_URL/,
    withTables('[secrets.files]\nPOLAR_API_URL = "/stage/app/POLAR"'),
  ],
  [
    "the real Polar from a secret, under another name",
    /text\.forbidden/,
    withTables('[secrets.env]\nBASE = "/stage/app/POLAR"'),
  ],
  [
    "the real Polar in an argument",
    /text\.forbidden/,
    withTables("", 'command = ["app", "--polar=https://api.polar.sh"]'),
  ],
  [
    "the real Polar in a config file",
    /text\.forbidden/,
    withFile(false),
    { "files/env": "POLAR_API_URL=https://api.polar.sh\n" },
  ],
  [
    "the real Polar put together by a template",
    /text\.forbidden/,
    withFile(true),
    { "files/env": '{% assign a = "https://api" %}{{ a }}.polar.sh' },
  ],
  [
    "a template that reads a file of the host",
    /does not render/,
    withFile(true),
    { "files/env": '{% include "/etc/shadow" %}' },
  ],
  ["a production client", /env \*OIDC_CLIENT_ID\*/, withTables('[env]\nOIDC_CLIENT_ID = "portal"')],
  [
    "a production client from a secret",
    /env \*OIDC_CLIENT_ID\*/,
    withTables('[secrets.env]\nAPP_OIDC_CLIENT_ID = "/stage/app/CLIENT"'),
  ],
  [
    "a production database in a variable",
    /text\.forbidden/,
    withTables('[env]\nDB_URL = "postgres://vm-data:5432/app"'),
  ],
  ["a production database by its address", /text\.forbidden/, withTables('[env]\nDB_HOST = "10.0.0.30"')],
  [
    "a production database from a secret",
    /text\.forbidden/,
    withTables('[secrets.files]\n"db.url" = "/stage/app/URL"'),
  ],
  ["the host's network", /security\.host_network/, withTables("", 'network = "host"')],
  ["privileges", /security\.privileged/, withTables("", "privileged = true")],
];

test.each(RULES)("%s is refused by %s", async (_name, rule, manifest, files) => {
  const { state, reason, asked, containers } = await host.attack(manifest.replace("@data", host.data), files);
  expect(["refused", "invalid"]).toContain(state);
  expect(reason).toMatch(rule);
  expect(reason).not.toContain("canary");
  expect(containers).toBe(0);
  expect(asked.filter((path) => !path.startsWith("/stage/"))).toEqual([]);
});

test("a link that changes after it was judged is judged anew", async () => {
  const place = join(host.data, "moving");
  mkdirSync(join(host.data, "real"), { recursive: true });
  symlinkSync(join(host.data, "real"), place);
  const mounts = { ...host.policy.mounts, allowed_prefixes: [host.data] };
  expect((await host.attack(withVolume(place), {}, { mounts })).state).not.toBe("refused");
  rmSync(place);
  symlinkSync("/etc", place);
  await host.node?.clock.advance(60_000);
  expect(host.node?.view("app").reason).toMatch(/which is really \/etc,/);
});

test("what stage may have runs: its own secrets, the sandbox, auth and mail of production, its own client", async () => {
  const { state, reason } = await host.attack(
    withTables(
      '[env]\nPOLAR_API_URL = "https://sandbox-api.polar.sh"\nOIDC_CLIENT_ID = "stage_client_id"\n' +
        'OIDC_ISSUER = "https://auth.breakpilot.com/realms/x"\nSMTP_HOST = "mail.breakpilot.com"\n' +
        '[secrets.files]\npassword = "/stage/app/PASSWORD"\n[secrets.env]\nPOLAR_API_URL2 = "/stage/app/SANDBOX"',
    ),
  );
  expect([state, reason]).toEqual(["healthy", expect.any(String)]);
});

test("a secret whose value turns bad is not taken: the service stays on what it has", async () => {
  await host.attack(withTables('[secrets.env]\nPOLAR_API_URL = "/stage/app/SANDBOX"'));
  const { node } = host;
  if (node === undefined) throw new Error("there is no node");
  await node.untilSettled(["app"]);
  const secrets = node.choices.secrets as FakeSecrets;
  secrets.set({ "/stage/app/SANDBOX": "https://api.polar.sh" });
  await node.clock.advance(120_000);
  expect(node.engine.running("app")?.request?.extraEnv["POLAR_API_URL"]).toBe("https://sandbox-api.polar.sh");
  expect(node.view("app").reason).toContain("rule env POLAR_API_URL");
});
