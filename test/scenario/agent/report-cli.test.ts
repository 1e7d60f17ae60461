// The commands that talk to an agent, as their own processes against a report that really serves: what they print, where, and
// how they end.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { copyAudit } from "../../../agent/backup/audit/copy-audit.ts";
import { findDefaultLog } from "../../../agent/cli/services/audit-command.ts";
import { AgentClient } from "../../../agent/cli/frame/client.ts";
import { choosePlanExit, printPreview } from "../../../agent/cli/plan/plan-agent.ts";
import { buildProgram } from "../../../agent/cli/frame/program.ts";
import { listAgentSockets } from "../../../agent/host/os/agent-sockets.ts";
import { systemClock } from "../../../agent/host/os/clock.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import type { PlanPreview } from "../../../shared/document/plan-preview.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import type { Step } from "../../../shared/state/step.ts";
import { TestReport, UID } from "../../builders/node/report.ts";
import { buildExit, buildView, containerOf, NOW_MS } from "../../builders/node/turns.ts";
import { FakeEngine } from "../../fakes/fake-engine.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

let report: TestReport;

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

beforeAll(async () => {
  const engine = new FakeEngine(systemClock);
  report = new TestReport({
    exits: [buildExit("web", { logTail: ["its last words"] })],
    parts: {
      reader: {
        ...engine.reader,
        followLogs: (_id, { onChunk, tail }) => {
          onChunk(Buffer.from(`out ${tail}\n`), "stdout");
          onChunk(Buffer.from("err\n"), "stderr");
          return Promise.resolve();
        },
      },
    },
  });
  await report.start();
  report.turn({ views: [buildView("web"), buildView("db", { state: "backoff", reason: "it ended" })] });
});
afterAll(() => report.dispose());

function run(
  parameters: readonly string[],
  choices: { input?: string; socket?: string; environment?: object } = {},
): Promise<Ended> {
  const { input = "", socket = report.socketPath, environment = {} } = choices;
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, ...parameters], {
    env: { ...process.env, ORCA_SOCKET: socket, ...environment },
  });
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (ended.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (ended.stderr += chunk.toString()));
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return new Promise((resolve) => child.once("close", (code) => resolve({ ...ended, code })));
}

