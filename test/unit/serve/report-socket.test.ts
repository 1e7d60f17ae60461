// The unix socket: acts need a uid and a line in the audit log first; a socket that is in the way is removed only when nobody
// answers on it.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import type { AuditEntry } from "../../../agent/report/audit/audit-chain.ts";
import type { WhyDocument } from "../../../shared/document/why-document.ts";
import { type HttpAnswer, type ReportChoices, TestReport, UID } from "../../builders/node/report.ts";
import { buildDesired, buildExit, buildRelease, buildView, NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

let running: TestReport[] = [];

afterEach(async () => {
  for (const report of running) await report.dispose();
  running = [];
});

async function start(choices: ReportChoices = {}): Promise<TestReport> {
  const report = new TestReport(choices);
  running.push(report);
  await report.start();
  report.turn({ views: [buildView("web"), buildView("idle", { container: undefined })] });
  return report;
}

function post(report: TestReport, path: string, body?: object | string): Promise<HttpAnswer> {
  const text = typeof body === "object" ? JSON.stringify(body) : body;
  return report.onSocket({ path, method: "POST", ...(text === undefined ? {} : { body: text }) });
}

function readAudit(report: TestReport): AuditEntry[] {
  try {
    const text = readFileSync(join(report.stateDir, "audit.jsonl"), "utf8");
    return text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AuditEntry);
  } catch {
    return [];
  }
}

const noUid: ReportChoices = { serving: { credentials: () => Promise.resolve(undefined) } };
const ACTS = [
  ["/v1/services/web/restart", { kind: "restart", service: "web" }],
  ["/v1/services/web/pause", { kind: "pause", service: "web" }],
  ["/v1/services/web/resume", { kind: "resume", service: "web" }],
  ["/v1/services/web/stop", { kind: "stop", service: "web" }],
  ["/v1/services/web/start", { kind: "start", service: "web", ignoreRequires: false }],
  ["/v1/pause", { kind: "pause", service: undefined }],
  ["/v1/resume", { kind: "resume", service: undefined }],
  ["/v1/sync", { kind: "sync", retry: undefined, allowRemoval: undefined }],
] as const;

