// The report of a cold start, from what nodes say of themselves: one axis of time, the path along the edges that opened gates,
// overhead, and what is said where a figure is an estimate. By tables and by properties.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { alignNodes } from "../../../agent/desired/cold-start/cold-start-axis.ts";
import { buildColdStartReport, type ReportFrame } from "../../../agent/desired/cold-start/cold-start-report.ts";
import { printColdStart } from "../../../agent/report/text/cold-start-text.ts";
import {
  COLD_START_SCHEMA,
  type ColdService,
  type ColdStartStatement,
  isWhole,
} from "../../../shared/state/cold-start.ts";
import { readRecord, signRecord } from "../../../agent/gossip/core/record.ts";

const FRAME: ReportFrame = { beganMs: Date.UTC(2026, 10, 28), endedMs: Date.UTC(2026, 10, 28, 0, 5), missing: [] };

function word(services: Record<string, ColdService>, parts: Partial<ColdStartStatement> = {}): ColdStartStatement {
  return { run: "run", ageMs: 0, done: true, seen: {}, services, ...parts };
}

/** A database on one node, an application on another that began two seconds later, and a proxy that waits for both. */
function buildTwo(): Map<string, ColdStartStatement> {
  const data = word({ db: { at: [100, 110, 200, 6_200] } }, { seen: { "vm-edge": 2_010 } });
  const edge = word(
    {
      app: { at: [4_220, 4_230, 4_300, 9_300], by: "vm-data/db", forMs: 4_100 },
      cache: { at: [50, 60, 100, 1_000] },
      proxy: { at: [9_310, 9_500, 9_600, 10_000], by: "app", forMs: 9_200, slotMs: 190 },
    },
    { seen: { "vm-data": -1_990 } },
  );
  return new Map([
    ["vm-edge", edge],
    ["vm-data", data],
  ]);
}

describe("one axis of time", () => {
  test("two that saw each other: the offset lies in the middle, and how far it may be off is known", () => {
    expect(alignNodes(buildTwo())).toEqual(
      new Map([
        ["vm-data", { beganMs: 0, uncertainMs: 0 }],
        ["vm-edge", { beganMs: 2_000, uncertainMs: 10 }],
      ]),
    );
  });

  test("the way with the least doubt counts, over a third node too; who saw nobody is left out", () => {
    const none = {};
    const words = new Map([
      ["a", word(none, { seen: { b: 5_000, c: 1_000 } })],
      ["b", word(none, { seen: { a: 3_000, c: -500 } })],
      ["c", word(none, { seen: { a: -1_000, b: 500 } })],
      ["d", word(none)],
    ]);
    const places = alignNodes(words);
    expect(places.get("b")).toEqual({ beganMs: 1_500, uncertainMs: 0 });
    expect(places.has("d")).toBe(false);
    expect(buildColdStartReport(words, FRAME).notes).toEqual([
      "nothing relates the clock of d to the others': its times are left out, and the path ends before it",
    ]);
  });

  test("where only one saw the other, the report says that the figure is an estimate", () => {
    const words = new Map([
      ["a", word({}, { seen: { b: 700 } })],
      ["b", word({})],
    ]);
    const report = buildColdStartReport(words, FRAME);
    expect(report.nodes.map(({ node, began, uncertainSeconds }) => [node, began, uncertainSeconds])).toEqual([
      ["a", 0, 0],
      ["b", 0.7, null],
    ]);
    expect(report.notes).toEqual(["when b began is an estimate: it may be off by what a message took"]);
    // The same seen from the other side: b says that a had begun 700 ms before it.
    const other = new Map([
      ["a", word({})],
      ["b", word({}, { seen: { a: -700 } })],
    ]);
    expect(buildColdStartReport(other, FRAME).nodes).toEqual(report.nodes);
    expect(buildColdStartReport(other, FRAME).notes).toEqual(report.notes);
  });
});

