// Why a service is in its state: the chain of who waits for whom, ends with their reasons, the advice on memory.

import { describe, expect, test } from "vitest";

import { describeExit } from "../../../agent/report/status/exit-reason.ts";
import { suggestCap } from "../../../agent/report/status/memory-advice.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { buildWhy } from "../../../agent/report/status/why-builder.ts";
import { printWhy } from "../../../agent/report/text/why-text.ts";
import type { ExitRecord } from "../../../shared/state/memory.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import type { WhyDocument } from "../../../shared/document/why-document.ts";
import {
  buildDesired,
  buildExit,
  buildHealth,
  buildTurn,
  buildView,
  NOW_MS,
  type TurnParts,
} from "../../builders/node/turns.ts";

const MIB = 2 ** 20;

function reduce(parts: TurnParts, before = beginState(NOW_MS)): ReportState {
  return reduceStatus(before, { kind: "turn", atMs: NOW_MS, turn: buildTurn(parts) });
}

function why(state: ReportState, name: string, parts: { exits?: ExitRecord[]; trusted?: boolean } = {}): WhyDocument {
  const { exits = [], trusted = false } = parts;
  const document = buildWhy(state, name, { node: "vm1", nowMs: NOW_MS, exits, releases: [], trusted });
  if (document === undefined) throw new Error(`nothing is known of ${name}`);
  return document;
}

function waiting(name: string, ...waitingFor: string[]): ServiceView {
  return buildView(name, { state: "waiting", waitingFor, reason: `waiting for ${waitingFor.join(", ")}` });
}

describe("who waits for whom", () => {
  test("follows the chain to the one that waits for nobody, and says why each is not healthy", () => {
    const db = buildView("db", { state: "backoff", reason: "it ended with exit code 1; restart 3 in 12s" });
    const state = reduce({
      views: [waiting("proxy", "web"), waiting("web", "db", "vm1/cache"), db, buildView("cache")],
    });
    expect(why(state, "proxy").waitsFor).toMatchObject([
      {
        name: "web",
        state: "waiting",
        waitsFor: [
          { name: "db", kind: "service", state: "backoff", reason: db.reason, waitsFor: [] },
          { name: "vm1/cache", kind: "service", state: "healthy", waitsFor: [] },
        ],
      },
    ]);
    expect(printWhy(why(state, "proxy"), {})).toContain(
      "    └ db is backoff: it ended with exit code 1; restart 3 in 12s\n".slice(2),
    );
  });

  test("ends where services wait for each other, and says so", () => {
    const state = reduce({ views: [waiting("a", "b"), waiting("b", "c"), waiting("c", "a")] });
    const [b] = why(state, "a").waitsFor;
    const end = b?.waitsFor[0]?.waitsFor[0];
    expect(end).toMatchObject({ name: "a", reason: "it waits for c in turn: they wait for each other", waitsFor: [] });
  });

  test("says of a peer, an endpoint and an unknown name what can be said", () => {
    const state = reduce({
      views: [waiting("web", "vm-data/db", "https://idp.example/ready", "tcp://x:1", "nobody")],
      endpoints: { "https://idp.example/ready": { healthy: false, message: "GET: 503" } },
    });
    expect(why(state, "web").waitsFor).toMatchObject([
      { name: "vm-data/db", kind: "peer", reason: "it runs on vm-data: ask there with orca why db" },
      { kind: "endpoint", state: "unhealthy", reason: "GET: 503" },
      { kind: "endpoint", state: null, reason: "not probed yet" },
      { name: "nobody", kind: "unknown" },
    ]);
  });

  test("a chain of a hundred ends", () => {
    const views = Array.from({ length: 100 }, (_, index) => waiting(`s${index}`, `s${index + 1}`));
    expect(JSON.stringify(why(reduce({ views }), "s0")).length).toBeLessThan(10_000);
  });
});

