// The workflow for a manifests repository: its file, that its commands are the program's, and its steps run as a runner runs
// them, with real git, bash and node, on a pull request whose texts are hostile, against a forge's comments.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";

import { buildProgram } from "../../../agent/cli/frame/program.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const TEXT = readFileSync(join(ROOT, "host-config/ci/orca.yaml"), "utf8");

interface Step {
  name: string;
  uses?: string;
  if?: string;
  run?: string;
  env?: Record<string, string>;
}
interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  env: Record<string, string>;
  jobs: { check: { steps: Step[] } };
}

const workflow = parse(TEXT) as Workflow;
const { steps } = workflow.jobs.check;
const TOKEN = "forge-token-1234567890";
const MARK = "<!-- orca-plan -->";

let directory: string;
let forge: Server;
let comments: { id: number; body: string }[];
/** Gitea knows no pages of this list. */
let hasPages: boolean;
let asked: { method: string; url: string; authorization: string | undefined }[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "orca-ci-"));
  comments = [];
  asked = [];
  hasPages = true;
  forge = createServer((request, response) => {
    let text = "";
    request.on("data", (piece: Buffer) => (text += piece.toString()));
    request.on("end", () => {
      const { method = "", url = "" } = request;
      asked.push({ method, url, authorization: request.headers.authorization });
      const send = (status: number, body: unknown): void => void response.writeHead(status).end(JSON.stringify(body));
      const { pathname, searchParams } = new URL(url, "http://forge");
      if (request.headers.authorization !== `token ${TOKEN}`) return send(401, { message: "no" });
      const body = text === "" ? "" : (JSON.parse(text) as { body: string }).body;
      const [, id] = /\/issues\/comments\/(\d+)$/.exec(pathname) ?? [];
      if (method === "PATCH" && id !== undefined) {
        comments = comments.map((comment) => (comment.id === Number(id) ? { ...comment, body } : comment));
        return send(200, {});
      }
      if (pathname !== "/api/v1/repos/acme/platform/issues/7/comments") return send(404, { message: "no" });
      if (method === "POST") comments.push({ id: comments.length + 1, body });
      const start = (Number(searchParams.get("page")) - 1) * 50;
      return send(method === "POST" ? 201 : 200, hasPages ? comments.slice(start, start + 50) : comments);
    });
  });
  forge.listen(0, "127.0.0.1");
  await once(forge, "listening");
});

afterEach(async () => {
  forge.closeAllConnections();
  await new Promise((resolve) => forge.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

function git(at: string, ...parameters: string[]): string {
  const identity = ["-c", "user.name=Jane", "-c", "user.email=jane@example.com"];
  return execFileSync("git", [...identity, ...parameters], { cwd: at, encoding: "utf8", stdio: "pipe" }).trim();
}

function write(at: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(at, path)), { recursive: true });
    writeFileSync(join(at, path), text);
  }
}

/** A clone as a runner has it: the head of a pull request, and origin's branch that has gone on since. */
function checkOut(files: Record<string, string>, message = "change"): string {
  const origin = join(directory, "origin");
  const work = join(directory, "work");
  mkdirSync(origin);
  git(origin, "init", "--quiet", "--initial-branch=main", ".");
  const fleet = '[nodes.vm1]\naddress = "10.0.0.1"\nenv = "prod"\nmemory = "2GiB"\n';
  const manifest = buildManifest();
  write(origin, {
    "orca/fleet.toml": fleet,
    "orca/manifests/vm1/a.toml": manifest,
    "orca/manifests/vm1/b.toml": manifest,
  });
  git(origin, "add", "--all");
  git(origin, "commit", "--quiet", "--message", "one");
  git(directory, "clone", "--quiet", origin, work);
  write(origin, { "orca/manifests/vm1/later.toml": manifest });
  git(origin, "add", "--all");
  git(origin, "commit", "--quiet", "--message", "two");
  write(work, files);
  git(work, "add", "--all");
  git(work, "commit", "--quiet", "--message", message);
  git(work, "fetch", "--quiet", "origin");
  return work;
}