describe("acts", () => {
  test.each(ACTS)(
    "%s is recorded under the caller's uid, then handed to the loop, then answered",
    async (path, request) => {
      let recorded: AuditEntry[] = [];
      const report = await start({ parts: { request: () => (recorded = readAudit(running[0] as TestReport)) } });
      const answer = await post(report, path);
      expect(answer.status).toBe(202);
      expect(recorded).toHaveLength(1);
      expect(recorded[0]).toMatchObject({ actor: { kind: "user", uid: UID }, action: request.kind, result: "ok" });
      expect(JSON.parse(answer.body)).toMatchObject({ accepted: true, action: request.kind, audit: { seq: 1 } });
    },
  );

  test.each(ACTS)("%s asks the loop for what was meant", async (path, request) => {
    const report = await start();
    await post(report, path);
    expect(report.requests).toEqual([{ ...request, actor: { uid: UID, user: undefined } }]);
  });

  test.each(ACTS)("%s is refused to somebody whom the kernel does not name", async (path) => {
    const report = await start(noUid);
    const answer = await post(report, path);
    expect([answer.status, answer.body]).toEqual([403, expect.stringContaining("nothing is done")]);
    expect([report.requests, readAudit(report)]).toEqual([[], []]);
  });

  test("nothing is done that cannot be recorded", async () => {
    const report = new TestReport();
    running.push(report);
    mkdirSync(join(report.stateDir, "audit.jsonl"), { recursive: true });
    await report.start();
    report.turn({ views: [buildView("web")] });
    const answer = await post(report, "/v1/services/web/restart");
    expect([answer.status, answer.body]).toEqual([503, expect.stringContaining("nothing was done")]);
    expect(report.requests).toEqual([]);
    expect(report.report.status().notes.join()).toContain("the audit log cannot be written");
  });

  test("sync takes a service to try again and a count of removals, and nothing else", async () => {
    const report = await start();
    expect((await post(report, "/v1/sync", { retry: "web", allowRemoval: 3 })).status).toBe(202);
    expect(report.requests).toMatchObject([{ kind: "sync", retry: "web", allowRemoval: 3 }]);
    for (const [body, status] of [
      [{ retry: "nobody" }, 404],
      [{ retry: 1 }, 400],
      [{ allowRemoval: 0 }, 400],
      [{ allowRemoval: 1.5 }, 400],
      [{ allowRemoval: "3" }, 400],
      [{ force: true }, 400],
      ["[]", 400],
      ["{", 400],
      ["x".repeat(20_000), 400],
    ] as const) {
      expect((await post(report, "/v1/sync", body)).status).toBe(status);
    }
    expect(report.requests).toHaveLength(1);
  });

  test("a rollback goes to the release before, or to that of a revision, and says which there are", async () => {
    const releases = [buildRelease("c".repeat(40)), buildRelease("b".repeat(40)), buildRelease("a".repeat(40))];
    const report = await start({ releases });
    report.turn({
      views: [buildView("web")],
      desired: [buildDesired("web", { fingerprint: releases[0]?.fingerprint ?? "" })],
    });
    expect((await post(report, "/v1/services/web/rollback")).body).toContain(`web goes back to ${"b".repeat(40)}`);
    expect((await post(report, "/v1/services/web/rollback", { to: "aaaa" })).status).toBe(202);
    expect(report.requests).toMatchObject([
      { kind: "rollback", release: { revision: "b".repeat(40) } },
      { kind: "rollback", release: { revision: "a".repeat(40) } },
    ]);
    const none = await post(report, "/v1/services/web/rollback", { to: "dddd" });
    expect([none.status, none.body]).toEqual([409, expect.stringContaining(`there are ${"c".repeat(40)}, `)]);
    expect(readAudit(report).map(({ action }) => action)).toEqual(["rollback", "rollback"]);
  });

  test("a rollback to a release that the host's policy refuses now is refused with the rule", async () => {
    const judgeRelease = (_service: string, fingerprint: string): Promise<string | undefined> =>
      Promise.resolve(fingerprint === releases[1]?.fingerprint ? "rule security.cap_add" : undefined);
    const releases = [
      buildRelease("c".repeat(40), { fingerprint: "3" }),
      buildRelease("b".repeat(40), { fingerprint: "2" }),
      buildRelease("a".repeat(40), { fingerprint: "1" }),
    ];
    const report = await start({ releases, parts: { judgeRelease } });
    report.turn({ views: [buildView("web")], desired: [buildDesired("web", { fingerprint: "3" })] });
    const refused = await post(report, "/v1/services/web/rollback");
    const why = `web cannot go back to ${"b".repeat(40)}: rule security.cap_add`;
    expect([refused.status, refused.body]).toEqual([409, expect.stringContaining(why)]);
    expect((await post(report, "/v1/services/web/rollback", { to: "aaaa" })).status).toBe(202);
    expect(report.requests).toHaveLength(1);
    expect(readAudit(report)).toHaveLength(1);
  });

  test("a rollback of what has no earlier release is refused; start and stop take what they know", async () => {
    const report = await start();
    const answer = await post(report, "/v1/services/web/rollback");
    expect([answer.status, answer.body]).toEqual([409, expect.stringContaining("no earlier good release")]);
    expect((await post(report, "/v1/services/web/start", { ignoreRequires: true })).status).toBe(202);
    expect((await post(report, "/v1/services/web/start", { ignoreRequires: "yes" })).status).toBe(400);
    expect((await post(report, "/v1/services/web/stop", { force: true })).status).toBe(400);
    expect((await post(report, "/v1/services/web/stop")).status).toBe(202);
    expect(report.requests).toMatchObject([{ kind: "start", ignoreRequires: true }, { kind: "stop" }]);
  });

  test("a service that is not there is not restarted", async () => {
    const report = await start();
    const answer = await post(report, "/v1/services/wbe/restart");
    expect([answer.status, answer.body]).toEqual([404, expect.stringContaining("there is no service")]);
    expect([report.requests, readAudit(report)]).toEqual([[], []]);
  });

  test.each(["/v1/stop", "/v1/services/web/remove", "/v2/pause", "/", "/v1/services/web/restart/now"])(
    "there is no act %s",
    async (path) => {
      const report = await start();
      expect((await post(report, path)).status).toBe(404);
      expect(report.requests).toEqual([]);
    },
  );

  test("a paused service is restarted later, and that is said", async () => {
    const report = await start();
    report.turn({ views: [buildView("web", { state: "paused" })] });
    expect((await post(report, "/v1/services/web/restart")).body).toContain("it restarts after orca resume");
  });

  test.each(["start", "restart"])(
    "a %s while a backup copies the volumes comes after it, and that is said",
    async (act) => {
      const report = await start();
      report.turn({
        views: [buildView("web", { state: "stopped", fact: { code: "copied-cold", store: "db" } })],
        containers: [],
      });
      expect((await post(report, `/v1/services/web/${act}`)).body).toContain("it starts after that");
    },
  );

  test.each(["start", "restart"])(
    "a %s of which nothing can come is refused with the reason, and nothing is recorded",
    async (act) => {
      const report = await start();
      const startBlocked = "it is refused: the bind source /srv/app lies in a directory that others can change";
      report.turn({
        views: [buildView("web", { state: "refused", reason: "refused", container: undefined, startBlocked })],
      });
      const answer = await post(report, `/v1/services/web/${act}`);
      expect([answer.status, answer.body]).toEqual([
        409,
        expect.stringContaining(`web is not ${act}ed: ${startBlocked}`),
      ]);
      expect([report.requests, readAudit(report)]).toEqual([[], []]);
    },
  );

  test.each([
    ["paused", "web is paused: it starts after orca resume web"],
    ["backoff", "web is tried again now; it was in backoff: the port is taken"],
    ["waiting", "web starts as soon as it may; now it is waiting: the port is taken"],
    ["stopped", "web is started"],
  ] as const)("the start of a service that is %s is answered with what comes of it", async (state, message) => {
    const report = await start();
    report.turn({ views: [buildView("web", { state, reason: "the port is taken" })], containers: [] });
    const answer = await post(report, "/v1/services/web/start");
    expect([answer.status, (JSON.parse(answer.body) as { message: string }).message]).toEqual([202, message]);
  });

  test("resuming the node names every service on which that ends something", async () => {
    const report = await start();
    report.turn({
      views: [
        buildView("web", { override: "paused" }),
        buildView("db", { state: "stopped", override: "stopped" }),
        buildView("api", { override: "rolled back" }),
        buildView("mail"),
      ],
    });
    expect((JSON.parse((await post(report, "/v1/resume")).body) as { message: string }).message).toBe(
      "the node goes on, and each of its services: api was rolled back, db was stopped, web was paused",
    );
    report.turn({ views: [buildView("mail")] });
    expect((await post(report, "/v1/resume")).body).toContain('"the node goes on"');
  });

  test("is in the last actions, without what only the audit log may hold", async () => {
    const report = await start();
    await post(report, "/v1/services/web/restart");
    const why = JSON.parse((await report.get("/v1/why/web")).body) as WhyDocument;
    expect(why.actions).toMatchObject([{ action: "restart", cause: `uid ${UID} asked` }]);
  });
});

