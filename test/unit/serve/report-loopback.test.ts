// Loopback, over a real port: what it answers, and to whom.

import { connect } from "node:net";

import { afterEach, describe, expect, test } from "vitest";

import { chooseForm } from "../../../agent/serve/http-answer.ts";
import { isAllowedHost, parseListenAddress } from "../../../agent/http/host-header.ts";
import { escapeHtml } from "../../../agent/serve/text-page.ts";
import { type ReportChoices, TestReport } from "../../builders/node/report.ts";
import { buildHealth, buildView, NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

let running: TestReport[] = [];

afterEach(async () => {
  for (const report of running) await report.dispose();
  running = [];
});

async function start(choices: ReportChoices = {}): Promise<TestReport> {
  const report = new TestReport(choices);
  running.push(report);
  return report.start();
}

describe("who is answered", () => {
  test.each([
    "localhost",
    "localhost:7070",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1:80",
    "127.1.2.3",
    "[::1]",
    "[::1]:7070",
  ])("the host %s is loopback", (host) => expect(isAllowedHost(host)).toBe(true));
  test.each([
    undefined,
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::]",
    "localhost:x",
    "127.0.0.1:80:80",
    "evil@localhost",
  ])("the host %s is not", (host) => expect(isAllowedHost(host)).toBe(false));
  test.each(["0.0.0.0:80", "10.0.0.1:7070", "[::]:80", "vm-edge:80", "127.0.0.1", "127.0.0.1:99999", "7070"])(
    "a report does not listen on %s",
    (listen) => {
      expect(parseListenAddress(listen)).toBeTypeOf("string");
      expect(() => new TestReport({ serving: { listen: [listen] } })).toThrow("serve status");
    },
  );

  test("a name that somebody made point at loopback reads nothing", async () => {
    const report = await start();
    report.turn({ views: [buildView("web")] });
    for (const host of ["evil.example", "evil.example:7070", "10.0.0.1"]) {
      for (const path of ["/", "/v1/status", "/metrics", "/events", "/why/web"]) {
        const answer = await report.get({ path, headers: { host }, withinMs: 500 });
        expect([answer.status, answer.body.includes("web")]).toEqual([421, false]);
      }
    }
  });

  test("no other site may read, frame or sniff an answer", async () => {
    const report = await start();
    report.turn({ views: [buildView("web")] });
    for (const path of ["/", "/nothing", "/metrics", "/why/web", "/healthz"]) {
      const { headers } = await report.get(path);
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers).toMatchObject({
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cache-control": "no-store",
      });
      expect(headers).not.toHaveProperty("access-control-allow-origin");
    }
  });

  test.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])("%s is refused everywhere", async (method) => {
    const report = await start();
    report.turn({ views: [buildView("web")] });
    for (const path of [
      "/",
      "/v1/pause",
      "/v1/sync",
      "/v1/services/web/restart",
      "/v1/services/web/logs",
      "/v1/services/web/exec",
    ]) {
      const answer = await report.get({ path, method, body: "{}" });
      expect([answer.status, answer.headers["allow"]]).toEqual([405, "GET, HEAD"]);
    }
    expect(report.requests).toEqual([]);
  });

  test("an upgrade to exec, logs and plans are not to be had", async () => {
    const report = await start();
    report.turn({ views: [buildView("web")] });
    const headers = { connection: "Upgrade", upgrade: "orca-exec/1" };
    expect((await report.get({ path: "/v1/services/web/exec", headers })).status).toBe(404);
    expect((await report.get("/v1/services/web/logs")).status).toBe(404);
    expect((await report.get("/v1/plan")).status).toBe(404);
    expect(report.opened).toEqual([]);
  });

  test.each(["/why/%", "/%ff", "//evil.example/", "/..%2f..%2fetc", `/${"a".repeat(3_000)}`, "/why/a/b/c/d/e"])(
    "the odd path %s is answered with an error",
    async (path) => expect((await (await start()).get(path)).status).toBeGreaterThanOrEqual(400),
  );

  test("a request that never ends and one that is too large are cut off", async () => {
    const report = await start();
    const [host = "", port = ""] = (report.serving.addresses[0] ?? "").split(":");
    const cut = await new Promise<string>((resolve) => {
      const socket = connect(Number(port), host, () =>
        socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(20_000)}\r\n\r\n`),
      );
      let text = "";
      socket.on("data", (chunk) => (text += chunk.toString()));
      socket.on("close", () => resolve(text));
      socket.on("error", () => resolve(text));
    });
    expect(cut).toContain(" 431 ");
  });
});

describe("what is answered", () => {
  test("text to curl, JSON to who asks for it, a page to a browser", async () => {
    const report = await start();
    report.turn({ views: [buildView("web", { reason: "<script>alert(1)</script>" })] });
    const text = await report.get({ path: "/", headers: { accept: "*/*" } });
    expect([text.status, text.headers["content-type"]]).toEqual([200, "text/plain; charset=utf-8"]);
    expect(text.body).toContain("node vm1");
    const json = await report.get({ path: "/", headers: { accept: "application/json" } });
    expect(JSON.parse(json.body)).toMatchObject({ schema: "orca.status/1", services: [{ name: "web" }] });
    const page = await report.get({ path: "/", headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" } });
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.body).toContain(escapeHtml("<script>"));
    expect(page.body).not.toMatch(/<script|onerror|javascript:/i);
    expect(page.headers["content-security-policy"]).toMatch(/default-src 'none'; style-src 'sha256-[^']+'/);
  });

  test.each([
    ["*/*", "text"],
    ["application/json", "json"],
    ["application/json;q=0.5, text/html", "html"],
    ["text/html;q=0.1, application/json", "json"],
    ["text/plain, application/json;q=0.9", "text"],
    ["text/html;q=x", "text"],
    ["", "text"],
  ])("who accepts %s gets %s", (accept, form) => expect(chooseForm(accept)).toBe(form));

  test("is as wide as asked for", async () => {
    // What stands above is facts of the host, each on a line of its own: a long path is not cut.
    const listTable = (body: string): string[] => body.slice(body.indexOf("SERVICE")).split("\n");
    const report = await start();
    report.turn({ views: [buildView("web", { reason: "r".repeat(400) })] });
    const widest = async (path: string): Promise<number> =>
      Math.max(...listTable((await report.get(path)).body).map((line) => Array.from(line).length));
    expect(await widest("/")).toBe(80);
    expect(await widest("/?columns=160")).toBe(160);
    expect(await widest("/?columns=nonsense")).toBe(80);
    expect(await widest("/?columns=999999")).toBeLessThanOrEqual(500);
  });

  test("HEAD has the headers and no body", async () => {
    const answer = await (await start()).get({ path: "/", method: "HEAD" });
    expect([answer.status, answer.body, Number(answer.headers["content-length"]) > 0]).toEqual([200, "", true]);
  });

  test("a service that is not there is a 404 that says which is", async () => {
    const report = await start();
    report.turn({ views: [buildView("postgres-keycloak"), buildView("web")] });
    const answer = await report.get("/why/postgres-keyclok");
    expect([answer.status, answer.body]).toEqual([
      404,
      'there is no service "postgres-keyclok" on this node; did you mean postgres-keycloak?\n',
    ]);
    const json = await report.get("/v1/why/zzz");
    expect(JSON.parse(json.body)).toEqual({
      error: 'there is no service "zzz" on this node; there are postgres-keycloak, web',
    });
  });

  test("healthz: alive only while turns are completed, by a clock that does not jump", async () => {
    const clock = new FakeClock(NOW_MS);
    const report = await start({ clock });
    const status = async (): Promise<number> => (await report.get("/healthz")).status;
    expect(await status()).toBe(503);
    report.turn({ views: [], state: "none" });
    expect(await status()).toBe(200);
    clock.jump(-86_400_000);
    await clock.advance(60_000);
    expect(await status()).toBe(200);
    clock.jump(3 * 86_400_000);
    report.report.emit({ kind: "turn-failed", atMs: clock.nowMs(), message: "boom", nextMs: 0 });
    await clock.advance(1_000);
    expect(await report.get("/healthz")).toMatchObject({
      status: 503,
      body: expect.stringContaining("boom") as string,
    });
    report.turn({ views: [] });
    expect(await status()).toBe(200);
  });

  test("healthz: says that the newest inputs cannot be built, while the loop goes on with what is in force", async () => {
    const report = await start();
    report.turn({
      views: [],
      source: { fault: "dir:0123456789ab cannot be built, and what is in force stays: RangeError: x" },
    });
    expect(await report.get("/healthz")).toMatchObject({
      status: 200,
      body: "ok: the last turn ended 0 s ago; but dir:0123456789ab cannot be built, and what is in force stays: RangeError: x\n",
    });
    report.turn({ views: [] });
    expect((await report.get("/healthz")).body).toBe("ok: the last turn ended 0 s ago\n");
  });

  test("readyz: who is not", async () => {
    const report = await start();
    expect((await report.get("/readyz")).status).toBe(503);
    report.turn({ views: [buildView("web"), buildView("db", { state: "backoff" })] });
    expect(await report.get("/readyz")).toMatchObject({ status: 503, body: "db is backoff\n" });
    report.turn({ views: [buildView("web"), buildView("db", { state: "stopped" })] });
    expect((await report.get("/readyz")).status).toBe(200);
  });

  test("events: one for each change of a state, none for a turn without", async () => {
    const report = await start();
    report.turn({ views: [buildView("web")] });
    const reading = report.get({ path: "/events", withinMs: 300 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    report.turn({ views: [buildView("web", { reason: "other" })] });
    report.turn({ views: [buildView("web", { state: "backoff", reason: "it\nended" })] });
    const { body, headers } = await reading;
    expect(headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(body.match(/^event: state$/gm)).toHaveLength(1);
    const data = /^event: state\ndata: (.*)$/m.exec(body)?.[1] ?? "";
    expect(JSON.parse(data)).toMatchObject({
      service: "web",
      state: "backoff",
      previous: "healthy",
      reason: "it\nended",
    });
  });

  test("too many readers of events are sent away, and those who leave make room", async () => {
    const report = await start();
    const readers = Array.from({ length: 32 }, () => report.get({ path: "/events", withinMs: 400 }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await report.get("/events")).status).toBe(503);
    await Promise.all(readers);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await report.get({ path: "/events", withinMs: 50 })).status).toBe(200);
  });

  test("metrics: units in names, one state of many, nothing left of a service that is gone", async () => {
    const report = await start();
    report.turn({
      views: [buildView("web", { restarts: 3 }), buildView("db", { state: "backoff" })],
      health: { web: buildHealth() },
    });
    const first = (await report.get("/metrics")).body;
    for (const line of [
      'orca_service_state{node="vm1",service="web",state="healthy"} 1',
      'orca_service_state{node="vm1",service="web",state="backoff"} 0',
      'orca_service_state{node="vm1",service="db",state="backoff"} 1',
      'orca_service_restarts_total{node="vm1",service="web"} 3',
      'orca_service_memory_cap_bytes{node="vm1",service="web"} 67108864',
      'orca_service_healthy{node="vm1",service="web"} 1',
      'orca_healthy{node="vm1"} 0',
      'orca_engine_up{node="vm1"} 1',
      'orca_last_turn_duration_seconds{node="vm1"} 0.02',
      'orca_turns_total{node="vm1",result="completed"} 1',
    ]) {
      expect(first).toContain(`${line}\n`);
    }
    expect(first).toMatch(/^# TYPE orca_service_restarts_total counter$/m);
    report.turn({ views: [buildView("web", { restarts: 3 })] });
    const second = (await report.get("/metrics")).body;
    expect(second).not.toContain('service="db"');
    expect(second).toContain('orca_service_restarts_total{node="vm1",service="web"} 3\n');
  });
});