describe("orca status", () => {
  test("a table without colour where nobody looks, and 3 while something is not healthy", async () => {
    const { code, stdout } = await run(["status"], { environment: { FORCE_COLOR: "1" } });
    expect([code, stdout.includes("\u001b")]).toEqual([3, false]);
    expect(stdout).toMatch(/^db +backoff .*it ended$/m);
  });

  test("the document, and 0 when all is healthy", async () => {
    const good = new TestReport();
    await good.start();
    good.turn({ views: [buildView("web")] });
    const [text, json] = await Promise.all([
      run(["status", "--socket", good.socketPath]),
      run(["status", "--json", "--socket", good.socketPath]),
    ]);
    expect([text.code, json.code]).toEqual([0, 0]);
    expect((JSON.parse(json.stdout) as StatusDocument).healthy).toBe(true);
    // What Git wants is not in force, although what is in force is well.
    const reason = "the change to abc waits for approval";
    good.turn({ views: [buildView("web")], source: { trouble: reason, holds: [{ kind: "approval", reason }] } });
    const held = await run(["status", "--json", "--socket", good.socketPath]);
    expect(held.code).toBe(3);
    expect(JSON.parse(held.stdout)).toMatchObject({
      healthy: true,
      source: { holds: [{ kind: "approval", reason, until: null }] },
    });
    expect((await run(["status", "--socket", good.socketPath])).stdout).toMatch(
      /\(held, see notes\)[^]*waits for approval/,
    );
    await good.dispose();
  });

  test("4 when nobody answers, with what to do", async () => {
    const { code, stderr } = await run(["status"], { socket: "/nonexistent/agent.sock" });
    expect([code, stderr]).toEqual([
      4,
      expect.stringMatching(/no agent answers at \/nonexistent.*systemctl status orca/),
    ]);
  });

  test("--fleet shows the realm as this node sees it; without gossip that is this node, and why is said", async () => {
    const shown = await run(["status", "--fleet"]);
    expect(shown.stdout).toMatch(/^1 node, as vm1 sees it\n/);
    expect(shown.stdout).toContain(
      "this agent runs without peers and knows nothing of other nodes: orca up always does",
    );
    const json = await run(["status", "--fleet", "--json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({ schema: "orca.fleet/1", nodes: [{ reachability: "self" }] });
    expect([0, 3]).toContain(shown.code);
  });

  test("--watch prints again when something changes, and outlives an agent that is away", async () => {
    const watched = new TestReport();
    await watched.start();
    watched.turn({ views: [buildView("web", { state: "starting" })] });
    const child = spawn(process.execPath, [PROGRAM, "status", "--watch", "--socket", watched.socketPath]);
    let shown = "";
    child.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
    await expect.poll(() => shown, { timeout: 20_000 }).toMatch(/^web +starting/m);
    watched.turn({ views: [buildView("web")] });
    await expect.poll(() => shown, { timeout: 20_000 }).toMatch(/^web +healthy/m);
    expect(shown.match(/^web /gm)).toHaveLength(2);
    await watched.dispose();
    await expect.poll(() => shown, { timeout: 20_000 }).toContain("no agent answers");
    child.kill();
  });
});

describe("orca why, logs, exec", () => {
  test("why says why, with the last lines over the socket", async () => {
    const [text, json, missing] = await Promise.all([
      run(["why", "web"]),
      run(["why", "web", "--json"]),
      run(["why", "wbe"]),
    ]);
    expect(text).toMatchObject({ code: 0, stdout: expect.stringContaining("  its last words\n") as string });
    expect(JSON.parse(json.stdout)).toMatchObject({ schema: "orca.why/1", output: { logTail: ["its last words"] } });
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no service "wbe"') as string });
  });

  test("logs go to where the container sent them", async () => {
    const [logs, missing, nonsense] = await Promise.all([
      run(["logs", "web", "--tail", "7"]),
      run(["logs", "nobody"]),
      run(["logs", "web", "--tail", "many"]),
    ]);
    expect(logs).toEqual({ code: 0, stdout: "out 7\n", stderr: "err\n" });
    expect(missing).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("there is no service") as string,
    });
    expect(nonsense).toMatchObject({ code: 1, stderr: expect.stringContaining("not a number") as string });
  });

  test("exec hands input on and ends as the command ended", async () => {
    const [ended, missing] = await Promise.all([
      run(["exec", "-i", "web", "--", "cat", "-v"], { input: "typed" }),
      run(["exec", "nobody", "--", "true"]),
    ]);
    expect(ended).toEqual({ code: 7, stdout: "typed", stderr: "to stderr" });
    expect(report.opened.at(-1)?.options.command).toEqual(["cat", "-v"]);
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no service") as string });
  });

  test("a terminal is not made up where there is none", async () => {
    expect(await run(["exec", "-it", "web", "--", "sh"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not a terminal") as string,
    });
  });
});

describe("acts", () => {
  test("say what was asked for and where it is recorded", async () => {
    const restarted = await run(["restart", "web"]);
    expect(restarted).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^web is restarted \(audit line \d+\)\n$/) as string,
    });
    await Promise.all([run(["pause", "web"]), run(["resume"]), run(["sync", "--retry", "db", "--allow-removal", "2"])]);
    expect(report.requests).toHaveLength(4);
    expect(report.requests).toContainEqual({
      kind: "sync",
      retry: "db",
      allowRemoval: 2,
      actor: { uid: UID, user: undefined },
    });
  });

  test("what is asked wrongly reaches no agent", async () => {
    const before = report.requests.length;
    const wrong = await Promise.all([
      run(["sync", "--allow-removal", "all"]),
      run(["restart", "nobody"]),
      run(["restart"]),
      run(["restart", "web"], { socket: "/nonexistent" }),
    ]);
    expect(wrong.map(({ code }) => code)).toEqual([1, 1, 1, 4]);
    expect(report.requests).toHaveLength(before);
  });
});

