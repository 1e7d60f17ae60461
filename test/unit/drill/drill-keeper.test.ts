// The keeper of drills, with backups and the loop in the test's hand: what it takes, how it is timed, what is kept, and when it is due.

import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { DrillKeeper, type DrillKeeperOptions } from "../../../agent/drill/drill-keeper.ts";
import type { FullParts } from "../../../agent/drill/drill-full.ts";
import type { StorePlan, StoreStatus, VerifyRun } from "../../../shared/state/backup.ts";
import type { AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import type { DrillRecord } from "../../../shared/drill/drill.ts";
import type { StoreStanding } from "../../../shared/state/promise.ts";
import { buildStorePlan } from "../../builders/data/store-plan.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const DAY_MS = 86_400_000;
const ACTOR = { uid: 1_000, user: "ada" };
const FIRST = buildStorePlan({ service: "pg", store: "db" });
const SECOND = buildStorePlan({ service: "cache", store: "keys", engine: "redis" });

let directory = "";
let clock: FakeClock;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "orca-drill-"));
  clock = new FakeClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function status(plan: StorePlan, backups: readonly { name: string; quarantined?: string }[]): StoreStatus {
  return { service: plan.service, store: plan.store, trouble: undefined, backups } as unknown as StoreStatus;
}

/** A turn in which all services are healthy, in a run of the given number. */
function turn(plans: readonly StorePlan[], own: { rtoMs?: number; run?: number; state?: string } = {}): TurnSummary {
  const names = [...new Set(plans.map(({ service }) => service))];
  const { rtoMs, run = 1, state = "healthy" } = own;
  const promise = rtoMs === undefined ? {} : { rtoMs };
  const update = { healthy_within: 60_000, settle: 5_000 };
  return {
    desired: {
      backups: plans,
      services: new Map(
        names.map((name) => [name, { name, kind: "service", stopTimeoutMs: 10_000, update, ...promise }]),
      ),
    },
    services: names.map((name) => ({
      name,
      state,
      reason: "as the test says",
      container: `c-${name}`,
      settled: state === "healthy",
      tookMs: 2_000,
    })),
    observed: {
      engine: {
        reachable: true,
        containers: names.map((name) => ({ id: `c-${name}`, service: name, startedMs: run })),
      },
    },
  } as unknown as TurnSummary;
}

function open(more: Partial<DrillKeeperOptions> = {}): DrillKeeper {
  return new DrillKeeper({
    node: "vm1",
    clock,
    directory: join(directory, "drills"),
    full: { progressPath: join(directory, "progress") } as unknown as FullParts,
    listStandings: () => [],
    listStores: () => Promise.resolve([]),
    proveStore: () => undefined,
    request: () => undefined,
    emit: () => undefined,
    ...more,
  });
}

/** A keeper whose proofs end at once with the verdicts of a test, each after three seconds of work. */
function openProving(
  stores: readonly StoreStatus[],
  verdicts: Readonly<Record<string, VerifyRun["verdict"]>>,
  more: Partial<DrillKeeperOptions> = {},
): { keeper: DrillKeeper; asked: string[]; ended: Promise<DrillRecord> } {
  const asked: string[] = [];
  let end: (record: DrillRecord) => void = () => undefined;
  const ended = new Promise<DrillRecord>((resolve) => (end = resolve));
  const keeper: DrillKeeper = open({
    listStores: () => Promise.resolve(stores),
    proveStore: ({ service, store, backup }) => {
      asked.push(backup);
      const verdict = verdicts[backup] ?? "good";
      const run: VerifyRun = {
        backup,
        repository: "local",
        endedMs: clock.nowMs(),
        verdict,
        detail: `${verdict} | it is`,
      };
      queueMicrotask(() => keeper.hear({ kind: "backup-judged", atMs: 0, service, store, run, tookMs: 3_000 }));
      return undefined;
    },
    emit: (event) => {
      if (event.kind === "drill-ended") end(event.record);
    },
    ...more,
  });
  return { keeper, asked, ended };
}

