// `orca fleet …` as its own process against a report that really serves: a plan from measured start times, and the last cold start.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { buildColdStartReport } from "../../../agent/desired/cold-start/cold-start-report.ts";
import type { FleetReader } from "../../../agent/report/status/fleet-builder.ts";
import {
  COLD_START_SCHEMA,
  type ColdStartDocument,
  type ColdStartStatement,
} from "../../../shared/state/cold-start.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";
import { writeFiles } from "../../builders/data/readme.ts";
import { type ReportChoices, TestReport } from "../../builders/node/report.ts";
import { service } from "../../builders/git/repository.ts";
import { buildView, NOW_MS, STATS } from "../../builders/node/turns.ts";

let report: TestReport | undefined;

afterEach(() => report?.dispose());

async function serve(choices: ReportChoices): Promise<TestReport> {
  report = await new TestReport(choices).start();
  report.turn({ views: [buildView("web")] });
  return report;
}

async function run(...words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const orca = new OrcaProcess(words, { environment: { ORCA_SOCKET: report?.socketPath ?? "/nonexistent" } });
  await new Promise((resolve) => orca.child.once("close", resolve));
  return { code: await orca.exited, output: orca.output };
}

const UP: ColdStartStatement = {
  run: "r1",
  ageMs: 0,
  done: true,
  seen: {},
  services: { web: { at: [5, 5, 90, 2_090] } },
};
const LATE: ColdStartStatement = { ...UP, services: { web: { at: [5, 5, 9, null] } } };
const DEGRADED: ColdStartStatement = { ...UP, services: { web: { at: [5, 5, 9, 10], without: ["db"] } } };
const FRAME = { beganMs: NOW_MS, endedMs: NOW_MS + 3_000, missing: [] };
const MISSING = { ...FRAME, missing: [{ node: "vm2", why: "it is not heard" }] };

describe("orca fleet report", () => {
  test("0 when everything came up with all it needs: as text, as JSON, and the same over HTTP", async () => {
    const whole = buildColdStartReport(new Map([["vm1", UP]]), FRAME);
    const served = await serve({ parts: { coldStarts: () => [whole] } });
    const text = await run("fleet", "report");
    expect([text.code, text.output.split("\n")[1]]).toEqual([0, "critical path 2.1s, overhead 5ms (1.00 × the path)"]);
    expect((await served.get("/cold-start")).body).toBe(text.output);
    const json = await run("fleet", "report", "--json");
    const document: ColdStartDocument = { schema: COLD_START_SCHEMA, node: "vm1", reports: [whole] };
    expect([json.code, JSON.parse(json.output)]).toEqual([0, document]);
    expect(JSON.parse((await served.onSocket("/v1/cold-start")).body)).toEqual(document);
    const page = await served.get({ path: "/cold-start", headers: { accept: "text/html" } });
    expect(page.headers["content-type"]).toMatch(/html/);
  });

  test.each([
    ["while it is under way", { ...FRAME, endedMs: undefined }, UP],
    ["with a node that did not come", MISSING, UP],
    ["with a service that is not up", FRAME, LATE],
    ["with one that was done without", FRAME, DEGRADED],
  ] as const)("3 %s", async (_case, frame, word) => {
    await serve({ parts: { coldStarts: () => [buildColdStartReport(new Map([["vm1", word]]), frame)] } });
    expect((await run("fleet", "report")).code).toBe(3);
  });

  test("1 when there is none yet, and 4 when no agent answers", async () => {
    await serve({});
    expect(await run("fleet", "report")).toEqual({ code: 1, output: "vm1 has seen no cold start yet\n" });
    expect((await run("fleet", "report", "--socket", "/nonexistent/agent.sock")).code).toBe(4);
  });

  test("its end is one line in the log; a warning where not all of it came up", async () => {
    const served = await serve({});
    for (const frame of [FRAME, MISSING]) {
      const built = buildColdStartReport(new Map([["vm1", UP]]), frame);
      served.report.emit({ kind: "cold-start", atMs: NOW_MS, report: built });
    }
    const lines = served.log
      .split("\n")
      .flatMap((line) => (line.includes("cold start of vm1") ? [JSON.parse(line)] : []));
    expect(lines.map(({ level }: { level: unknown }) => level)).toEqual(["info", "warn"]);
    expect(lines[1]).toMatchObject({ msg: expect.stringContaining("orca fleet report") });
  });
});

describe("orca fleet plan", () => {
  test("on a single VM, without gossip, its own starts are measured as well", async () => {
    report = await new TestReport().start();
    report.turn({ views: [buildView("web", { tookMs: 3_210 }), buildView("db")] });
    const { nodes } = JSON.parse((await report.get("/v1/fleet")).body) as FleetDocument;
    expect(nodes[0]?.services.map(({ name, startSeconds }) => [name, startSeconds])).toEqual([
      ["db", null],
      ["web", 3.2],
    ]);
  });

  test("takes what starts took from the agent that runs here, its own and its peers'; the rest is assumed and marked", async () => {
    const words = { v: 1 as const, realm: "prod", node: "vm2", boot: 1, seq: 1 };
    const peer = { node: "vm2", state: "alive", why: "", forMs: 1, silenceMs: 1, stale: undefined } as const;
    const fleet: FleetReader = {
      notes: [],
      realm: "prod",
      refusals: {},
      stats: STATS,
      words: { web: { ready: true, state: "healthy", tookMs: 2_000 } },
      view: () => [
        { ...peer, words: { ...words, services: { db: { ready: true, state: "healthy", tookMs: 7_500 } } } },
      ],
    };
    const { socketPath } = await serve({ parts: { fleet } });
    const directory = mkdtempSync(join(tmpdir(), "orca-fleet-plan-"));
    const node = (name: string): string =>
      `[nodes.${name}]\naddress = "10.0.0.${name.slice(2)}"\nenv = "prod"\nmemory = "8GiB"`;
    writeFiles(
      directory,
      new Map([
        ["orca/fleet.toml", ["vm1", "vm2"].map(node).join("\n")],
        ["orca/manifests/vm1/web.toml", service('requires = ["vm2/db"]')],
        ["orca/manifests/vm1/mail.toml", service()],
        ["orca/manifests/vm2/db.toml", service()],
      ]),
    );
    const { code, output } = await run("fleet", "plan", directory, "--json", "--socket", socketPath);
    rmSync(directory, { recursive: true });
    expect([code, code === 0 ? "" : output]).toEqual([0, ""]);
    expect(JSON.parse(output)).toMatchObject({
      criticalMs: 9_500,
      services: [
        { name: "vm1/mail", takesMs: 5_000, isAssumed: true },
        { name: "vm2/db", takesMs: 7_500, isAssumed: false },
        { name: "vm1/web", takesMs: 2_000, isAssumed: false },
      ],
    });
  });
});
