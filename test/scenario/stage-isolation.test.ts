// Red team against a stage host with the policy that is shipped: each way by which a commit could reach production is tried
// on the agent itself, with no lint before it, and is refused by a rule with a name.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { parseToml } from "../../shared/parse-toml.ts";
import { type Policy, policySchema } from "../../shared/policy.ts";
import { buildManifest } from "../builders/manifest.ts";
import { NODE, TestNode } from "../builders/node.ts";
import { FakeSecrets } from "../fakes/fake-secrets.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FLEET = `[nodes.${NODE}]\naddress = "10.0.1.10"\nenv = "stage"\nmemory = "8GiB"\n`;
const directory = mkdtempSync(join(tmpdir(), "orca-stage-"));
let policy: Policy;
let node: TestNode | undefined;

const VALUES = {
  "/stage/app/POLAR": "https://api.polar.sh/v1",
  "/stage/app/SANDBOX": "https://sandbox-api.polar.sh",
  "/stage/app/CLIENT": "portal",
  "/stage/app/URL": "postgres://app:x@vm-data:5432/app",
  "/stage/app/PASSWORD": "only-for-stage",
  "/prod/app/PASSWORD": "canary-of-production",
};

beforeAll(async () => {
  const text = readFileSync(join(ROOT, "host-config/policy-stage.toml"), "utf8");
  const parsed = await parseToml(policySchema, text, "policy-stage.toml");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  policy = parsed.value;
  mkdirSync(join(directory, "data"));
  symlinkSync("/var/run", join(directory, "data", "harmless"));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

afterEach(async () => {
  await node?.dispose();
  node = undefined;
});

/** Starts an agent with this service alone; answers what status says of it, and which secrets were asked for. */
async function attack(
  manifest: string,
  files: Record<string, string> = {},
  choices: Partial<Policy> = {},
): Promise<{ state: string; reason: string; asked: string[]; containers: number }> {
  const secrets = new FakeSecrets();
  for (const [path, value] of Object.entries(VALUES)) secrets.values.set(path, value);
  node = new TestNode({ secrets, settings: { policy: { ...policy, ...choices } } });
  node.source.setFleet(FLEET);
  for (const [path, content] of Object.entries(files)) node.source.setFile(path, content);
  node.source.set({ app: manifest });
  await node.start();
  await node.clock.advance(30_000);
  const { state, reason } = node.view("app");
  return { state, reason, asked: [...secrets.asked], containers: node.engine.containers.size };
}

function withTables(tables: string, top = ""): string {
  return buildManifest({ top, tables });
}

function withFile(template: boolean): string {
  return withTables(`[[files]]\nsource = "files/env"\ntarget = "/etc/app.env"\ntemplate = ${template}`);
}

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
  ["what was delivered to others", /Orca's own directories/, volume("/run/orca/secrets")],
  ["the agent's state", /Orca's own directories/, volume("/var/lib/orca")],
  ["the root of the host", /docker_socket|own directories/, volume("/")],
  ["the engine's socket through a link", /mounts\.docker_socket/, volume(join(directory, "data", "harmless"))],
  ["a host directory", /mounts\.allowed_prefixes/, volume("/srv/prod")],
  ["a host directory with ..", /has a "\." or "\.\." in it/, volume("/mnt/data/../../etc")],
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

function volume(source: string): string {
  const top = 'backup = { none = "an attack" }';
  return withTables(`[[volumes]]\nsource = "${source}"\ntarget = "/x"`, top);
}

test.each(RULES)("%s is refused by %s", async (_name, rule, manifest, files) => {
  const { state, reason, asked, containers } = await attack(manifest, files);
  expect(["refused", "invalid"]).toContain(state);
  expect(reason).toMatch(rule);
  expect(reason).not.toContain("canary");
  expect(containers).toBe(0);
  expect(asked.filter((path) => !path.startsWith("/stage/"))).toEqual([]);
});

test("a link that changes after it was judged is judged anew", async () => {
  const place = join(directory, "data", "moving");
  mkdirSync(join(directory, "data", "real"), { recursive: true });
  symlinkSync(join(directory, "data", "real"), place);
  const mounts = { ...policy.mounts, allowed_prefixes: [join(directory, "data")] };
  expect((await attack(volume(place), {}, { mounts })).state).not.toBe("refused");
  rmSync(place);
  symlinkSync("/etc", place);
  await node?.clock.advance(60_000);
  expect(node?.view("app").reason).toMatch(/which is really \/etc,/);
});

test("what stage may have runs: its own secrets, the sandbox, auth and mail of production, its own client", async () => {
  const { state, reason } = await attack(
    withTables(
      '[env]\nPOLAR_API_URL = "https://sandbox-api.polar.sh"\nOIDC_CLIENT_ID = "stage_client_id"\n' +
        'OIDC_ISSUER = "https://auth.breakpilot.com/realms/x"\nSMTP_HOST = "mail.breakpilot.com"\n' +
        '[secrets.files]\npassword = "/stage/app/PASSWORD"\n[secrets.env]\nPOLAR_API_URL2 = "/stage/app/SANDBOX"',
    ),
  );
  expect([state, reason]).toEqual(["healthy", expect.any(String)]);
});

test("a secret whose value turns bad is not taken: the service stays on what it has", async () => {
  await attack(withTables('[secrets.env]\nPOLAR_API_URL = "/stage/app/SANDBOX"'));
  if (node === undefined) throw new Error("there is no node");
  await node.untilSettled(["app"]);
  const secrets = node.choices.secrets as FakeSecrets;
  secrets.set({ "/stage/app/SANDBOX": "https://api.polar.sh" });
  await node.clock.advance(120_000);
  expect(node.engine.running("app")?.request?.extraEnv["POLAR_API_URL"]).toBe("https://sandbox-api.polar.sh");
  expect(node.view("app").reason).toContain("rule env POLAR_API_URL");
});