describe("the report", () => {
  test("total, path across nodes, overhead, slots and who waited for whom", () => {
    const report = buildColdStartReport(buildTwo(), FRAME);
    expect(report).toMatchObject({ scope: "realm", totalSeconds: 12, ended: "2026-11-28T00:05:00.000Z", notes: [] });
    expect(report.path).toEqual([
      { name: "vm-data/db", lateSeconds: 0.11, engineSeconds: 0.09, readySeconds: 6 },
      { name: "vm-edge/app", lateSeconds: 0.03, engineSeconds: 0.07, readySeconds: 5 },
      { name: "vm-edge/proxy", lateSeconds: 0.2, engineSeconds: 0.1, readySeconds: 0.4 },
    ]);
    expect([report.pathSeconds, report.overheadSeconds, report.ratio]).toEqual([11.66, 0.34, 1.029]);
    expect(
      report.services.map(({ name, healthy, waitedFor, waitedSeconds, slotSeconds }) => ({
        name,
        healthy,
        waitedFor,
        waitedSeconds,
        slotSeconds,
      })),
    ).toEqual([
      { name: "vm-edge/cache", healthy: 3, waitedFor: null, waitedSeconds: null, slotSeconds: 0 },
      { name: "vm-data/db", healthy: 6.2, waitedFor: null, waitedSeconds: null, slotSeconds: 0 },
      { name: "vm-edge/app", healthy: 11.3, waitedFor: "vm-data/db", waitedSeconds: 4.1, slotSeconds: 0 },
      { name: "vm-edge/proxy", healthy: 12, waitedFor: "vm-edge/app", waitedSeconds: 9.2, slotSeconds: 0.19 },
    ]);
    expect(isWhole(report)).toBe(true);
  });

  test("what was given up is no edge of the path: the wait for it is overhead, and the report is not whole", () => {
    const proxy: ColdService = { at: [20_000, 20_010, 20_100, 21_000], by: "vm-control/portal", forMs: 19_900 };
    const edge = word({ proxy: { ...proxy, without: ["vm-control/portal"] } });
    const missing = [{ node: "vm-control", why: "not reached since this agent's start" }];
    const report = buildColdStartReport(new Map([["vm-edge", edge]]), { ...FRAME, missing });
    expect(report.path.map(({ name }) => name)).toEqual(["vm-edge/proxy"]);
    expect(report).toMatchObject({ scope: "node", totalSeconds: 21, pathSeconds: 0.99, overheadSeconds: 20.01 });
    expect(isWhole(report)).toBe(false);
    const text = printColdStart({ schema: COLD_START_SCHEMA, node: "vm-edge", reports: [report] }, { width: 120 });
    expect(text.split("\n")).toEqual([
      "cold start of vm-edge, begun 2026-11-28T00:00:00.000Z, over: 1 of 1 service up, the last after 21.0s",
      "critical path 990ms, overhead 20.0s (21.21 × the path)",
      "",
      "CRITICAL PATH   LATE  ENGINE  READY",
      "vm-edge/proxy  20.0s    90ms  900ms",
      "",
      "SERVICE         GATE  ASKED  STARTED  HEALTHY  WAITED FOR LAST",
      "vm-edge/proxy  20.0s  20.0s    20.1s    21.0s  vm-control/portal (19.9s)",
      "",
      "vm-edge/proxy started without vm-control/portal",
      "vm-control did not come: not reached since this agent's start",
      "",
    ]);
  });

  test("what was given up is no edge either where it came up in the end, a moment too late", () => {
    const portal: ColdService = { at: [100, 100, 200, 20_500] };
    const proxy: ColdService = {
      at: [20_000, 20_010, 20_100, 21_000],
      by: "portal",
      forMs: 19_900,
      without: ["portal"],
    };
    const report = buildColdStartReport(new Map([["vm-edge", word({ portal, proxy })]]), FRAME);
    expect(report.path.map(({ name }) => name)).toEqual(["vm-edge/proxy"]);
  });

  test("parts of the path that seem to overlap, since clocks are in doubt, count no moment twice", () => {
    const db: ColdService = { at: [0, 0, 10, 5_000] };
    const web: ColdService = { at: [4_000, 4_000, 4_100, 9_000], by: "db", forMs: 4_000 };
    const report = buildColdStartReport(new Map([["a", word({ db, web })]]), FRAME);
    expect(report.path.map(({ name }) => name)).toEqual(["a/db", "a/web"]);
    expect(report).toMatchObject({ totalSeconds: 9, pathSeconds: 9, overheadSeconds: 0, ratio: 1 });
  });

  test("a service that is not up has no time, ends no path, and is named", () => {
    const words = new Map([["a", word({ db: { at: [0, 10, 20, null] }, web: { at: [null, null, null, null] } })]]);
    const report = buildColdStartReport(words, FRAME);
    expect(report).toMatchObject({ totalSeconds: null, path: [], overheadSeconds: null, ratio: null });
    expect(printColdStart({ schema: COLD_START_SCHEMA, node: "a", reports: [report] }, { width: 100 })).toMatch(
      /not up: a\/db, a\/web/,
    );
  });
});

/** One that takes as many characters as it may. */
function buildLong(): ColdService {
  return { at: [1, 2, 3, 4], by: "x".repeat(190) };
}

