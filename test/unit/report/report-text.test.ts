// The status as text and as a document: what is said, that it fits, and that nothing in it can harm a terminal.

import { noteText } from "../../../shared/state/note.ts";
import { describe, expect, test } from "vitest";

import { beginState, type HostSample, type ReportState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { shortRevision } from "../../../shared/text/short-revision.ts";
import { printStatus, shortSize } from "../../../agent/report/text/status-text.ts";
import { cutText, layOutTable } from "../../../agent/report/text/text-table.ts";
import { SERVICE_STATES } from "../../../shared/state/status.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { buildHealth, buildTurn, buildView, NOW_MS, type TurnParts } from "../../builders/node/turns.ts";

const HOST: HostSample = {
  memoryTotalBytes: 8 * 2 ** 30,
  memoryAvailableBytes: 5 * 2 ** 30,
  cpus: 2,
  cpuLoadPercent: 12.34,
  uptimeSeconds: 86_400,
  disks: [
    { path: "/", totalBytes: 100 * 2 ** 30, freeBytes: 45 * 2 ** 30, inodes: 1_000, inodesFree: 805 },
    { path: "/mnt/data", totalBytes: 100 * 2 ** 30, freeBytes: 9 * 2 ** 30, inodes: 0, inodesFree: 0 },
  ],
};

function reduceTurn(parts: TurnParts): ReportState {
  return reduceStatus(beginState(NOW_MS - 7_200_000), { kind: "turn", atMs: NOW_MS, turn: buildTurn(parts) });
}

function build(state: ReportState, notes: readonly string[] = []): StatusDocument {
  const context = { node: "vm1", version: "1.2.3", socket: "/run/orca/agent.sock" };
  return buildStatus(state, { ...context, nowMs: NOW_MS, notes: notes.map(noteText) });
}

function print(parts: TurnParts, width = 100): string {
  return printStatus(build({ ...reduceTurn(parts), host: HOST }), { width });
}

describe("the document", () => {
  test("has every key, null where nothing is known, and survives JSON", () => {
    const status = build(beginState(NOW_MS));
    expect(JSON.parse(JSON.stringify(status))).toEqual(status);
    expect(status).toMatchObject({ schema: "orca.status/1", node: "vm1", healthy: false, source: null, host: null });
    expect(Object.keys(status.counts)).toEqual([...SERVICE_STATES]);
    const view = { container: undefined, image: undefined, revision: undefined, memoryCapBytes: undefined };
    const service = build(reduceTurn({ views: [buildView("web", { state: "waiting", ...view })] })).services[0];
    expect(JSON.parse(JSON.stringify(service))).toEqual(service);
    expect(service).toMatchObject({ container: null, image: null, revision: null, memoryCapBytes: null, health: null });
  });

  test.each(SERVICE_STATES)(
    "a node with a service that is %s is healthy only when that is as it should be",
    (state) => {
      const good = ["healthy", "completed", "stopped", "removing"].includes(state);
      expect(build(reduceTurn({ views: [buildView("web", { state })] })).healthy).toBe(good);
      expect(build(reduceTurn({ views: [buildView("web", { state })] })).counts[state]).toBe(1);
    },
  );

  test("nothing at all is healthy only where a source in force says so", () => {
    expect(build(reduceTurn({ views: [] })).healthy).toBe(true);
    expect(build(reduceTurn({ views: [], state: "none" })).healthy).toBe(false);
    expect(build(reduceTurn({ views: [], source: { trouble: "would remove 5 of 5 services" } })).healthy).toBe(false);
    const engine = { reachable: false, reason: "gone" } as const;
    expect(build(reduceTurn({ views: [], engine })).healthy).toBe(false);
  });

  test("services are sorted by name, ages are counted from now", () => {
    const status = build(
      reduceTurn({ views: [buildView("web"), buildView("db")], source: { retryMs: NOW_MS + 5_000 } }),
    );
    expect(status.services.map(({ name }) => name)).toEqual(["db", "web"]);
    expect(status.source).toMatchObject({ ageSeconds: 12, retry: "2026-11-21T12:00:05.000Z" });
    expect(status.agent).toMatchObject({ uptimeSeconds: 7_200 });
  });

  test("a time that no calendar has does not break the document", () => {
    const status = build(reduceTurn({ views: [buildView("web", { sinceMs: Number.NaN, nextMs: 1e300 })] }));
    expect(status.services[0]).toMatchObject({
      since: "1970-01-01T00:00:00.000Z",
      nextRetry: "1970-01-01T00:00:00.000Z",
    });
  });
});

describe("the text", () => {
  test("says node, revision, source, engine, memory, load, disks and counts", () => {
    const text = print({
      views: [buildView("web"), buildView("db", { state: "backoff", reason: "it ended", restarts: 7 })],
    });
    for (const said of [
      "node vm1 · revision aaaaaaaaaaaa · source directory /srv/manifests read 12s ago · engine answers",
      "RAM 3 GiB of 8 GiB (38 %) · CPU 12.3 % of 2",
      "disk /: 45 GiB of 100 GiB free (45 %), inodes 80 % free",
      "disk /mnt/data: 9 GiB of 100 GiB free (9 %), inodes 100 % free",
      "2 services: 1 healthy, 1 backoff",
      "/mnt/data is nearly full: 9 % are free",
    ]) {
      expect(text).toContain(said);
    }
  });

  test.each([80, 100, 200])("fits %d columns, and every reason is told to its end", (width) => {
    const reason = `waiting for ${"postgres-keycloak, ".repeat(20)}and no end`;
    const name = "a-service-with-a-name-of-the-greatest-length-that-a-name-may-have";
    const views = [
      buildView(name.slice(0, 63), { state: "rolled-back", reason }),
      buildView("x", { state: "waiting", reason }),
    ];
    const foreign = [{ name: "n".repeat(200), image: "i:1", running: true, ports: ["80:80"], node: "vm9" }];
    const text = print({ views, foreign, health: { x: buildHealth() } }, width);
    for (const line of text.split("\n")) expect(Array.from(line).length).toBeLessThanOrEqual(width);
    expect(text.replaceAll(/\s+/g, " ").split(reason)).toHaveLength(3);
  });

  test("at 80 columns a short reason stands beside its service, and a long one below it with the whole width", () => {
    const long =
      "unhealthy: GET http://10.0.0.10:8080/health/ready answered 503 three times in a row; restart 4 in 12s";
    const views = [
      buildView("postgres-infisical", { state: "unhealthy", reason: long }),
      buildView("db", { reason: "healthy for 3h" }),
    ];
    const lines = print({ views }, 80).split("\n");
    expect(lines.find((line) => line.startsWith("db "))).toMatch(/ {2}healthy for 3h$/);
    const at = lines.findIndex((line) => line.startsWith("postgres-infisical "));
    expect(lines.slice(at + 1, at + 3)).toEqual([
      expect.stringMatching(/^ {4}unhealthy: GET .*/),
      expect.stringMatching(/^ {4}\S/),
    ]);
  });

  test("that a probe of a healthy service succeeded takes no line of its own", () => {
    const reason = "GET http://172.22.0.7:3000/api/healthz: 200, again and again";
    const lines = print({ views: [buildView("postgres-infisical", { reason })] }, 80).split("\n");
    const at = lines.findIndex((line) => line.startsWith("postgres-infisical "));
    expect(lines[at]).toMatch(/ {2}GET http.*…$/);
    expect(lines[at + 1]).not.toMatch(/^ {4}/);
  });

  test("a revision that all have is told once; a service that runs another says so", () => {
    const views = [buildView("web"), buildView("db", { revision: "b".repeat(40) })];
    const text = print({ views });
    expect(text.split("aaaaaaaaaaaa")).toHaveLength(2);
    expect(text).toMatch(/^db .* runs bbbbbbbbbbbb; GET/m);
  });

  test("what the probe says is told where it is not the state's own word", () => {
    const text = print({
      views: [buildView("web"), buildView("db", { state: "rolled-back" })],
      health: { db: buildHealth() },
    });
    expect(text).toMatch(/^db +rolled-back( \(\w+\))? /m);
    expect(text).toMatch(/^web +healthy +\d/m);
  });

  test("shows whom a service waits for, once", () => {
    const fact = { code: "waiting-for", missing: [{ target: "db", why: { code: "not-running" } }] } as const;
    const waiting = { state: "waiting", waitingFor: ["db"], fact } as const;
    const row = print({ views: [buildView("web", waiting)] })
      .split("\n")
      .find((line) => line.startsWith("web"));
    expect(row).toMatch(/ {2}db \(it is not running\)$/);
    const slot = { state: "waiting", waitingFor: ["db"], reason: "no slot" } as const;
    expect(print({ views: [buildView("web", slot)] })).toContain("db: no slot");
  });

  test("notes, what a service notes, a pause and what is not managed are told whole", () => {
    const foreign = Array.from({ length: 25 }, (_, index) => ({
      name: `old-${index}`,
      image: "x:1",
      running: index % 2 === 0,
      ports: ["8080:80"],
      node: index === 0 ? "vm9" : undefined,
    }));
    const note = `a note ${"that is long ".repeat(20)}to its end`;
    const text = print({
      views: [buildView("web", { notes: ["started without db"] })],
      foreign,
      notes: [note],
      pausedBy: 1000,
    });
    expect(text).toContain(note);
    expect(text).toContain("web: started without db");
    expect(text).toContain("PAUSED by uid 1000");
    expect(text).toContain("25 containers not managed by vm1");
    expect(text).toContain("  old-1 (x:1, not running, ports 8080:80)");
    expect(text).toContain("and 4 more");
    // Another agent's are counted: twenty lines of them after each table helped nobody.
    expect(text).toContain("  1 container of node vm9\n");
    expect(text).not.toContain("old-0");
  });

  test("a note that many services share stands once, with how many they are, and buries none of the others", () => {
    const slo = "of a job's slo only rpo is looked at";
    const views = ["a", "b", "c", "d", "e"].map((name) => buildView(name, { notes: [slo] }));
    const text = print({ views: [...views, buildView("web", { notes: ["started by a person", slo] })] });
    const notes = text.split("notes on services\n")[1]?.split("\n").slice(0, 3);
    expect(notes).toEqual(["  web: started by a person", `  6 services: ${slo}`, ""]);
    const few = print({ views: views.slice(0, 2) });
    expect(few).toContain(`  a, b: ${slo}\n`);
  });

  test("control characters from outside reach no terminal", () => {
    const evil = "\u001b[31mred\u0007\r\n\u202eknil";
    const foreign = [{ name: evil, image: evil, running: true, ports: [], node: undefined }];
    const views = [buildView("web", { reason: evil, notes: [evil] })];
    const text = print({ views, foreign, notes: [evil], source: { revision: evil } });
    // eslint-disable-next-line no-control-regex -- these are the characters to be found
    expect(text.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
  });

  test("colours only where it is given a paint, and only states", () => {
    const status = build(reduceTurn({ views: [buildView("web"), buildView("db", { state: "failed" })] }));
    const painted = printStatus(status, { width: 100, paint: (text, colour) => `<${colour}>${text}</>` });
    expect(painted).toContain("<green>healthy</>");
    expect(painted).toContain("<red>failed</>");
    expect(painted.replaceAll(/<\/?\w*>/g, "")).toBe(printStatus(status, { width: 100 }));
  });

  test("says when the engine does not answer and when the loop stands still", () => {
    const state = reduceTurn({ views: [], engine: { reachable: false, reason: "gone" } });
    const later = { ...state, turn: { ...state.turn, endedMs: NOW_MS - 120_000 } };
    const text = printStatus(build(later), { width: 100 });
    expect(text).toContain("ENGINE DOES NOT ANSWER");
    expect(text).toContain("THE LOOP STANDS STILL: its last turn ended 2m ago");
  });
});

describe("tables", () => {
  test("the last columns that may be cut give way first, and none below its least", () => {
    const columns = [{ heading: "A", least: 4 }, { heading: "B" }, { heading: "C", least: 5 }];
    const rows = [["x".repeat(20), "bbb", "y".repeat(20)]];
    expect(layOutTable(columns, rows, { width: 400 })[1]).toBe(`${"x".repeat(20)}  bbb  ${"y".repeat(20)}`);
    expect(layOutTable(columns, rows, { width: 40 })[1]).toBe(`${"x".repeat(20)}  bbb  ${"y".repeat(12)}…`);
    expect(layOutTable(columns, rows, { width: 20 })[1]).toBe(`${"x".repeat(7)}…  bbb  yyyy…`);
    expect(layOutTable(columns, rows, { width: 1 })[1]).toBe("xxx…  bbb  yyyy…");
  });

  test.each([
    ["a".repeat(40), "a".repeat(12)],
    ["dir:0123456789ab", "dir:0123456789ab"],
    [null, "-"],
  ])("a revision %s is shown as %s", (revision, shown) => expect(shortRevision(revision)).toBe(shown));

  test.each([
    [0, "0B"],
    [900, "900B"],
    [1_536 * 2 ** 10, "1.5M"],
    [1_023 * 2 ** 20, "1023M"],
    [2 ** 40, "1T"],
  ])("%d bytes are shown as %s", (bytes, shown) => expect(shortSize(bytes)).toBe(shown));

  test("characters are cut whole", () => expect(cutText("🐋🐋🐋🐋", 3)).toBe("🐋🐋…"));
});
