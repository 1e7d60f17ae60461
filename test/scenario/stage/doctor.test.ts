// `orca doctor` as its own process: on a real agent's state and files, before and after what it says was done.

import { execFile, spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { Finding } from "../../../agent/doctor/finding.ts";
import { nameIdentityFile, writeSecretTable } from "../../../agent/secrets/providers/secret-store-file.ts";
import { openSecretNode, PATH, WITH_ENV, WITH_FILE } from "../../builders/node/secret-node.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const run = promisify(execFile);
// Not below /tmp of a work tree, and in a directory of its own.
const root = mkdtempSync(join(tmpdir(), "orca-doctor-"));
const state = join(root, "state");
const config = join(root, "agent.toml");
const file = join(root, "secrets.age");
const place = { file, identityFile: nameIdentityFile(file), plain: false };
let server: Server | undefined;

async function examine(path = config): Promise<{ code: number; findings: Finding[]; output: string }> {
  const end = await run(process.execPath, [PROGRAM, "doctor", "--json", "--config", path]).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string; stderr: string }) => {
      if (error.stdout === "") throw new Error(error.stderr);
      return error;
    },
  );
  return { code: end.code, findings: (JSON.parse(end.stdout) as { findings: Finding[] }).findings, output: end.stdout };
}

/** What it says of a check, without what is fine. */
async function complain(check: string): Promise<string[]> {
  const { findings } = await examine();
  return findings.filter((entry) => entry.check === check && entry.severity !== "fine").map(({ what }) => what);
}