describe("orca audit", () => {
  const verify = (...parameters: string[]): Promise<Ended> => run(["audit", "verify", ...parameters]);

  test("where no agent is installed, that of the one agent of orca up is found by its socket", () => {
    const own = mkdtempSync(join(tmpdir(), "orca-audit-"));
    const [installed, up, other] = ["installed", "up", "other"].map((name) => join(own, name)) as [
      string,
      string,
      string,
    ];
    for (const directory of [up, other]) mkdirSync(directory);
    const log = join(installed, "audit.jsonl");
    expect(findDefaultLog([], log)).toBe(log);
    writeFileSync(join(up, "audit.jsonl"), "");
    const sockets = [join(up, "agent.sock"), join(other, "agent.sock")];
    expect(findDefaultLog(sockets, log)).toBe(join(up, "audit.jsonl"));
    // Of two nobody knows which one is meant.
    writeFileSync(join(other, "audit.jsonl"), "");
    expect(findDefaultLog(sockets, log)).toBe(log);
    mkdirSync(installed);
    writeFileSync(log, "");
    expect(findDefaultLog([join(up, "agent.sock")], log)).toBe(log);
    rmSync(own, { recursive: true });
  });

  test("walks the chain from copies in a repository", async () => {
    const own = new TestReport();
    await own.start();
    own.turn({ views: [buildView("web")] });
    for (const act of ["restart", "pause"]) await own.onSocket({ path: `/v1/services/web/${act}`, method: "POST" });
    const directory = mkdtempSync(join(tmpdir(), "orca-copies-"));
    const place = { kind: "directory", name: "nas", directory } as const;
    const path = join(own.stateDir, "audit.jsonl");
    const request = { kind: "copy-audit", node: "vm1", path, repositories: [{ place, recipients: [] }] } as const;
    expect(await copyAudit(request, () => Date.now())).toMatchObject([{ repository: "nas", lines: 2 }]);
    const from = join(directory, "vm1", "_log");
    expect(await verify("--from", from)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("2 lines in 1 copy"),
    });
    expect(await verify("--from", from, "--head", "0".repeat(64))).toMatchObject({ code: 1 });
    expect(await verify("--from", from, "--state", own.stateDir)).toMatchObject({ code: 1 });
    rmSync(directory, { recursive: true });
    await own.dispose();
  });

  test("prints lines readably and walks the chain", async () => {
    const own = new TestReport();
    await own.start();
    own.turn({ views: [buildView("web")] });
    for (const act of ["restart", "pause", "resume"])
      await own.onSocket({ path: `/v1/services/web/${act}`, method: "POST" });
    const { hash } = own.report.auditHead;
    const state = ["--state", own.stateDir];
    const [shown, whole, known, unknown] = await Promise.all([
      run(["audit", ...state, "--tail", "1"]),
      verify(...state),
      verify(...state, "--head", hash),
      verify(...state, "--head", "0".repeat(64)),
    ]);
    expect(shown.stdout).toMatch(/^3 \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ uid 1234 resume web \(asked on the socket\)\n$/);
    expect(whole).toEqual({ code: 0, stdout: `3 lines, the chain holds; head ${hash}\n`, stderr: "" });
    expect([known.code, unknown.code]).toEqual([0, 1]);
    // Without a directory it is the log of the agent whose socket ORCA_SOCKET names.
    expect(await run(["audit", "--tail", "1"], { socket: own.socketPath })).toEqual(shown);
    const path = join(own.stateDir, "audit.jsonl");
    const text = readFileSync(path, "utf8");
    const copies = {
      edited: text.replace('"pause"', '"Pause"'),
      torn: text.slice(0, -1),
      garbage: `${text}\u0000\u001b[2J\n`,
      empty: "",
    };
    mkdirSync(join(own.directory, "copies"));
    const results = await Promise.all(
      Object.entries(copies).map(([name, content]) => {
        const file = join(own.directory, "copies", name);
        writeFileSync(file, content);
        return verify("--file", file);
      }),
    );
    expect(results.map(({ code }) => code)).toEqual([1, 1, 1, 0]);
    expect(results.map(({ stderr }) => /line \d+/.exec(stderr)?.[0])).toEqual([
      "line 2",
      "line 3",
      "line 4",
      undefined,
    ]);
    writeFileSync(path, text.split("\n").slice(0, 2).join("\n") + "\n");
    expect(await verify(...state)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("line 3 was written and is not there") as string,
    });
    const odd = await run(["audit", "--file", join(own.directory, "copies", "garbage")]);
    expect([odd.code, odd.stdout.includes("\u001b")]).toEqual([0, false]);
    await own.dispose();
  });

  test("says where it looked", async () => {
    const { code, stderr } = await verify("--state", "/nonexistent");
    expect([code, stderr]).toEqual([1, expect.stringContaining("no audit log at /nonexistent/audit.jsonl")]);
  });
});