/** Runs a step as a runner does: the script in a file, `bash -e`, expressions put into its environment alone. */
async function runStep(name: string, work: string, token = TOKEN): Promise<{ code: number; output: string }> {
  const step = steps.find((entry) => entry.name === name);
  const values: Record<string, string> = {
    "${{ github.base_ref }}": "main",
    "${{ secrets.GITHUB_TOKEN }}": token,
    "${{ github.event.pull_request.number }}": "7",
  };
  const own = Object.entries(step?.env ?? {}).map(
    ([key, value]) => [key, values[value] ?? "unknown expression"] as const,
  );
  const script = join(directory, "step.sh");
  writeFileSync(script, step?.run ?? "exit 99");
  const { port } = forge.address() as AddressInfo;
  const child = spawn("bash", ["--noprofile", "--norc", "-e", "-o", "pipefail", script], {
    cwd: work,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`,
      HOME: directory,
      ...workflow.env,
      ORCA: join(ROOT, "scripts/orca"),
      RUNNER_TEMP: directory,
      GITHUB_STEP_SUMMARY: join(directory, "summary.md"),
      GITHUB_API_URL: `http://127.0.0.1:${port}/api/v1`,
      GITHUB_REPOSITORY: "acme/platform",
      ...Object.fromEntries(own),
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece: Buffer) => (output += piece.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, output };
}

async function runAll(work: string): Promise<{ codes: Record<string, number>; output: string }> {
  const codes: Record<string, number> = {};
  let output = "";
  for (const name of ["Install Orca", "Bring in the branch it goes to", "Lint", "Plan", "Comment"]) {
    const run = await runStep(name, work);
    codes[name] = run.code;
    output += run.output;
  }
  return { codes, output };
}

test("is a workflow that a fork cannot misuse", () => {
  expect(Object.keys(workflow.on)).toEqual(["pull_request", "push"]);
  expect(workflow.permissions).toEqual({ contents: "read", "pull-requests": "write" });
  for (const { name, run = "" } of steps) expect([name, run.includes("${{")]).toEqual([name, false]);
  const comment = steps.find(({ name }) => name === "Comment");
  expect(comment?.if).toContain("github.event.pull_request.head.repo.full_name == github.repository");
  // The token is where it is needed and nowhere else.
  expect(steps.filter(({ env }) => JSON.stringify(env ?? {}).includes("secrets."))).toEqual([comment]);
  // What is used of others is known by its major version.
  expect(steps.flatMap(({ uses }) => uses ?? [])).toEqual(["actions/checkout@v4", "actions/setup-node@v4"]);
});

test("calls commands with options that the program has", () => {
  const calls = [...TEXT.matchAll(/"\$ORCA" ((?:[^\n|>']|(?<!\|)\|(?!\|))*)/g)].map(([, line = ""]) =>
    line
      .trim()
      .replaceAll(/"\$MANIFESTS"/g, ".")
      .replaceAll(/"origin\/\$BASE"/g, "origin/main")
      .split(/\s+/),
  );
  expect(calls.map(([command]) => command)).toEqual(["lint", "plan", "plan"]);
  for (const call of calls) {
    const program = buildProgram();
    for (const command of [program, ...program.commands]) {
      command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
      if (command !== program) command.action(() => undefined);
    }
    expect(() => program.parse(["node", "orca", ...call])).not.toThrow();
  }
});

test("lints, plans against the branch it goes to, and keeps one comment", async () => {
  const work = checkOut({ "orca/manifests/vm1/a.toml": buildManifest({ image: "app:2" }) });
  comments.push(...Array.from({ length: 60 }, (_none, index) => ({ id: index + 1, body: `talk ${index}` })));
  const { codes, output } = await runAll(work);
  expect([codes, output]).toEqual([
    { "Install Orca": 0, "Bring in the branch it goes to": 0, Lint: 0, Plan: 0, Comment: 0 },
    expect.stringContaining("± a         recreated: image: app:1 → app:2"),
  ]);
  // What main got meanwhile is no change of this pull request.
  expect(output).not.toContain("later");
  expect(comments).toHaveLength(61);
  expect(comments.at(-1)?.body).toMatch(/^<!-- orca-plan -->\n### Orca plan: the node changes/);
  expect(readFileSync(join(directory, "summary.md"), "utf8")).toBe(comments.at(-1)?.body);
  write(work, { "orca/manifests/vm1/a.toml": buildManifest({ image: "app:3" }) });
  git(work, "commit", "--quiet", "--all", "--message", "three");
  expect((await runStep("Plan", work)).code).toBe(0);
  expect((await runStep("Comment", work)).code).toBe(0);
  expect(comments.filter(({ body }) => body.startsWith(MARK))).toEqual([
    { id: 61, body: expect.stringContaining("app:1 → app:3") },
  ]);
  expect(asked.map(({ method }) => method)).toEqual(["GET", "GET", "POST", "GET", "GET", "PATCH"]);
});

test.each([0, 49, 50, 51, 120])("a list of %i comments without pages is asked for twice at most", async (count) => {
  hasPages = false;
  const work = checkOut({ "orca/manifests/vm1/a.toml": buildManifest({ image: "app:2" }) });
  comments.push(...Array.from({ length: count }, (_none, index) => ({ id: index + 1, body: `talk ${index}` })));
  writeFileSync(join(directory, "plan.md"), `${MARK}\n### Orca plan`);
  expect((await runStep("Comment", work)).code).toBe(0);
  expect(asked.map(({ method }) => method)).toEqual(count === 50 ? ["GET", "GET", "POST"] : ["GET", "POST"]);
  asked.length = 0;
  expect((await runStep("Comment", work)).code).toBe(0);
  expect(asked.map(({ method }) => method)).toEqual(["GET", "PATCH"]);
});

test("what would not be followed fails the job, and the comment says why", async () => {
  const work = checkOut({ "orca/manifests/vm1/a.toml": "image = 5\n" });
  const { codes } = await runAll(work);
  expect(codes).toEqual({ "Install Orca": 0, "Bring in the branch it goes to": 0, Lint: 1, Plan: 1, Comment: 0 });
  expect(comments[0]?.body).toMatch(/`!` \| `a` \| invalid \| /);
});

test("hostile texts of a pull request run nothing and leak nothing", async () => {
  const evil = '$(touch pwned)`touch pwned`"; touch pwned #';
  const work = checkOut(
    {
      "orca/manifests/vm1/a.toml": buildManifest({ tables: `[env]\nA = ${JSON.stringify(evil)}` }),
      [`orca/manifests/vm1/files/${evil.replaceAll("/", "")}`]: "x",
      "orca/manifests/vm1/$(touch pwned).toml": 'image = "x"',
    },
    evil,
  );
  const { output } = await runAll(work);
  expect([existsSync(join(work, "pwned")), existsSync(join(directory, "pwned"))]).toEqual([false, false]);
  expect(comments).toHaveLength(1);
  expect(output + readFileSync(join(directory, "plan.md"), "utf8")).not.toContain(TOKEN);
});

test("a token that the forge refuses fails that step alone, and is not printed", async () => {
  const work = checkOut({ "orca/manifests/vm1/a.toml": buildManifest({ image: "app:2" }) });
  expect((await runStep("Plan", work)).code).toBe(0);
  const { code, output } = await runStep("Comment", work, "wrong-token-value");
  expect(code).not.toBe(0);
  expect(output).toMatch(/401/);
  expect(output).not.toContain("wrong-token-value");
});