const hearTurn = (keeper: DrillKeeper, summary: TurnSummary): void =>
  keeper.hear({ kind: "turn", atMs: clock.nowMs(), turn: summary });

function readPage(): string {
  const name = readdirSync(join(directory, "drills")).find((entry) => entry.endsWith(".md")) ?? "";
  return readFileSync(join(directory, "drills", name), "utf8");
}

describe("a drill of the stores", () => {
  test("takes the newest backup that was not set aside, times it, and writes a page of the month", async () => {
    const stores = [
      status(FIRST, [{ name: "three", quarantined: "small" }, { name: "two" }, { name: "one" }]),
      status(SECOND, [{ name: "snap" }]),
    ];
    const { keeper, asked, ended } = openProving(stores, {});
    hearTurn(keeper, turn([FIRST, SECOND], { rtoMs: 60_000 }));
    expect(await keeper.begin({ kind: "stores" }, ACTOR)).toEqual({ startedMs: clock.nowMs() });
    const { parts, trouble } = await ended;
    expect([asked, trouble]).toEqual([["two", "snap"], undefined]);
    expect(parts[0]).toMatchObject({
      verdict: "good",
      restoreMs: 3_000,
      startMs: 2_000,
      recoveryMs: 5_000,
      graceMs: 10_000,
    });
    expect(readPage()).toContain("Result: good: everything came back in its time.");
    expect(readPage()).toContain("| pg | db | two from local | good | 3.0 s | 2.0 s | 5.0 s | 1m | 10s |");
  });

  test("a backup that is broken turns it red and names it; what printed a bar or a line breaks no table", async () => {
    const { keeper, ended } = openProving([status(FIRST, [{ name: "two" }]), status(SECOND, [])], { two: "bad" });
    hearTurn(keeper, turn([FIRST, SECOND]));
    await keeper.begin({ kind: "stores" }, ACTOR);
    const { parts } = await ended;
    expect(parts.map(({ verdict, backup }) => [verdict, backup])).toEqual([
      ["bad", "two"],
      ["bad", undefined],
    ]);
    expect(readPage()).toContain("Result: red: pg/db, cache/keys did not come back");
    expect(readPage()).toContain("- cache/keys: it has no backup that could be restored");
  });

  test("one that comes back later than promised is late, and the drill is red", async () => {
    const { keeper, ended } = openProving([status(FIRST, [{ name: "two" }])], {});
    hearTurn(keeper, turn([FIRST], { rtoMs: 4_000 }));
    await keeper.begin({ kind: "stores" }, ACTOR);
    await ended;
    expect(readPage()).toContain("Result: red: pg/db came back later than promised");
    expect(readPage()).toContain("| late |");
  });

  test("a store that leaves the manifest in the middle is not waited for", async () => {
    const { keeper, ended } = openProving([status(FIRST, [{ name: "two" }])], {}, { proveStore: () => undefined });
    hearTurn(keeper, turn([FIRST]));
    await keeper.begin({ kind: "stores" }, ACTOR);
    await expect.poll(async () => (await keeper.read()).doing).toContain("pg/db is restored");
    hearTurn(keeper, turn([SECOND]));
    expect((await ended).parts[0]).toMatchObject({
      verdict: "unknown",
      detail: "its manifest does not have it any more",
    });
  });

  test("no two at a time, and none where nothing is known or backed up", async () => {
    const keeper = open();
    expect(await keeper.begin({ kind: "stores" }, ACTOR)).toContain("nothing is known");
    hearTurn(keeper, turn([]));
    expect(await keeper.begin({ kind: "stores" }, ACTOR)).toContain("no service here has [[backups]]");
    hearTurn(keeper, turn([FIRST]));
    const waiting = openProving([status(FIRST, [{ name: "two" }])], {}, { proveStore: () => undefined });
    hearTurn(waiting.keeper, turn([FIRST]));
    await waiting.keeper.begin({ kind: "stores" }, ACTOR);
    expect(await waiting.keeper.begin({ kind: "stores" }, ACTOR)).toContain("a drill goes on");
    expect(waiting.keeper.notes.map(({ text }) => text)).toEqual([expect.stringContaining("a drill goes on since")]);
    await waiting.keeper.close();
    expect((await waiting.ended).trouble).toBe("the agent ended in the middle of it");
  });
});