describe("finding the agent", () => {
  const elsewhere = (): { socket: string; loopback: string; list: () => string[]; say: (line: string) => void } => ({
    socket: "/nonexistent/agent.sock",
    loopback: `http://${report.serving.addresses[0]}`,
    list: () => [],
    say: () => undefined,
  });

  test("reading finds the socket that the agent says on loopback, and goes on without one", async () => {
    const answer = await new AgentClient({}, elsewhere()).read("/v1/status", "application/json");
    expect([answer.status, answer.via]).toEqual([200, "socket"]);
    const bare = new TestReport({ serving: { socketPath: undefined } });
    await bare.start();
    const places = { ...elsewhere(), loopback: `http://${bare.serving.addresses[0]}` };
    const without = await new AgentClient({}, places).read("/v1/status", "application/json");
    expect([without.status, without.via]).toEqual([200, "loopback"]);
    await expect(new AgentClient({}, places).act("/v1/pause")).rejects.toMatchObject({ exitCode: 4 });
    await bare.dispose();
  });

  test("a socket that was named is the only one", async () => {
    const client = new AgentClient({ socket: "/nonexistent/agent.sock" }, elsewhere());
    await expect(client.read("/v1/status", "application/json")).rejects.toMatchObject({ exitCode: 4 });
    await expect(client.act("/v1/pause")).rejects.toMatchObject({ exitCode: 4 });
  });

  test("acts find the socket that the agent says on loopback", async () => {
    expect(await new AgentClient({}, elsewhere()).findSocket()).toBe(report.socketPath);
    const nobody = { ...elsewhere(), loopback: "http://127.0.0.1:1" };
    await expect(new AgentClient({}, nobody).findSocket()).rejects.toMatchObject({ exitCode: 4 });
  });
});

describe("where several agents run", () => {
  const agents: TestReport[] = [];
  beforeAll(async () => {
    for (const node of ["vm-edge", "demo"]) {
      const agent = new TestReport({ options: { node } });
      await agent.start();
      agents.push(agent);
    }
  });
  afterAll(() => Promise.all(agents.map((agent) => agent.dispose())));

  test("the kernel's list names the socket of each, and of none that nobody listens on", () => {
    const paths = agents.map(({ socketPath }) => socketPath);
    expect(listAgentSockets()).toEqual(expect.arrayContaining(paths));
    expect(listAgentSockets("/nonexistent")).toEqual([]);
  });

  test("a command says once which one it asked, and how another is asked", async () => {
    const [edge, demo] = agents.map(({ socketPath }) => socketPath) as [string, string];
    const said: string[] = [];
    const list = (): string[] => [demo, edge];
    const say = (line: string): void => void said.push(line);
    const loopback = `http://${agents[0]?.serving.addresses[0]}`;
    const client = new AgentClient({}, { socket: "/nonexistent/agent.sock", loopback, list, say });
    const answers = [await client.read("/v1/status", "application/json"), await client.readTrusted("/v1/status")];
    expect(answers.map(({ body }) => (JSON.parse(body) as StatusDocument).node)).toEqual(["vm-edge", "vm-edge"]);
    expect(said).toEqual([
      `orca: 2 agents run here; asked node vm-edge at ${edge}; for node demo at ${demo} write --socket PATH`,
    ]);
  });

  test("says where it keeps its state: the one that runs a node, the named one, and nobody where it may be either", async () => {
    const [edge, demo] = agents as [TestReport, TestReport];
    const list = (): string[] => [demo.socketPath, edge.socketPath];
    const client = new AgentClient({}, { socket: "/nonexistent/agent.sock", list });
    expect(await client.findStateDir("demo")).toBe(demo.stateDir);
    expect(await client.findStateDir("vm-edge")).toBe(edge.stateDir);
    expect([await client.findStateDir("other"), await client.findStateDir()]).toEqual([undefined, undefined]);
    const named = new AgentClient({ socket: edge.socketPath }, { list });
    expect([await named.findStateDir(), await named.findStateDir("demo")]).toEqual([edge.stateDir, undefined]);
  });

  test("the host's own comes first, whoever has the port; with one alone, or one that was named, nothing is said", async () => {
    const [edge, demo] = agents.map(({ socketPath }) => socketPath) as [string, string];
    const said: string[] = [];
    const say = (line: string): void => void said.push(line);
    const loopback = `http://${agents[0]?.serving.addresses[0]}`;
    const own = new AgentClient({}, { socket: demo, loopback, list: () => [demo, edge], say });
    expect(await own.findSocket()).toBe(demo);
    expect(said).toHaveLength(1);
    const alone = new AgentClient({}, { socket: "/nonexistent/agent.sock", loopback, list: () => [demo], say });
    expect(await alone.findSocket()).toBe(demo);
    // A socket that is left from an agent which was killed is not the host's own agent.
    const left = new AgentClient({}, { socket: demo, loopback, list: () => [edge], say });
    expect(await left.findSocket()).toBe(edge);
    const named = new AgentClient({ socket: demo }, { loopback, list: () => [demo, edge], say });
    expect(await named.findSocket()).toBe(demo);
    expect(said).toHaveLength(1);
  });
});

