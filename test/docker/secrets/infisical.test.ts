// The Infisical provider with its real child and the real SDK, against servers that answer as those of 2024 and 2026 do: what
// each answer becomes, how often it is asked, and that nothing it says or is given shows in an error.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { InfisicalProvider } from "../../../agent/secrets/providers/infisical-provider.ts";
import type { SecretAnswer } from "../../../shared/secret/secret-provider.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";
import { FakeInfisical, type InfisicalFault } from "../../fakes/fake-infisical.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-infisical-"));
const clientIdFile = join(directory, "id");
const clientSecretFile = join(directory, "secret");

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each([2024, 2026] as const)("a server of %d", (generation) => {
  let server: FakeInfisical;
  let clock: FakeClock;
  let provider: InfisicalProvider;

  beforeEach(async () => {
    server = new FakeInfisical(generation);
    await server.listen();
    for (const [path, value] of Object.entries({
      "/prod/app/PASSWORD": "canary-one",
      "/prod/app/TOKEN": "canary two\nwith lines",
      "/prod/db/PASSWORD": "canary-three",
      "/other/KEY": "canary-four",
    }))
      server.secrets.set(path, value);
    writeFileSync(clientIdFile, server.clientId, { mode: 0o600 });
    writeFileSync(clientSecretFile, `${server.clientSecret}\n`, { mode: 0o600 });
    clock = new FakeClock();
    provider = open();
  });

  afterEach(async () => {
    provider.close();
    await server.close();
  });

  function open(project = server.project): InfisicalProvider {
    const { url, environment } = server;
    const place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined };
    return new InfisicalProvider({ place, pollMs: 300_000 }, PROGRAM, clock);
  }

  async function read(...paths: string[]): Promise<Record<string, string>> {
    const answers = await provider.read(paths);
    expect(JSON.stringify([...answers])).not.toContain("canary");
    return Object.fromEntries([...answers].map(([path, answer]) => [path, describeAnswer(answer)]));
  }

  test("one login, one list for all folders, and every value as it is", async () => {
    expect(await read("/prod/app/PASSWORD", "/prod/app/TOKEN", "/prod/db/PASSWORD")).toEqual({
      "/prod/app/PASSWORD": "canary-one",
      "/prod/app/TOKEN": "canary two\nwith lines",
      "/prod/db/PASSWORD": "canary-three",
    });
    await read("/prod/app/PASSWORD", "/prod/db/PASSWORD");
    expect([server.count("login"), server.count("list"), server.count("name")]).toEqual([1, 2, 0]);
  });

  test("what is out of scope is denied, what is not there is not found, however a list looks", async () => {
    server.scopes = ["/prod/app"];
    const answers = await read("/prod/app/PASSWORD", "/prod/app/NONE", "/other/KEY", "/prod/db/PASSWORD", "/gone/KEY");
    expect(answers["/prod/app/PASSWORD"]).toBe("canary-one");
    expect(answers["/prod/app/NONE"]).toMatch(/^not-found: Secret (with name 'NONE' )?not found/);
    expect(answers["/other/KEY"]).toMatch(/^denied: You are not allowed to/);
    expect(answers["/prod/db/PASSWORD"]).toMatch(/^denied: /);
    expect(answers["/gone/KEY"]).toMatch(/^denied: /);
    server.scopes = ["/"];
    expect((await read("/gone/KEY"))["/gone/KEY"]).toMatch(/^not-found: Folder (with path|not found)/);
  });

  test("an expired token is renewed by one login, and its end is not waited for", async () => {
    await read("/prod/app/PASSWORD");
    server.expireTokens();
    expect((await read("/prod/app/PASSWORD", "/other/KEY"))["/other/KEY"]).toBe("canary-four");
    expect(server.count("login")).toBe(2);
    await clock.advance(3_600_000 * 0.69);
    await read("/prod/app/PASSWORD");
    expect(server.count("login")).toBe(2);
    await clock.advance(3_600_000 * 0.02);
    await read("/prod/app/PASSWORD");
    expect(server.count("login")).toBe(3);
  });

  test("a project that is not there, or that the identity is not in, is a round that failed, and says so", async () => {
    server.isMember = false;
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toMatch(/^unavailable: .*You are not a member/);
    provider.close();
    provider = open("11111111-2222-3333-4444-555555555555");
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toMatch(
      /^unavailable: .*not found during bot lookup/,
    );
  });

  test("a token that was revoked with its client secret, and a new one: one login, which holds no bearer", async () => {
    await read("/prod/app/PASSWORD");
    server.rotateClientSecret("client-secret-canary-2");
    writeFileSync(clientSecretFile, server.clientSecret, { mode: 0o600 });
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toBe("canary-one");
    const logins = server.seen.filter(({ path }) => path.endsWith("/login"));
    expect(logins.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
  });

  test("a reference that leads nowhere, and a value that is hidden, are never delivered", async () => {
    server.secrets.set("/prod/app/BROKEN", "${NOT_A_REF}");
    server.secrets.set("/prod/app/HIDDEN", "canary-five");
    server.hidden.add("/prod/app/HIDDEN");
    const answers = await read("/prod/app/BROKEN", "/prod/app/HIDDEN");
    expect(answers["/prod/app/BROKEN"]).toMatch(/^not-found: its reference \$\{NOT_A_REF\} leads nowhere/);
    // A server of 2024 knows no hidden values.
    expect(answers["/prod/app/HIDDEN"]).toMatch(generation === 2024 ? /^canary-five$/ : /^denied: its value is hidden/);
  });

  test("one secret that refers out of scope does not take the others of its folder away", async () => {
    server.secrets.set("/prod/app/LEAK", "leak-${prod.prod.DB_PASSWORD}");
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toBe("canary-one");
  });

  test("imports are followed, and the folder's own value wins", async () => {
    server.imports.set("/prod/app", ["/prod/db", "/other"]);
    const answers = await read("/prod/app/KEY", "/prod/app/PASSWORD");
    expect(answers).toEqual({ "/prod/app/KEY": "canary-four", "/prod/app/PASSWORD": "canary-one" });
  });

  const FAULTS: [name: string, fault: InfisicalFault, reason: RegExp, waitMs?: number][] = [
    ["500", { kind: "status", status: 500, body: '{"message":"Something went wrong"}' }, /500: Something went wrong/],
    ["a gateway's page", { kind: "status", status: 502, body: "<html>canary", type: "text/html" }, /502/],
    ["a login page", { kind: "status", status: 200, body: "<html>canary", type: "text/html" }, /no JSON/],
    ["nonsense in JSON", { kind: "status", status: 200, body: '{"hello":"canary"}' }, /is it Infisical/],
    [
      "an unknown route",
      { kind: "status", status: 404, body: '{"error":"Not Found","message":"Route"}' },
      /is it Infisical/,
    ],
    ["a rate limit with its time", { kind: "rate", retryAfter: "7" }, /fewer requests/, 7_000],
    ["a rate limit without one", { kind: "status", status: 429, body: '{"message":"x"}' }, /429/, 60_000],
    [
      "a limiter that says it with 500",
      { kind: "status", status: 500, body: '{"message":"Something went wrong"}', retryAfter: "4" },
      /fewer requests \(500\)/,
      4_000,
    ],
    ["a reset", { kind: "reset" }, /ECONNRESET|closed|hang up/],
    ["a redirect", { kind: "redirect", to: "http://127.0.0.1:1/" }, /redirect/],
  ];

  test.each(FAULTS)("%s at the login: unavailable, and asked once", async (_name, fault, reason, waitMs) => {
    server.fault = fault;
    const answer = (await provider.read(["/prod/app/PASSWORD"])).get("/prod/app/PASSWORD");
    expect(answer).toMatchObject({ kind: "unavailable", reason: expect.stringMatching(reason) });
    expect(JSON.stringify(answer)).not.toContain("canary");
    if (waitMs !== undefined) expect(answer).toMatchObject({ waitMs });
    expect(server.seen.length).toBe(1);
  });

  test.each(FAULTS)("%s at a list: unavailable, and asked once", async (_name, fault, reason, waitMs) => {
    server.faultAt = "secrets";
    server.fault = fault;
    const answer = (await provider.read(["/prod/app/PASSWORD"])).get("/prod/app/PASSWORD");
    expect(answer).toMatchObject({ kind: "unavailable", reason: expect.stringMatching(reason) });
    if (waitMs !== undefined) expect(answer).toMatchObject({ waitMs });
    expect([server.count("login"), server.count("list")]).toEqual([1, 1]);
    // The login was good: it is not made again for that.
    server.fault = undefined;
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toBe("canary-one");
    expect(server.count("login")).toBe(1);
  });

  test("a wrong client secret: no second try before a minute, and no lock is run into", async () => {
    writeFileSync(clientSecretFile, "wrong", { mode: 0o600 });
    const answer = (await provider.read(["/prod/app/PASSWORD"])).get("/prod/app/PASSWORD");
    expect(answer).toMatchObject({
      kind: "unavailable",
      reason: expect.stringContaining("Invalid credentials"),
      waitMs: 60_000,
    });
    await provider.read(["/prod/app/PASSWORD"]);
    expect(server.count("login")).toBe(1);
    await clock.advance(61_000);
    writeFileSync(clientSecretFile, server.clientSecret, { mode: 0o600 });
    expect((await read("/prod/app/PASSWORD"))["/prod/app/PASSWORD"]).toBe("canary-one");
  });

  test("two who ask at once are asked for one after the other, with one login", async () => {
    server.fault = { kind: "slow", ms: 50 };
    await Promise.all([read("/prod/app/PASSWORD"), read("/prod/db/PASSWORD")]);
    expect(server.count("login")).toBe(1);
  });
});

