// The forge's API as Orca uses it, against a server that answers as a real Gitea was seen to.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import {
  buildApiBase,
  type CommitStatus,
  GiteaApi,
  type GiteaApiOptions,
} from "../../../agent/sources/forge/gitea-api.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { FakeGitea, type GiteaFault } from "../../fakes/fake-gitea.ts";

const SHA = "5f0c2a1e7b7d4d539a410d6d3f1b1a015f0c2a1e";
const OTHER = "0123456789012345678901234567890123456789";
const STATUS: CommitStatus = { state: "success", context: "orca/vm1", description: "3 services are healthy" };

let server: FakeGitea;
let directory: string;

beforeEach(async () => {
  server = await new FakeGitea().start();
  server.commits = new Set([SHA]);
  directory = mkdtempSync(join(tmpdir(), "orca-api-"));
});

afterEach(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

function writeToken(token: string): string {
  const file = join(directory, "token");
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return file;
}

function openApi(token: string | undefined, choices: Partial<GiteaApiOptions> = {}): GiteaApi {
  const tokenFile = token === undefined ? undefined : writeToken(token);
  const tokenKey = "source.status_token_file";
  return new GiteaApi({ url: server.url, tokenFile, tokenKey, caFile: undefined, ...choices });
}

async function readFailure(
  asked: Promise<unknown>,
): Promise<{ message: string; status: number; retryAfterMs: number }> {
  return (await asked.then(
    () => ({ message: "it went well" }),
    (error: unknown) => error,
  )) as { message: string; status: number; retryAfterMs: number };
}

test("a status is said and read back: the newest of its context, by whole or short id", async () => {
  const api = openApi("writer");
  expect(await api.readStatus(SHA, "orca/vm1")).toBeUndefined();
  await api.postStatus(SHA, { ...STATUS, state: "pending", targetUrl: "https://status.example/vm1" });
  await api.postStatus(SHA, { ...STATUS, state: "failure", context: "orca/vm2" });
  expect(await api.readStatus(SHA, "orca/vm1")).toBe("pending");
  await api.postStatus(SHA.slice(0, 10), STATUS);
  expect(await api.readStatus(SHA, "orca/vm1")).toBe("success");
  expect(await api.readStatus(SHA, "orca/vm3")).toBeUndefined();
  expect(server.rows).toMatchObject([
    { state: "pending", target_url: "https://status.example/vm1", description: STATUS.description },
    { context: "orca/vm2", target_url: "" },
    { sha: SHA, state: "success" },
  ]);
  expect(server.seen[0]?.authorization).toBe("token writer");
});

test("a token that may only read reads; user:token is sent as Basic authentication", async () => {
  await openApi("writer").postStatus(SHA, STATUS);
  expect(await openApi("reader").readStatus(SHA, "orca/vm1")).toBe("success");
  expect(await openApi("agent:reader").readStatus(SHA, "orca/vm1")).toBe("success");
  expect(server.seen.at(-1)?.authorization).toMatch(/^Basic /);
});

test("a context on a later page is found, and a word for a state that Orca does not know is never success", async () => {
  const api = openApi("writer");
  server.pageSize = 20;
  for (let index = 0; index < 70; index += 1) await api.postStatus(SHA, { ...STATUS, context: `ci/${index}` });
  await api.postStatus(SHA, STATUS);
  expect(await api.readStatus(SHA, "orca/vm1")).toBe("success");
  expect(await api.readStatus(SHA, "orca/none")).toBeUndefined();
  await api.postStatus(SHA, { ...STATUS, state: "warning" as "success" });
  expect(await api.readStatus(SHA, "orca/vm1")).toBe("error");
});

test.each([
  ["https://git.example.com/acme/platform.git", undefined, "https://git.example.com/api/v1/repos/acme/platform"],
  ["https://git.example.com/acme/platform", undefined, "https://git.example.com/api/v1/repos/acme/platform"],
  ["http://host:3000/forge/acme/platform.git/", undefined, "http://host:3000/forge/api/v1/repos/acme/platform"],
  ["https://github.com/acme/platform.git", "https://api.github.com/", "https://api.github.com/repos/acme/platform"],
])("the API of %s", (url, apiUrl, base) => {
  expect(buildApiBase(url, apiUrl).href).toBe(base);
});

test("a URL without owner and repository has no API", () => {
  expect(() => buildApiBase("https://git.example.com/platform.git")).toThrow(/owner\/repository/);
});

test("a renamed repository is followed, also when a status is said, and a forge below a path is found", async () => {
  server.sub = "/forge";
  const url = server.url;
  server.renamed.add("acme/platform");
  server.repository = "acme/newname";
  const api = openApi("writer", { url });
  await api.postStatus(SHA, STATUS);
  expect(server.rows).toHaveLength(1);
  expect(await api.readStatus(SHA, "orca/vm1")).toBe("success");
  expect(server.seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
    `POST /forge/api/v1/repos/acme/platform/statuses/${SHA}`,
    `POST /forge/api/v1/repos/acme/newname/statuses/${SHA}`,
    `GET /forge/api/v1/repos/acme/platform/commits/${SHA}/status`,
    `GET /forge/api/v1/repos/acme/newname/commits/${SHA}/status`,
  ]);
});

