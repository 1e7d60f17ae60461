// What loopback never says (no log line, no environment value, no file), which ports it takes and leaves, and what outlives
// the agent. Over real ports.

import { describeReason } from "../../../shared/text/describe-reason.ts";
import { createServer, type Server } from "node:net";

import { afterEach, describe, expect, test } from "vitest";

import type { AgentEvent } from "../../../shared/state/event.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import type { WhyDocument } from "../../../shared/document/why-document.ts";
import { type ReportChoices, TestReport } from "../../builders/node/report.ts";
import { buildContainer, buildDesired, buildExit, buildHealth, buildView, NOW_MS } from "../../builders/node/turns.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

let running: TestReport[] = [];
let holders: Server[] = [];

afterEach(async () => {
  for (const report of running.toReversed()) await report.dispose();
  for (const holder of holders) holder.close();
  [running, holders] = [[], []];
});

async function start(choices: ReportChoices = {}): Promise<TestReport> {
  const report = new TestReport(choices);
  running.push(report);
  return report.start();
}

/** A free port that somebody holds, until the test lets it go. */
async function holdPort(port = 0, host = "127.0.0.1"): Promise<{ port: number; free: () => Promise<void> }> {
  const holder = createServer();
  holders.push(holder);
  await new Promise<void>((resolve, reject) => {
    holder.once("error", reject);
    holder.listen(port, host, resolve);
  });
  const bound = holder.address();
  if (bound === null || typeof bound === "string") throw new Error("no port");
  return { port: bound.port, free: () => new Promise((resolve) => holder.close(() => resolve())) };
}

describe("what is never said", () => {
  test("log lines, environment values and file contents", async () => {
    const exits = [buildExit("web", { logTail: ["CANARY-TAIL"] })];
    const report = await start({ exits });
    const spec = {
      image: "app:2",
      env: { TOKEN: "CANARY-ENV" },
      labels: { l: "CANARY-LABEL" },
      command: ["x", "CANARY-ARGV"],
    };
    const said = { message: "check ended with 1", output: "CANARY-PROBE" };
    const fact = { code: "unhealthy", failures: 3, said } as const;
    const files = [
      {
        target: "/etc/a",
        content: { kind: "plain", hash: "h" } as const,
        mode: "0444",
        owner: undefined,
        onChange: { exec: ["x", "CANARY-HOOK"] },
      },
    ];
    const parts = {
      views: [buildView("web", { state: "unhealthy", fact })],
      desired: [buildDesired("web", { spec: { image: "app:1" } })],
      containers: [buildContainer("web", { logTail: ["CANARY-LOG"] })],
      health: { web: buildHealth({ status: "unhealthy", ...said }) },
      state: { contents: new Map([["h", Buffer.from("CANARY-FILE")]]) },
    } as const;
    report.turn(parts);
    report.turn({ ...parts, desired: [buildDesired("web", { spec, files, revision: "b".repeat(40) })] });
    const cause = { kind: "unhealthy", why: fact, detail: describeReason(fact, NOW_MS) } as const;
    const step = {
      kind: "exec-in-container",
      service: "web",
      container: buildContainer("web").id,
      command: ["x", "CANARY-HOOK"],
    } as const;
    const failed = { message: "run x in container: exit code 1", output: "CANARY-OUTPUT" };
    report.report.emit({ kind: "step-failed", atMs: NOW_MS, lane: "web", step, cause, ...failed });
    report.report.emit({ kind: "exited", atMs: NOW_MS, exit: exits[0] ?? buildExit("web") });
    const actor = { uid: 1, user: "ada" };
    report.report.emit({
      kind: "acted",
      atMs: NOW_MS,
      actor,
      action: "exec",
      service: "web",
      detail: "CANARY-COMMAND",
    });
    const paths = [
      "/",
      "/why/web",
      "/v1/status",
      "/v1/why/web",
      "/metrics",
      "/readyz",
      "/healthz",
      "/nothing",
      "/why/nothing",
    ];
    for (const path of paths) {
      for (const accept of ["*/*", "application/json", "text/html"]) {
        const answer = await report.get({ path, headers: { accept } });
        expect(`${path} ${JSON.stringify(answer)}`).not.toContain("CANARY");
      }
    }
    const live = await report.get({ path: "/events", withinMs: 50 });
    expect(live.body).not.toContain("CANARY");
    expect(report.log).not.toContain("CANARY");
    // The plants are real: over the socket some of them are to be had.
    const why = JSON.parse((await report.onSocket("/v1/why/web")).body) as WhyDocument;
    expect(why.output).toEqual({ logTail: ["CANARY-TAIL"], probe: "check ended with 1: CANARY-PROBE" });
    expect(why.change?.fields.map(({ field }) => field)).toContain("env.TOKEN");
  });
});