describe("a server of 2026", () => {
  test("a thousand secrets in thirty folders cost one list", async () => {
    const server = new FakeInfisical(2026);
    await server.listen();
    writeFileSync(clientIdFile, server.clientId, { mode: 0o600 });
    writeFileSync(clientSecretFile, server.clientSecret, { mode: 0o600 });
    const paths = Array.from({ length: 1_000 }, (_, index) => `/prod/folder-${index % 30}/SECRET_${index}`);
    for (const path of paths) server.secrets.set(path, `value of ${path}`);
    const { url, project, environment } = server;
    const place = { url, project, environment, clientIdFile, clientSecretFile, caFile: undefined };
    const provider = new InfisicalProvider({ place, pollMs: 300_000 }, PROGRAM);
    const answers = await provider.read(paths);
    expect(paths.every((path) => describeAnswer(answers.get(path)) === `value of ${path}`)).toBe(true);
    expect([server.count("login"), server.count("list"), server.count("name")]).toEqual([1, 1, 0]);
    provider.close();
    await server.close();
  }, 60_000);
});

describe("a server behind a private CA", () => {
  const server = new FakeInfisical(2026, makeCertificate("server"));

  beforeAll(async () => {
    await server.listen();
    server.secrets.set("/prod/app/PASSWORD", "canary-one");
    writeFileSync(clientIdFile, server.clientId, { mode: 0o600 });
    writeFileSync(clientSecretFile, server.clientSecret, { mode: 0o600 });
  });

  afterAll(() => server.close());

  async function readWith(caFile: string | undefined, url = server.url): Promise<string> {
    const { project, environment } = server;
    const place = { url, project, environment, clientIdFile, clientSecretFile, caFile };
    const provider = new InfisicalProvider({ place, pollMs: 300_000 }, PROGRAM);
    const answer = (await provider.read(["/prod/app/PASSWORD"])).get("/prod/app/PASSWORD");
    provider.close();
    return describeAnswer(answer);
  }

  test("is believed with the CA that ca_file names, and that one alone", async () => {
    expect(await readWith(join(directory, "server.pem"))).toBe("canary-one");
    makeCertificate("other");
    expect(await readWith(join(directory, "other.pem"))).toMatch(
      /^unavailable: the certificate of localhost:\d+ is not trusted \(\w+\): it is not from \/.*other\.pem$/,
    );
  });

  test("is not believed without it, and what to write is said", async () => {
    const logins = server.count("login");
    expect(await readWith(undefined)).toMatch(
      /^unavailable: the certificate .* is not trusted \(\w+\): name its CA's certificate in secrets\.infisical\.ca_file$/,
    );
    expect(await readWith(join(directory, "server.pem"), server.url.replace("localhost", "127.0.0.1"))).toMatch(
      /^unavailable: the certificate of 127\.0\.0\.1:\d+ is for another name \(\w+\): check secrets\.infisical\.url$/,
    );
    expect(server.count("login")).toBe(logins);
  });

  test("a file that is not there, or holds no certificate, is named", async () => {
    expect(await readWith(join(directory, "none.pem"))).toMatch(/ca_file: \/.*none\.pem cannot be read: ENOENT$/);
    writeFileSync(join(directory, "odd.pem"), "no certificate");
    expect(await readWith(join(directory, "odd.pem"))).toMatch(
      /ca_file: \/.*odd\.pem holds no certificate in PEM form$/,
    );
  });
});

/** A certificate for localhost that is its own CA. */
function makeCertificate(name: string): { key: string; cert: string } {
  const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.pem`)];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...names, "-keyout", key, "-out", cert, "-days", "2"], {
    stdio: "ignore",
  });
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

function describeAnswer(answer: SecretAnswer | undefined): string {
  if (answer === undefined) return "no answer";
  return answer.kind === "value" ? answer.value.expose() : `${answer.kind}: ${answer.reason}`;
}