describe("reads", () => {
  test("a why with the last lines of the last run, a plan", async () => {
    const preview = { node: "vm1", revision: "abc", operations: [], services: [], notes: [] };
    const planNow = (): Promise<typeof preview> => Promise.resolve(preview);
    const report = await start({ exits: [buildExit("web", { logTail: ["the last line"] })], parts: { planNow } });
    expect((await report.onSocket("/why/web")).body).toContain("the last line");
    expect(JSON.parse((await report.onSocket("/v1/plan")).body)).toEqual(preview);
    expect((await report.onSocket("/v1/status")).status).toBe(200);
    expect((await report.onSocket({ path: "/v1/status", method: "DELETE" })).status).toBe(405);
  });

  test("the last turns are told on the socket alone", async () => {
    const turns = '{"version":1,"leftOut":0,"turns":[]}\n';
    const report = await start({ parts: { printWorlds: () => turns } });
    expect(await report.onSocket("/v1/debug/worlds")).toMatchObject({ status: 200, body: turns });
    expect((await report.get("/v1/debug/worlds")).status).toBe(404);
    expect((await (await start()).onSocket("/v1/debug/worlds")).status).toBe(503);
  });

  test("an agent that cannot plan says so", async () => {
    const broken = await start({ parts: { planNow: () => Promise.reject(new Error("the engine does not answer")) } });
    expect(await broken.onSocket("/v1/plan")).toMatchObject({
      status: 503,
      body: expect.stringContaining("does not answer") as string,
    });
    expect((await (await start()).onSocket("/v1/plan")).status).toBe(503);
  });
});