test("a plan is shown by names, without values", () => {
  const cause = {
    kind: "commit",
    why: { code: "said", said: { message: "new spec from abc" } },
    detail: "new spec from abc",
  } as const;
  const spec = { image: "app:2", env: { TOKEN: "CANARY" } };
  const steps: Step[] = [
    { kind: "ensure-image", service: "web", image: "app:2" },
    {
      kind: "create-container",
      service: "web",
      name: "orca-vm1-web-12345678",
      network: "n",
      specHash: "v1:1",
      revision: "abc",
      spec,
      caps: { memoryBytes: 1, nanoCpus: 0, cpuShares: 0, pids: 1 },
      stopTimeoutMs: 1,
    },
    { kind: "stop-container", service: "web", container: containerOf("web"), timeoutMs: 1 },
  ];
  const views = [buildView("db", { state: "waiting", reason: "waiting for x", sinceMs: NOW_MS })];
  const preview = {
    node: "vm1",
    revision: "abc",
    operations: [{ lane: "web", cause, fingerprint: "f", steps }],
    services: views,
    notes: [],
  };
  expect(printPreview(preview)).toBe(
    `node vm1 at abc\nweb: commit: new spec from abc\n  ensure-image app:2\n` +
      `  create-container orca-vm1-web-12345678 from app:2\n  stop-container ${containerOf("web").slice(0, 12)}\ndb is waiting: waiting for x\n`,
  );
  const none = { ...preview, operations: [], services: [] };
  expect(printPreview(none)).toBe("node vm1 at abc\nno change\n");
  const holds = [{ kind: "freeze", reason: "it is frozen" } as const];
  expect(
    printPreview({ ...none, held: { revision: "def", holds, operations: preview.operations.slice(0, 1) } }),
  ).toMatch(
    /^node vm1 at abc\nno change\nheld \(freeze\): it is frozen\nwhat the change to def would do:\nweb: commit: .*\n {2}ensure-image app:2\n/,
  );
});

test("a plan ends with 1 while a manifest is not followed, and with 2 while something is to be done or is held", () => {
  const none: PlanPreview = { node: "vm1", revision: "abc", operations: [], services: [], notes: [] };
  const inState = (state: ServiceState): PlanPreview => ({
    ...none,
    services: [buildView("db", { state, reason: "x", sinceMs: NOW_MS })],
  });
  expect((["invalid", "refused", "held", "healthy"] as const).map((state) => choosePlanExit(inState(state)))).toEqual([
    1, 1, 1, 0,
  ]);
  const holds = [{ kind: "freeze", reason: "it is frozen" } as const];
  expect(choosePlanExit({ ...none, held: { revision: "def", holds, operations: [] } })).toBe(2);
  const why = { code: "no-provider" } as const;
  const change = { service: "db", restarts: false, effects: [], facts: [] };
  expect(choosePlanExit({ ...none, changes: [{ ...change, action: "invalid" }] })).toBe(1);
  expect(
    choosePlanExit({ ...none, changes: [{ ...change, action: "create", facts: [{ code: "obstacle", why }] }] }),
  ).toBe(2);
});

test("every command has an example", () => {
  const program = buildProgram();
  // A hidden command is the agent's own.
  for (const command of program.createHelp().visibleCommands(program)) {
    if (command.name() === "help") continue;
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    expect([command.name(), help.includes("Example:\n  orca ")]).toEqual([command.name(), true]);
  }
});
