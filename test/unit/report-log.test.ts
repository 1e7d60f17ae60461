// The log: JSON lines with levels, one for what changes and none for a turn that changed nothing.

import { expect, test } from "vitest";

import { logChange, logEvent } from "../../agent/report/log-events.ts";
import { createLogger } from "../../agent/report/logger.ts";
import type { AgentEvent } from "../../shared/event.ts";
import { buildExit, buildTurn, buildView, containerOf, NOW_MS } from "../builders/turns.ts";

function capture(level: string, write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  let text = "";
  write(createLogger(level, { write: (line) => void (text += line) }));
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const cause = { kind: "commit", detail: "new spec" } as const;
const step = { kind: "start-container", service: "web", container: containerOf("web") } as const;

test.each<[AgentEvent, object | undefined]>([
  [
    { kind: "agent-started", atMs: NOW_MS, node: "vm1", engine: "/s", version: "1" },
    { level: "info", node: "vm1", msg: "agent started" },
  ],
  [
    { kind: "agent-stopping", atMs: NOW_MS, reason: "SIGTERM" },
    { level: "info", reason: "SIGTERM" },
  ],
  [{ kind: "turn", atMs: NOW_MS, turn: buildTurn({ views: [buildView("web")] }) }, undefined],
  [
    { kind: "turn-failed", atMs: NOW_MS, message: "boom", nextMs: 0 },
    { level: "error", error: "boom" },
  ],
  [
    { kind: "state-not-saved", atMs: NOW_MS, message: "full" },
    { level: "error", error: "full" },
  ],
  [
    {
      kind: "gossip",
      atMs: NOW_MS,
      event: { kind: "unreachable", node: "vm3", forMs: 60_000, why: "it is not heard; vm2 cannot reach it either" },
    },
    { level: "error", peer: "vm3", forMs: 60_000, why: "it is not heard; vm2 cannot reach it either" },
  ],
  [
    { kind: "settled", atMs: NOW_MS, service: "web", revision: "abc" },
    { level: "info", service: "web", revision: "abc" },
  ],
  [
    { kind: "exited", atMs: NOW_MS, exit: buildExit("web", { exitCode: 3, logTail: ["CANARY"] }) },
    { level: "warn", service: "web", exitCode: 3, oom: false, reason: "it ended by itself with exit code 3" },
  ],
  [{ kind: "exited", atMs: NOW_MS, exit: buildExit("web", { requested: "agent" }) }, { level: "info" }],
  [
    {
      kind: "acted",
      atMs: NOW_MS,
      actor: { uid: 1000, user: "ada" },
      action: "exec",
      service: "web",
      detail: "CANARY",
    },
    { level: "info", uid: 1000, user: "ada", action: "exec", service: "web" },
  ],
  [
    { kind: "step-done", atMs: NOW_MS, lane: "web", step, cause, tookMs: 12.3, changed: true },
    { level: "info", lane: "web", step: "start-container", cause: "commit: new spec", tookMs: 12 },
  ],
  [{ kind: "step-done", atMs: NOW_MS, lane: "web", step, cause, tookMs: 1, changed: false }, undefined],
  [
    { kind: "step-failed", atMs: NOW_MS, lane: "web", step, cause, message: "run x in container: exit code 1: CANARY" },
    { level: "warn", step: "start-container", error: "run x in container: exit code 1" },
  ],
])("%j", (event, line) => {
  const lines = capture("info", (logger) => logEvent(logger, event));
  expect(lines).toHaveLength(line === undefined ? 0 : 1);
  expect(lines[0] ?? {}).toMatchObject(line ?? {});
  expect(JSON.stringify(lines)).not.toContain("CANARY");
});

test("a change to what somebody should look at is a warning, any other is information", () => {
  const change = { service: "web", atMs: NOW_MS, previous: undefined, reason: "r", revision: undefined };
  const levels = (["backoff", "failed", "healthy", "waiting", undefined] as const).map(
    (state) => capture("debug", (logger) => logChange(logger, { ...change, state }))[0]?.["level"],
  );
  expect(levels).toEqual(["warn", "warn", "info", "info", "info"]);
});

test("times are ISO 8601 in UTC, and a level that is not asked for says nothing", () => {
  const [line] = capture("info", (logger) => logger.info("x"));
  expect(line?.["time"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(capture("warn", (logger) => logger.info("x"))).toEqual([]);
});