describe("the socket itself", () => {
  test("is for its owner and group alone, whatever the umask, and is gone with the agent", async () => {
    const before = process.umask(0);
    try {
      const report = await start();
      expect(statSync(report.socketPath).mode & 0o777).toBe(0o660);
      expect(process.umask()).toBe(0);
      await report.serving.close();
      expect(statSync(report.socketPath, { throwIfNoEntry: false })).toBeUndefined();
    } finally {
      process.umask(before);
    }
  });

  test("one that a killed agent left is taken over", async () => {
    const report = new TestReport();
    running.push(report);
    mkdirSync(dirname(report.socketPath), { recursive: true });
    const script = `require("net").createServer().listen(${JSON.stringify(report.socketPath)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    expect(statSync(report.socketPath).isSocket()).toBe(true);
    await report.start();
    expect((await report.onSocket("/healthz")).status).toBe(503);
    expect(report.report.status().agent.socket).toBe(report.socketPath);
  });

  test("one that another agent answers on is left alone, said, and taken once it is free", async () => {
    const clock = new FakeClock(NOW_MS);
    const report = new TestReport({ clock });
    running.push(report);
    mkdirSync(dirname(report.socketPath), { recursive: true });
    const other = createServer((socket) => socket.on("error", () => undefined).end("other"));
    await new Promise<void>((resolve) => other.listen(report.socketPath, resolve));
    await report.start();
    expect(report.report.status().notes.join()).toContain("another agent answers on it");
    expect(report.report.status().agent.socket).toBeNull();
    await new Promise((resolve) => other.close(resolve));
    await clock.advance(30_000);
    await expect.poll(() => report.report.status().notes).toEqual([]);
    expect((await report.onSocket("/healthz")).status).toBe(503);
  });

  test("a file that is no socket is never removed", async () => {
    const report = new TestReport();
    running.push(report);
    mkdirSync(dirname(report.socketPath), { recursive: true });
    writeFileSync(report.socketPath, "precious");
    await report.start();
    expect(readFileSync(report.socketPath, "utf8")).toBe("precious");
    expect(report.report.status().notes.join()).toContain("no socket");
  });

  test("an agent that is still starting does nothing for anybody", async () => {
    const report = await start({ detached: true });
    expect((await post(report, "/v1/services/web/restart")).status).toBe(503);
    expect((await report.onSocket("/v1/plan")).status).toBe(503);
    expect((await report.onSocket("/why/web")).status).toBe(200);
    expect(readAudit(report)).toEqual([]);
  });
});