function configure(secrets: string): void {
  const lines = [
    'node = "vm1"',
    `source = { dir = "${root}" }`,
    `state = { dir = "${state}" }`,
    `policy = { file = "${root}/policy.toml" }`,
    secrets,
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
}

beforeAll(async () => {
  // A real agent's state, with what it has stored and sealed.
  const { node } = openSecretNode();
  node.source.set({ web: WITH_ENV, worker: WITH_FILE });
  await node.start();
  await node.untilSettled(["web", "worker"]);
  await node.stop();
  cpSync(node.stateDir, state, { recursive: true });
  await node.dispose();
  await writeSecretTable(place, new Map([[PATH, "canary-correct-horse"]]));
  configure(`secrets = { file = "${file}" }`);
});

afterAll(() => {
  server?.close();
  rmSync(root, { recursive: true, force: true });
});

test("lists each secret that a service is given as a variable, by its path, and no value of any", async () => {
  expect(await complain("secrets in variables")).toEqual([`web is given ${PATH} as the variable PASSWORD`]);
  const { output } = await examine();
  for (const value of ["correct horse", "canary"]) expect(output).not.toContain(value);
});

test("every file that agent.toml names is looked at, and what the agent has sealed", async () => {
  const at = (name: string): string => join(root, "named", name);
  const git = `git = { url = "https://git.example/p.git", branch = "main", token_file = "${at("git-token")}" }`;
  const webhook = `webhook = { listen = "10.0.0.1:7071", secret_file = "${at("webhook")}" }`;
  writeFileSync(
    config,
    [
      'node = "vm1"',
      `source = { ${git}, ${webhook}, status_token_file = "${at("status-token")}" }`,
      `state = { dir = "${state}" }`,
      `policy = { file = "${root}/policy.toml" }`,
      `secrets = { file = "${at("secrets.age")}", key_file = "${at("host.key")}" }`,
      `alerts = { webhook_file = "${at("alerts")}" }`,
      `docker = { auth_file = "${at("registry.json")}" }`,
      "",
    ].join("\n"),
  );
  const missing = (await complain("keys and credentials")).map((what) => what.replace(" is not there", ""));
  const names = ["git-token", "status-token", "webhook", "secrets.age", "host.key", "alerts"];
  expect(missing.toSorted()).toEqual([...names.map(at), nameIdentityFile(at("secrets.age"))].toSorted());
  const { findings } = await examine();
  // Sealed by the test's clock, so that how old it is says nothing.
  const sealed = findings.find(({ check }) => check === "last known secrets");
  expect(sealed?.what).toMatch(/^the oldest of 1 was confirmed .* ago, of 7d allowed$/);
  configure(`secrets = { file = "${file}" }`);
});

test("a key that others may read is found, and its fix is one that helps", async () => {
  chmodSync(place.identityFile, 0o644);
  const { code, findings } = await examine();
  expect(code).toBe(3);
  const bad = findings.find(({ what }) => what.includes(place.identityFile) && what.includes("has mode 0644"));
  expect(bad).toMatchObject({ severity: "fail", fix: `chmod 600 ${place.identityFile}` });
  // The provider says the same in its own way.
  expect((await complain("provider")).join()).toContain("can be read by others");
  const [program = "", ...words] = (bad?.fix ?? "").split(" ");
  await run(program, words);
  expect((await complain("keys and credentials")).join()).not.toContain(place.identityFile);
  expect(await complain("provider")).toEqual([]);
});

test("of a key that is a link, what it leads to counts", async () => {
  const [real, link] = [join(root, "real.key"), join(root, "linked.key")];
  writeFileSync(real, "x", { mode: 0o600 });
  symlinkSync(real, link);
  configure(`secrets = { file = "${file}", key_file = "${link}" }`);
  expect((await complain("keys and credentials")).join()).not.toContain("linked.key");
  chmodSync(real, 0o644);
  expect((await complain("keys and credentials")).join()).toContain(`${link} has mode 0644`);
  configure(`secrets = { file = "${file}" }`);
});

test("a file of secrets inside a work tree, plain or not there", async () => {
  mkdirSync(join(root, "clone/.git"), { recursive: true });
  const inside = join(root, "clone/secrets.toml");
  writeFileSync(inside, '["/prod/app"]\nPASSWORD = "canary-plain"\n', { mode: 0o600 });
  configure(`secrets = { file = "${inside}", plain = true }`);
  expect(await complain("keys and credentials")).toEqual([`${inside} lies in the Git work tree ${root}/clone`]);
  expect(await complain("secrets file")).toEqual([`${inside} lies on this disk unencrypted`]);
  configure(`secrets = { file = "${root}/none.age" }`);
  expect((await complain("keys and credentials")).join()).toContain(`${root}/none.age is not there`);
  expect((await complain("provider")).join()).toContain("does not exist");
  configure(`secrets = { file = "${file}" }`);
});

test("the policy: not there, loose, strict", async () => {
  expect(await complain("policy")).toEqual([`${root}/policy.toml is not there`]);
  writeFileSync(join(root, "policy.toml"), '[mounts]\ndocker_socket = true\n[images]\nregistries = ["docker.io"]\n');
  expect((await complain("policy")).join()).toMatch(
    /docker_socket gives services the engine.*secrets\.allowed_prefixes is left out/,
  );
  writeFileSync(
    join(root, "policy.toml"),
    '[images]\nregistries = ["docker.io"]\n[secrets]\nallowed_prefixes = ["/prod"]\n',
  );
  expect(await complain("policy")).toEqual([]);
});

test("the files that are shipped pass it: no registry credentials, bootstrap files that are named and not there", async () => {
  const home = join(root, "shipped");
  mkdirSync(home, { mode: 0o700 });
  for (const name of ["agent.toml", "policy.toml"]) {
    const text = readFileSync(new URL(`../../../host-config/${name}`, import.meta.url), "utf8");
    const moved = text.replaceAll("/etc/orca", home).replaceAll("/var/lib/orca", join(home, "state"));
    writeFileSync(join(home, name), moved, { mode: 0o600 });
  }
  const { findings } = await examine(join(home, "agent.toml"));
  const own = findings.filter(({ check }) => ["keys and credentials", "bootstrap files", "policy"].includes(check));
  expect(own.filter(({ severity }) => severity !== "fine")).toEqual([]);
  expect(own.map(({ what }) => what).join("\n")).toMatch(
    /registry\.json .* images are pulled without credentials[^]*keycloak\.env is allowed, and is not there/,
  );
  // One that is there and that no service takes is a way in.
  mkdirSync(join(home, "bootstrap"));
  writeFileSync(join(home, "bootstrap", "keycloak.env"), "A=b\n", { mode: 0o600 });
  const after = await examine(join(home, "agent.toml"));
  expect(after.findings.find(({ what }) => what.includes("keycloak.env"))).toMatchObject({
    severity: "warn",
    fix: expect.stringMatching(/^rm .*keycloak\.env, and take it out of \[bootstrap\] allowed_files/),
  });
});

test("an Infisical server: whether it is there and what time it has, without a login", async () => {
  const asked: string[] = [];
  let date: string | undefined;
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.sendDate = date === undefined;
    if (date !== undefined) response.setHeader("date", date);
    response.end("{}");
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  for (const name of ["id", "secret"]) writeFileSync(join(root, name), "x", { mode: 0o600 });
  const files = `client_id_file = "${root}/id", client_secret_file = "${root}/secret"`;
  configure(
    `secrets = { infisical = { url = "http://127.0.0.1:${port}", project = "p", environment = "e", ${files} } }`,
  );
  expect(await complain("provider")).toEqual([]);
  expect(asked).toEqual(["GET /api/status"]);
  date = new Date(Date.now() + 3_600_000).toUTCString();
  expect((await complain("clock")).join()).toMatch(/this host's clock is (1h|59m\d*s?|59m 59s).* behind/);
  await new Promise((resolve) => server?.close(resolve));
  expect((await complain("provider")).join()).toContain("ECONNREFUSED");
});

test("text is for people: what, why and fix of each, and the sum", () => {
  const { status, stdout } = spawnSync(process.execPath, [PROGRAM, "doctor", "--config", config], { encoding: "utf8" });
  expect(status).toBe(3);
  expect(stdout).toMatch(/^FAIL P01 provider: .*ECONNREFUSED.*\n {2}why: .+\n {2}fix: curl -sS /m);
  expect(stdout).toMatch(/^vm1: \d+ failed, \d+ weak, \d+ listed, \d+ fine$/m);
});

test("without a configuration it says so and ends with 1", () => {
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, "doctor", "--config", join(root, "none.toml")], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(
      /none\.toml does not exist: on a host with an agent name its file: orca doctor --config FILE;/,
    ),
  ]);
});