describe("a stop", () => {
  test("is a restart that is timed: to its end, to healthy, until it has settled", async () => {
    const requests: string[] = [];
    const { keeper, ended } = openProving([], {}, { request: ({ kind }) => void requests.push(kind) });
    hearTurn(keeper, turn([FIRST], { rtoMs: 60_000 }));
    await keeper.begin({ kind: "stop", service: "pg" }, ACTOR);
    await expect.poll(() => requests).toEqual(["restart"]);
    await clock.advance(2_000);
    const step = { kind: "stop-container", service: "pg" };
    keeper.hear({ kind: "step-done", step, tookMs: 2_000 } as unknown as AgentEvent);
    hearTurn(keeper, turn([FIRST], { state: "starting" }));
    await clock.advance(3_000);
    hearTurn(keeper, turn([FIRST], { run: 2 }));
    const { parts } = await ended;
    expect(parts).toEqual([
      {
        service: "pg",
        rtoMs: 60_000,
        graceMs: 2_000,
        verdict: "good",
        detail: "settled after 5s",
        startMs: 3_000,
        recoveryMs: 3_000,
      },
    ]);
  });

  test("one that does not come back is bad once its time is over, also where no turn comes any more", async () => {
    const requests: string[] = [];
    const { keeper, ended } = openProving([], {}, { request: ({ kind }) => void requests.push(kind) });
    hearTurn(keeper, turn([FIRST]));
    await keeper.begin({ kind: "stop", service: "pg" }, ACTOR);
    await expect.poll(() => requests).toEqual(["restart"]);
    hearTurn(keeper, turn([FIRST], { state: "backoff" }));
    await clock.advance(10 * 60_000);
    expect((await ended).parts[0]).toMatchObject({
      verdict: "bad",
      detail: expect.stringMatching(/not healthy again after 3m 1\ds: as the test says/) as string,
    });
  });

  test("nothing is stopped that is not healthy", async () => {
    const keeper = open();
    hearTurn(keeper, turn([FIRST], { state: "unhealthy" }));
    expect(await keeper.begin({ kind: "stop", service: "pg" }, ACTOR)).toBe(
      "pg is not stopped for a drill: it is unhealthy: as the test says",
    );
    expect(await keeper.begin({ kind: "stop", service: "nope" }, ACTOR)).toBe("there is no service nope here");
  });
});