describe("ends", () => {
  test.each([
    [{ exitCode: 3 }, "it ended by itself with exit code 3"],
    [{ exitCode: 137, signal: 9 }, "it ended by itself with exit code 137 (SIGKILL)"],
    [
      { exitCode: 137, signal: 9, oom: true },
      "it ended by itself with exit code 137 (SIGKILL); the kernel killed a process of it for memory",
    ],
    [{ exitCode: 0, oom: true }, "it ended by itself with exit code 0; the kernel killed a process of it for memory"],
    [{ exitCode: 143, signal: 15, requested: "agent" }, "the agent stopped it, exit code 143 (SIGTERM)"],
    [{ exitCode: 0, requested: "by-hand" }, "it was stopped by hand, exit code 0"],
    [{ exitCode: 255, engineStopped: true }, "the engine or the host went down, exit code 255"],
    [{ exitCode: 192, signal: 64 }, "it ended by itself with exit code 192 (signal 64)"],
  ] as const)("%j is told as %s", (parts, told) => {
    expect(describeExit(buildExit("web", parts as Partial<ExitRecord>))).toBe(told);
  });

  test("log lines and a probe's words are for a trusted reader only", () => {
    const exits = [buildExit("web", { logTail: ["CANARY-1", "last"] }), buildExit("web", { logTail: ["CANARY-2"] })];
    const said = { message: "check ended with 1", output: "CANARY-3" };
    const health = { web: buildHealth({ status: "unhealthy", ...said }) };
    const state = reduce({
      views: [buildView("web", { state: "unhealthy", fact: { code: "said", said } })],
      health,
    });
    const open = why(state, "web", { exits });
    expect(open.output).toBeNull();
    expect(JSON.stringify(open)).not.toContain("CANARY");
    expect(printWhy(open, {})).not.toContain("CANARY");
    expect(open.exits).toHaveLength(2);
    const trusted = why(state, "web", { exits, trusted: true });
    expect(trusted.output).toEqual({ logTail: ["CANARY-1", "last"], probe: "check ended with 1: CANARY-3" });
    expect(printWhy(trusted, {})).toContain("  CANARY-1\n  last\n");
  });
});

describe("the text", () => {
  test("says state, next retry, change, actions and ends", () => {
    const first = reduce({ views: [buildView("web")] });
    const spec = { image: "app:2", env: { KC_DB: "CANARY" } };
    const view = buildView("web", {
      state: "backoff",
      reason: "it ended with exit code 1; restart 2 in 4s",
      nextMs: NOW_MS + 4_000,
    });
    const changed = reduce(
      { views: [view], desired: [buildDesired("web", { spec, revision: "b".repeat(40) })] },
      first,
    );
    const cause = {
      kind: "crash",
      why: { code: "said", said: { message: "it ended with exit code 1" } },
      detail: "it ended with exit code 1",
    } as const;
    const step = { kind: "ensure-image", service: "web", image: "app:2" } as const;
    const state = reduceStatus(changed, {
      kind: "step-failed",
      atMs: NOW_MS,
      lane: "web",
      step,
      cause,
      message: "pull image: no route",
    });
    const text = printWhy(why(state, "web", { exits: [buildExit("web")] }), {});
    for (const said of [
      "web on vm1 is backoff for 1m\n  it ended with exit code 1; restart 2 in 4s",
      "next: in 4s, at 2026-11-21 12:00:04Z",
      "aaaaaaaaaaaa → bbbbbbbbbbbb, taken over 2026-11-21 12:00:00Z",
      "  env.KC_DB\n  image: app:1 → app:2",
      "ensure-image FAILED: pull image: no route (crash: it ended with exit code 1)",
      "after 10s: it ended by itself with exit code 1",
      "healthy → backoff",
      "log lines are shown over the unix socket only",
    ]) {
      expect(text).toContain(said);
    }
    expect(text).not.toContain("CANARY");
  });

  test("nothing is known of a service that is not there", () => {
    const context = { node: "vm1", nowMs: NOW_MS, exits: [], releases: [], trusted: true };
    expect(buildWhy(reduce({ views: [] }), "web", context)).toBeUndefined();
  });
});