test("says of the webhook what the running agent has counted, and which setting of Gitea keeps pushes away", async () => {
  let webhook = { accepted: 0, ignored: 0, refused: 0, polled: 2, last: null };
  const agent = createServer((request, response) => {
    response.writeHead(request.url === "/v1/status" ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify({ node: "vm1", webhook }));
  });
  await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", resolve));
  const { port } = agent.address() as AddressInfo;
  const lines = [
    'node = "vm1"',
    `state = { dir = "${state}" }`,
    `policy = { file = "${root}/policy.toml" }`,
    `status = { listen = ["127.0.0.1:${port}"] }`,
    "[source]",
    'git = { url = "https://git.example/acme/p.git" }',
    `webhook = { listen = "10.0.0.1:7071", secret_file = "${root}/webhook" }`,
  ];
  const own = join(root, "webhook.toml");
  writeFileSync(own, lines.join("\n"));
  const ask = async (): Promise<Finding | undefined> => {
    const { findings } = await examine(own);
    return findings.find(({ check }) => check === "webhook");
  };
  expect(await ask()).toMatchObject({
    severity: "warn",
    what: expect.stringMatching(/no push has come .* 2 commits came by polling; .* 10\.0\.0\.1:7071/),
    fix: expect.stringContaining("ALLOWED_HOST_LIST = external,private"),
  });
  webhook = { ...webhook, accepted: 1 };
  expect(await ask()).toMatchObject({ severity: "fine" });
  agent.closeAllConnections();
  await new Promise((resolve) => agent.close(resolve));
  expect(await ask()).toMatchObject({ severity: "info", what: expect.stringMatching(/the agent does not answer/) });
});