describe("the age of drills", () => {
  const seen = (seenMs: number): StoreStanding[] => [{ service: "pg", store: "db", seenMs } as StoreStanding];

  test("a new store has 14 days, one that came back 92, also for the next agent", async () => {
    const sinceMs = clock.nowMs();
    const listStandings = (): StoreStanding[] => seen(sinceMs);
    const { keeper, ended } = openProving([status(FIRST, [{ name: "two" }])], {}, { listStandings });
    hearTurn(keeper, turn([FIRST]));
    await clock.advance(14 * DAY_MS);
    expect(keeper.notes).toEqual([]);
    await clock.advance(3_600_000);
    expect(keeper.notes.map(({ text }) => text)).toEqual([
      "a drill is overdue since 1h: pg/db did not come back in one for too long: orca drill makes one, see orca help drill",
    ]);
    await keeper.begin({ kind: "stores" }, ACTOR);
    const { startedMs } = await ended;
    await expect.poll(() => keeper.notes).toEqual([]);
    const next = open({ listStandings });
    hearTurn(next, turn([FIRST]));
    expect((await next.read()).standings).toEqual([
      { service: "pg", store: "db", drilledMs: startedMs, dueMs: startedMs + 92 * DAY_MS },
    ]);
    await clock.advance(93 * DAY_MS);
    expect(next.notes.map(({ name }) => name)).toEqual(["drill overdue"]);
  });

  test("what was cut off by the end of an agent counts for nothing, and the page says so", async () => {
    mkdirSync(join(directory, "drills"), { recursive: true });
    const startedMs = clock.nowMs();
    const month = new Date(startedMs).toISOString().slice(0, 7);
    const cut: DrillRecord = { kind: "stores", startedMs, uid: 0, parts: [] };
    writeFileSync(join(directory, "drills", `${month}.json`), JSON.stringify({ version: 1, drills: [cut, "odd"] }));
    const keeper = open({ listStandings: () => seen(startedMs) });
    hearTurn(keeper, turn([FIRST]));
    expect((await keeper.read()).drills[0]).toMatchObject({ trouble: "the agent ended in the middle of it" });
    expect((await keeper.read()).standings[0]?.drilledMs).toBe(undefined);
    expect(readPage()).toContain("Result: incomplete: the agent ended in the middle of it.");
  });

  test("a file that is damaged in part or whole is kept beside, and what is good of it counts and stays", async () => {
    const drills = join(directory, "drills");
    mkdirSync(drills, { recursive: true });
    const startedMs = clock.nowMs() - DAY_MS;
    const good = { service: "pg", store: "db", verdict: "good", detail: "" } as const;
    const record: DrillRecord = { kind: "stores", startedMs, endedMs: startedMs, uid: 0, parts: [good] };
    const month = new Date(startedMs).toISOString().slice(0, 7);
    const odd = [
      { ...record, startedMs: 1e300 },
      { ...record, startedMs: 0 },
      { ...record, kind: "other" },
    ];
    writeFileSync(join(drills, `${month}.json`), JSON.stringify({ version: 1, drills: [record, ...odd] }));
    writeFileSync(join(drills, "2025-12.json"), '{"version": 1, "dri');
    const listStandings = (): StoreStanding[] => seen(startedMs);
    const keeper = open({ listStandings });
    hearTurn(keeper, turn([FIRST]));
    expect((await keeper.read()).standings[0]?.drilledMs).toBe(startedMs);
    expect(keeper.notes.map(({ text }) => text)).toEqual([
      expect.stringContaining("2025-12.json cannot be read: it is kept as 2025-12.json.damaged"),
      expect.stringContaining(`${month}.json.damaged`),
    ]);
    expect(readFileSync(join(drills, "2025-12.json.damaged"), "utf8")).toBe('{"version": 1, "dri');
    const next = open({ listStandings });
    hearTurn(next, turn([FIRST]));
    expect((await next.read()).standings[0]?.drilledMs).toBe(startedMs);
    expect(next.notes).toEqual([]);
  });

  test("a drill that a wrong clock has dated in the future is none", async () => {
    mkdirSync(join(directory, "drills"), { recursive: true });
    const startedMs = Date.UTC(2031, 0, 5);
    const parts = [{ service: "pg", store: "db", verdict: "good", detail: "" }];
    const record = { kind: "stores", startedMs, endedMs: startedMs, uid: 0, parts };
    writeFileSync(join(directory, "drills", "2031-01.json"), JSON.stringify({ version: 1, drills: [record] }));
    const sinceMs = clock.nowMs();
    const keeper = open({ listStandings: () => seen(sinceMs) });
    hearTurn(keeper, turn([FIRST]));
    await keeper.read();
    await clock.advance(15 * DAY_MS);
    expect(keeper.notes.map(({ name }) => name)).toEqual(["drill overdue"]);
  });

  test("records of a later version are set aside, never written over", async () => {
    mkdirSync(join(directory, "drills"), { recursive: true });
    writeFileSync(join(directory, "drills", "2026-12.json"), JSON.stringify({ version: 9, drills: [] }));
    const keeper = open();
    await keeper.read();
    expect(readdirSync(join(directory, "drills"))).toEqual(["2026-12.json.version-9"]);
    expect(keeper.notes[0]?.text).toContain("written by a later version");
  });
});