describe("advice on memory", () => {
  const facts = { oom: undefined, peakBytes: undefined, memoryUsedBytes: undefined, capBytes: 512 * MIB };
  const oom = { kills: 2, lastMs: NOW_MS, capBytes: 512 * MIB, run: "x" };

  test("none while the cap is far, or where there is no cap", () => {
    expect(suggestCap({ ...facts, peakBytes: 400 * MIB })).toBeUndefined();
    expect(suggestCap({ ...facts, oom, capBytes: undefined })).toBeUndefined();
    expect(suggestCap({ ...facts, peakBytes: 400 * MIB, capBytes: 0 })).toBeUndefined();
  });

  test("near the cap: what was seen and some room, in round figures", () => {
    expect(suggestCap({ ...facts, peakBytes: 460 * MIB })).toBe(
      'its working set was up to 460 MiB, 90 % of its cap: try memory = "640MiB"',
    );
  });

  test("after an OOM: above the cap it was killed at, since nobody saw what it would have taken", () => {
    expect(suggestCap({ ...facts, oom, peakBytes: 100 * MIB })).toBe(
      'the kernel killed it for memory 2 times at a cap of 512 MiB with a working set of up to 100 MiB seen before: try memory = "768MiB"',
    );
  });

  test("an OOM under a smaller cap than today's has been answered", () => {
    expect(suggestCap({ ...facts, oom: { ...oom, capBytes: 256 * MIB } })).toBeUndefined();
  });
});

describe("the last new values of its secrets", () => {
  const PATHS = ["/prod/app/PASSWORD"];
  const given = { state: { rotating: new Map([["app", PATHS]]) } };
  const unsettled = buildView("app", { settled: false, reason: "healthy for 1s, settled in 29s" });

  function follow(...turns: TurnParts[]): string {
    const state = turns.reduce<ReportState>(
      (before, parts, index) =>
        reduceStatus(before, {
          kind: "turn",
          atMs: NOW_MS,
          turn: buildTurn({ ...parts, endedMs: NOW_MS + index * 10_000 }),
        }),
      beginState(NOW_MS),
    );
    const text = printWhy(why(state, "app"), {});
    return /\nlast new values of its secrets\n {2}(.*)\n/.exec(text)?.[1] ?? "none";
  }

  const BEGUN = "2026-11-21 12:00:00Z it was given the new value of /prod/app/PASSWORD";

  test.each<[string, TurnParts[], string]>([
    ["nothing is said where there were none", [{ views: [buildView("app")] }], "none"],
    ["under way", [{ views: [unsettled], ...given }], `${BEGUN}, and has not settled yet`],
    [
      "settled, also turns later",
      [{ views: [unsettled], ...given }, { views: [buildView("app")], ...given }, { views: [buildView("app")] }],
      `${BEGUN}, and settled with it at 2026-11-21 12:00:10Z`,
    ],
    [
      "gone back, for as long as that lasts",
      [
        { views: [unsettled], ...given },
        {
          views: [buildView("app", { state: "rolled-back", settled: false, wentBack: "it did not settle" })],
          ...given,
        },
        {
          views: [buildView("app", { state: "rolled-back", settled: false, wentBack: "it did not settle" })],
          ...given,
        },
      ],
      `${BEGUN}, and went back to the old at 2026-11-21 12:00:10Z: it did not settle`,
    ],
    [
      "a commit before it had settled",
      [{ views: [unsettled], ...given }, { views: [unsettled] }],
      `${BEGUN}; its manifest changed at 2026-11-21 12:00:10Z, before it had settled`,
    ],
    [
      "tried again after it had gone back",
      [
        {
          views: [buildView("app", { state: "rolled-back", settled: false, wentBack: "it did not settle" })],
          ...given,
        },
        { views: [unsettled], ...given },
      ],
      `${BEGUN.replace("12:00:00", "12:00:10")}, and has not settled yet`,
    ],
  ])("%s", (_name, turns, said) => {
    expect(follow(...turns)).toBe(said);
  });
});