/** Services that each wait for some before them, on nodes whose clocks differ and whose messages take time. */
const realm = fc
  .record({
    nodes: fc.array(
      fc.record({ beganMs: fc.integer({ min: 0, max: 30_000 }), delayMs: fc.integer({ min: 0, max: 400 }) }),
      {
        minLength: 1,
        maxLength: 4,
      },
    ),
    services: fc.array(
      fc.record({
        node: fc.nat(),
        needs: fc.array(fc.nat(), { maxLength: 3 }),
        takesMs: fc.integer({ min: 1, max: 9_000 }),
        lateMs: fc.nat({ max: 500 }),
      }),
      { maxLength: 20 },
    ),
  })
  .map(({ nodes, services }) => {
    const edges = new Map<string, string[]>();
    const healthy = new Map<string, number>();
    const words = new Map<string, ColdStartStatement>();
    const names = nodes.map((_node, index) => `n${index}`);
    for (const [index, { beganMs }] of nodes.entries()) {
      const others = nodes.flatMap((other, at) =>
        at === index ? [] : [[`n${at}`, other.beganMs - beganMs + other.delayMs] as const],
      );
      words.set(`n${index}`, word({}, { run: `r${index}`, seen: Object.fromEntries(others) }));
    }
    for (const [index, { node, needs, takesMs, lateMs }] of services.entries()) {
      const on = node % nodes.length;
      const beganMs = nodes[on]?.beganMs ?? 0;
      const known = [...healthy.keys()];
      const waits = known.length === 0 ? [] : [...new Set(needs.map((need) => known[need % known.length] ?? ""))];
      const last = waits.toSorted((left, right) => (healthy.get(right) ?? 0) - (healthy.get(left) ?? 0))[0];
      const gateMs = Math.max(beganMs, last === undefined ? 0 : (healthy.get(last) ?? 0)) + lateMs;
      const name = `${names[on]}/s${index}`;
      healthy.set(name, gateMs + takesMs);
      edges.set(name, waits);
      const at: ColdService["at"] = [gateMs - beganMs, gateMs - beganMs, gateMs - beganMs, gateMs - beganMs + takesMs];
      const by = last?.startsWith(`${names[on]}/`) === true ? last.slice(last.indexOf("/") + 1) : last;
      const services_ = words.get(names[on] ?? "")?.services ?? {};
      services_[`s${index}`] = by === undefined ? { at } : { at, by, forMs: 0 };
    }
    return { words, edges };
  });

describe("whatever nodes say", () => {
  test("overhead is never negative, and the path is a path of the graph that ends with the last service", () => {
    fc.assert(
      fc.property(realm, ({ words, edges }) => {
        const report = buildColdStartReport(words, FRAME);
        if (edges.size === 0) return;
        expect(report.overheadSeconds).toBeGreaterThanOrEqual(0);
        expect(report.pathSeconds + (report.overheadSeconds ?? 0)).toBeCloseTo(report.totalSeconds ?? -1, 2);
        const names = report.path.map(({ name }) => name);
        expect(names.at(-1)).toBe(report.services.at(-1)?.name);
        for (const [index, name] of names.entries()) if (index > 0) expect(edges.get(name)).toContain(names[index - 1]);
        expect(edges.get(names[0] ?? "")).toEqual([]);
      }),
    );
  });

  test("the order in which their words came changes nothing", () => {
    fc.assert(
      fc.property(realm, fc.array(fc.nat(), { minLength: 4, maxLength: 4 }), ({ words }, draws) => {
        const shuffled = [...words]
          .map((entry, index) => ({ entry, draw: draws[index] ?? 0 }))
          .toSorted((left, right) => left.draw - right.draw)
          .map(({ entry }) => entry);
        expect(buildColdStartReport(new Map(shuffled), FRAME)).toEqual(buildColdStartReport(words, FRAME));
      }),
    );
  });

  test("hostile words, of owners that say anything within the schema, break nothing", () => {
    const moment = fc.option(fc.nat({ max: 1e9 }), { nil: null });
    const service = fc.record({
      at: fc.tuple(moment, moment, moment, moment),
      by: fc.constantFrom("a", "n1/a", "n0/b"),
    });
    const said = fc.dictionary(fc.constantFrom("a", "b"), service);
    const seen = fc.dictionary(fc.constantFrom("n0", "n1", "x"), fc.integer({ min: -1e9, max: 1e9 }));
    const words = fc.dictionary(fc.constantFrom("n0", "n1", "n2"), fc.record({ said, seen }));
    fc.assert(
      fc.property(words, (entries) => {
        const all = new Map(Object.entries(entries).map(([node, one]) => [node, word(one.said, { seen: one.seen })]));
        const report = buildColdStartReport(all, FRAME);
        expect(report.overheadSeconds ?? 0).toBeGreaterThanOrEqual(0);
        expect(report.path.length).toBeLessThanOrEqual(report.services.length);
      }),
    );
  });
});

describe("in a record", () => {
  const signer = { sign: () => "s", verify: () => true };
  const base = { v: 1 as const, realm: "prod", node: "vm1", boot: 1, seq: 1, services: {} };

  test("it travels, and what a later version makes of it is passed over, not refused", () => {
    const cold = word({ db: { at: [1, 2, 3, null], by: "vm2/x", forMs: 5 } });
    expect(readRecord(signRecord({ ...base, cold }, signer))?.cold).toEqual(cold);
    const later = signRecord({ ...base, cold: { shape: "unheard of" } as never }, signer);
    expect(readRecord(later)).toEqual({ ...base, cold: undefined });
  });

  test("where a record would be too long it goes first, and no service with it", () => {
    const services = Object.fromEntries(
      Array.from({ length: 300 }, (_one, index) => [`service-with-a-long-name-${index}`, buildLong()]),
    );
    const words = Object.fromEntries(Object.keys(services).map((name) => [name, { ready: true, state: "healthy" }]));
    const record = signRecord({ ...base, services: words, cold: word(services) }, signer);
    const read = readRecord(record);
    expect(Object.keys(read?.services ?? {})).toHaveLength(300);
    expect(read?.cold).toBeUndefined();
  });
});
