// The log: lines with levels, for people and for programs, one for what changes and none for a turn that changed nothing.

import { fstatSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { isJournal } from "../../../agent/host/os/journal.ts";
import { logChange, logEvent } from "../../../agent/report/log/log-events.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import { buildExit, buildTurn, buildView, containerOf, NOW_MS } from "../../builders/node/turns.ts";

function capture(level: string, write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  let text = "";
  write(createLogger(level, { write: (line) => void (text += line) }));
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const cause = { kind: "commit", why: { code: "said", said: { message: "new spec" } }, detail: "new spec" } as const;
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
    {
      kind: "step-failed",
      atMs: NOW_MS,
      lane: "web",
      step,
      cause,
      message: "run x in container: exit code 1",
      output: "CANARY",
    },
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

/** What a logger writes, whole. */
function captureText(output: { format: "text" | "json"; journal: boolean }, event: AgentEvent): string {
  let text = "";
  logEvent(createLogger("info", { ...output, write: (line) => void (text += line) }), event);
  return text;
}

const ended: AgentEvent = { kind: "exited", atMs: NOW_MS, exit: buildExit("web", { exitCode: 3 }) };
const failed: AgentEvent = { kind: "turn-failed", atMs: NOW_MS, message: "disk full\n<6>forged", nextMs: 0 };

describe("for people", () => {
  test("the journal gets one line with its priority, whom it is about, what happened, why, and the rest", () => {
    const journal = { format: "text", journal: true } as const;
    expect(captureText(journal, ended)).toMatch(
      /^<4>web: container ended: it ended by itself with exit code 3 \(container [0-9a-f]{12}, exitCode 3, oom false\)\n$/,
    );
    expect(captureText(journal, { kind: "agent-started", atMs: NOW_MS, node: "vm1", engine: "/s", version: "1" })).toBe(
      "<6>agent started (node vm1, engine /s, version 1)\n",
    );
  });

  test("what a text holds makes no second line, no priority of its own, and nothing that a terminal obeys", () => {
    expect(captureText({ format: "text", journal: true }, failed)).toBe("<3>a turn failed: disk full <6>forged\n");
    const painted: AgentEvent = { kind: "state-not-saved", atMs: NOW_MS, message: "\u001b]0;x\u0007full\u009b2J" };
    expect(captureText({ format: "text", journal: false }, painted)).toMatch(/ the agent's state: [ -~]*full[ -~]*\n$/);
  });

  test("a terminal or a file gets the time and the level as words", () => {
    expect(captureText({ format: "text", journal: false }, ended)).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}web: container ended: /,
    );
  });

  test("a change of state reads from before to now", () => {
    let text = "";
    const logger = createLogger("info", { format: "text", journal: true, write: (line) => void (text += line) });
    const change = { service: "web", atMs: NOW_MS, reason: "exit code 1", revision: "4f1c" };
    logChange(logger, { ...change, previous: "healthy", state: "backoff" });
    expect(text).toBe("<4>web: state changed: healthy → backoff: exit code 1 (revision 4f1c)\n");
  });
});

test("JSON by choice keeps its priority in the journal", () => {
  const line = captureText({ format: "json", journal: true }, ended);
  expect(line.slice(0, 3)).toBe("<4>");
  expect(JSON.parse(line.slice(3))).toMatchObject({ level: "warn", service: "web", msg: "container ended" });
});

test("a stream is the journal's only where JOURNAL_STREAM names its device and inode", () => {
  const { dev, ino } = fstatSync(1, { bigint: true });
  expect(isJournal("stdout", `${dev}:${ino}`)).toBe(true);
  expect(isJournal("stdout", `${dev}:${ino + 1n}`)).toBe(false);
  expect(isJournal("stdout", "")).toBe(false);
});

test("times are ISO 8601 in UTC, and a level that is not asked for says nothing", () => {
  const [line] = capture("info", (logger) => logger.info("x"));
  expect(line?.["time"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(capture("warn", (logger) => logger.info("x"))).toEqual([]);
});