test.each([
  ["reader", 403, /the token in .*token needs the scope write:repository/],
  ["unscoped", 403, /needs the scope write:repository/],
  ["weak", 403, /the user of the token in .* may not write the repository/],
  ["stranger", 404, /finds no such repository or commit \(404\): the token in .* must write the repository/],
  [undefined, 404, /no token was sent, and one must write the repository; check source\.status_token_file/],
  ["nonsense", 401, /does not know the token in .* \(401\): it is wrong, revoked/],
] as const)("the token %s is refused with %d in words that help", async (token, status, words) => {
  const failure = await readFailure(openApi(token).postStatus(SHA, STATUS));
  expect(failure).toMatchObject({ status, message: expect.stringMatching(words) });
  expect(failure.message).not.toContain(token ?? "nothing");
  expect(server.rows).toEqual([]);
});

test("a commit that is not there is a 500 when it is said and a 404 when it is read", async () => {
  const api = openApi("writer");
  expect(await readFailure(api.postStatus(OTHER, STATUS))).toMatchObject({
    status: 500,
    message: expect.stringMatching(/the commit may be gone there/),
  });
  expect(await readFailure(api.readStatus(OTHER, "orca/vm1"))).toMatchObject({ status: 404 });
});

test.each<[GiteaFault, RegExp]>([
  [{ kind: "status", status: 429, headers: { "retry-after": "60" } }, /limits the rate of requests \(429\)/],
  [{ kind: "status", status: 502 }, /failed \(502\)/],
  [{ kind: "html" }, /answers with a web page/],
  [{ kind: "garbage" }, /does not answer with JSON/],
  [{ kind: "endless" }, /larger than 1 MiB/],
  [{ kind: "reset" }, /was cut before the answer was whole/],
  [{ kind: "hang" }, /no whole answer within 0\.3 s/],
  [{ kind: "foreign-redirect", to: "http://127.0.0.1:1/steal" }, /another origin, where the token does not go/],
  [{ kind: "status", status: 302, headers: { location: "/user/login" } }, /redirects a request of the API \(302\)/],
  [{ kind: "status", status: 307, headers: { location: "/again" } }, /redirects in circles/],
  [{ kind: "status", status: 307 }, /without saying where to/],
])("what is no answer of Gitea is told: %o", async (fault, words) => {
  server.fault = fault;
  const failure = await readFailure(openApi("writer", { deadlineMs: 300 }).postStatus(SHA, STATUS));
  expect(failure.message).toMatch(words);
  if (fault.kind === "status" && fault.status === 429) expect(failure.retryAfterMs).toBe(60_000);
});

test("a certificate of a private CA is trusted with that CA's file, and with none is refused in words", async () => {
  const git = await new GitServer({ tls: true }).start();
  const read = (name: string): Buffer => readFileSync(join(git.root, "tls", name));
  const forge = await new FakeGitea({ key: read("server.key"), cert: read("server.pem") }).start();
  try {
    await openApi("writer", { url: forge.url, caFile: git.caFile }).postStatus(SHA, STATUS);
    expect(forge.rows).toHaveLength(1);
    const failure = await readFailure(openApi("writer", { url: forge.url }).postStatus(SHA, STATUS));
    expect(failure.message).toMatch(/the certificate of localhost:\d+ is not trusted .*source\.git\.ca_file/);
    const gone = await readFailure(openApi("writer", { url: forge.url, caFile: "/nowhere" }).postStatus(SHA, STATUS));
    expect(gone.message).toMatch(/ENOENT/);
  } finally {
    await forge.stop();
    await git.dispose();
  }
});

test("a reading of nonsense, a server that is gone, a token file that others read", async () => {
  server.fault = { kind: "status", status: 200, headers: { "content-type": "application/json" } };
  const api = openApi("reader");
  expect((await readFailure(api.readStatus(SHA, "orca/vm1"))).message).toMatch(/does not answer with JSON/);
  await server.stop();
  expect((await readFailure(api.readStatus(SHA, "orca/vm1"))).message).toMatch(/nothing listens at/);
  const open = join(directory, "open");
  writeFileSync(open, "writer", { mode: 0o644 });
  const failure = await readFailure(openApi(undefined, { tokenFile: open }).postStatus(SHA, STATUS));
  expect(failure.message).toMatch(/can be read by others: run chmod 600/);
});