describe("the ports", () => {
  test("one that is taken is a note, and is tried again", async () => {
    const clock = new FakeClock(NOW_MS);
    const { port, free } = await holdPort();
    const report = await start({ clock, serving: { listen: [`127.0.0.1:${port}`] } });
    expect(report.serving.addresses).toEqual([]);
    expect(report.report.status().notes).toEqual([
      `status is not served on 127.0.0.1:${port}: the port is taken, perhaps by another agent; tried again every 30 s`,
    ]);
    await clock.advance(30_000);
    expect(report.serving.addresses).toEqual([]);
    await free();
    await clock.advance(30_000);
    await expect.poll(() => report.serving.addresses).toEqual([`127.0.0.1:${port}`]);
    expect(report.report.status().notes).toEqual([]);
  });

  test("a second port waits for the first turn, and is left to a service that publishes it on every address", async () => {
    const { port, free } = await holdPort();
    await free();
    const report = await start({ serving: { listen: ["127.0.0.1:0", `127.0.0.1:${port}`] } });
    expect(report.serving.addresses).toHaveLength(1);
    const ports = { spec: { image: "app:1", ports: [`0.0.0.0:${port}:80`] } };
    report.turn({ views: [buildView("proxy")], desired: [buildDesired("proxy", ports)] });
    await expect
      .poll(() => report.report.status().notes)
      .toEqual([`status is not served on 127.0.0.1:${port}: proxy publishes port ${port} on every address`]);
    // The port is really free: the service can have it.
    const holder = await holdPort(port, "0.0.0.0");
    await holder.free();
    report.turn({ views: [buildView("proxy")], desired: [buildDesired("proxy")] });
    await expect.poll(() => report.serving.addresses).toHaveLength(2);
    expect((await report.get("/healthz", 1)).status).toBe(200);
    // It comes back while somebody reads: the listener goes at once.
    report.turn({ views: [buildView("proxy")], desired: [buildDesired("proxy", ports)] });
    await expect.poll(() => report.serving.addresses).toHaveLength(1);
    await holdPort(port, "0.0.0.0");
  });

  test("a port published on another address, over udp, or by a stopped service is nobody's", async () => {
    const { port, free } = await holdPort();
    await free();
    const report = await start({ serving: { listen: ["127.0.0.1:0", `127.0.0.1:${port}`] } });
    const published = [
      `10.0.0.10:${port}:80`,
      `0.0.0.0:${port}:80/udp`,
      `0.0.0.0:${port === 65_535 ? 1 : port + 1}:80`,
    ];
    const stopped = buildDesired("old", { running: false, spec: { image: "app:1", ports: [`0.0.0.0:${port}:80`] } });
    const desired = [buildDesired("proxy", { spec: { image: "app:1", ports: published } }), stopped];
    report.turn({ views: [buildView("proxy"), buildView("old", { state: "stopped" })], desired });
    await expect.poll(() => report.serving.addresses).toContain(`127.0.0.1:${port}`);
  });
});

test("an event that cannot be understood breaks nothing and is logged", async () => {
  const report = await start();
  report.report.emit({ kind: "turn", atMs: NOW_MS, turn: undefined } as unknown as AgentEvent);
  expect(report.log).toContain("an event could not be reported");
  report.turn({ views: [buildView("web")] });
  expect((JSON.parse((await report.get("/v1/status")).body) as StatusDocument).services).toHaveLength(1);
});

test("what is known outlives the agent: last change, actions, states", async () => {
  const report = await start();
  const cause = { kind: "commit", why: { code: "said", said: { message: "new spec" } }, detail: "new spec" } as const;
  const step = { kind: "start-container", service: "web", container: buildContainer("web").id } as const;
  report.turn({ views: [buildView("web")] });
  report.turn({
    views: [buildView("web")],
    desired: [buildDesired("web", { spec: { image: "app:2" }, revision: "b".repeat(40) })],
  });
  report.report.emit({ kind: "step-done", atMs: NOW_MS, lane: "web", step, cause, tookMs: 1, changed: true });
  await report.report.close();
  const next = new TestReport({ options: { stateDir: report.stateDir } });
  running.push(next);
  await next.start();
  next.turn({
    views: [buildView("web")],
    desired: [buildDesired("web", { spec: { image: "app:2" }, revision: "b".repeat(40) })],
  });
  const why = JSON.parse((await next.get("/v1/why/web")).body) as WhyDocument;
  expect(why.change?.fields).toEqual([{ field: "image", from: "app:1", to: "app:2" }]);
  expect(why.actions).toHaveLength(1);
  expect(why.transitions).toHaveLength(1);
});
