// Nothing that a container, manifest, commit, peer or server says reaches a terminal or the journal as a control character: every
// text of the product is printed from documents whose texts are all hostile, with and without colour.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import * as fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";

import { describeReport } from "../../../agent/cli/lint/lint-output.ts";
import { printPreview } from "../../../agent/cli/plan/plan-agent.ts";
import { describeComparison } from "../../../agent/cli/plan/plan-output.ts";
import { run } from "../../../agent/cli/frame/run-action.ts";
import { openSink, printDocument, printJsonText, printText } from "../../../agent/cli/frame/terminal.ts";
import { UpProgress } from "../../../agent/cli/agent/up-progress.ts";
import { answerJson, answerText } from "../../../agent/serve/http-answer.ts";
import { printColdStart } from "../../../agent/report/text/cold-start-text.ts";
import { printFleet } from "../../../agent/report/text/fleet-text.ts";
import { createLogger } from "../../../agent/report/log/logger.ts";
import { cleanLines, cutControlCharacters, OutputCleaner, printJson } from "../../../agent/report/text/public-text.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { type Colour, printStatus } from "../../../agent/report/text/status-text.ts";
import { buildWhy } from "../../../agent/report/status/why-builder.ts";
import { printWhy } from "../../../agent/report/text/why-text.ts";
import type { ColdStartDocument } from "../../../shared/state/cold-start.ts";
import type { FleetDocument } from "../../../shared/document/fleet-document.ts";
import { buildExit, buildHealth, buildTurn, buildView, NOW_MS } from "../../builders/node/turns.ts";

/** Clears the screen, names the window, writes the clipboard, uses C1, goes back in the line, turns the text round. */
const EVIL =
  "\u001B[2J\u001B]0;pwned\u0007\u001B]52;c;cm0gLXJm\u0007\u009B31m\u0090q\u009C\rfake\u202Edorw\u2066x\u2069\u200F\u2028\u{E0041}\u0000\u007F";
// eslint-disable-next-line no-control-regex -- the colours that are taken out
const PAINT = /\u001B\[(?:31|32|33|36|90|39)m/g;
const OBEYED =
  // eslint-disable-next-line no-control-regex -- these are the characters that must not be there
  /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069\uFFF9-\uFFFB\u{E0000}-\u{E007F}]/u;

const paint = (text: string, _colour: Colour): string => `\u001B[31m${text}\u001B[39m`;

/** What a closed set of words means is left; every other text is made hostile. */
const CLOSED = new Set([
  "state",
  "previous",
  "from",
  "to",
  "kind",
  "reachability",
  "health",
  "schema",
  "scope",
  "stage",
]);

function poison(value: unknown, key = ""): unknown {
  if (typeof value === "string") return CLOSED.has(key) || /^\d{4}-\d\d-/.test(value) ? value : `${EVIL}${value}`;
  if (Array.isArray(value)) return value.map((entry) => poison(entry, key));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, poison(entry, name)]));
}

function expectClean(text: string): void {
  expect(OBEYED.exec(text.replaceAll(PAINT, ""))?.[0]).toBeUndefined();
  // The test itself must have had something to find.
  expect(text).toContain("pwned");
}

function buildState(): ReturnType<typeof beginState> {
  const views = [
    buildView("web", {
      state: "waiting",
      waitingFor: ["db"],
      reason: "waiting for db",
      notes: ["a note"],
      owner: "ops",
    }),
    buildView("db", { state: "failed", reason: "it ended with exit code 1" }),
  ];
  const foreign = [{ name: "other", image: "x:1", node: "vm9", service: "s", running: true, ports: ["80:80/tcp"] }];
  const health = { web: buildHealth({ status: "unhealthy", message: `sh ended with 1: ${EVIL}` }) };
  const turn = buildTurn({ views, health, notes: ["a note of the node"], foreign });
  return reduceStatus(beginState(NOW_MS), { kind: "turn", atMs: NOW_MS, turn });
}

const COLD: ColdStartDocument = {
  ...({ schema: "orca.cold-start/1", node: "vm1", at: "2026-11-21T12:00:00Z" } as object),
  reports: [
    {
      scope: "realm",
      began: "2026-11-21T12:00:00Z",
      ended: "2026-11-21T12:01:00Z",
      totalSeconds: 60,
      pathSeconds: 50,
      overheadSeconds: 10,
      ratio: 1.2,
      notes: ["note"],
      missing: [{ node: "vm3", why: "away" }],
      nodes: [{ node: "vm1", done: false }],
      path: [{ name: "vm1/db", lateSeconds: 1, engineSeconds: 1, readySeconds: 3 }],
      services: [
        {
          name: "vm1/db",
          gate: 1,
          asked: 1,
          started: 2,
          healthy: null,
          waitedFor: "vm2/x",
          waitedSeconds: 2,
          slotSeconds: 1,
          without: ["vm2/y"],
        },
      ],
    } as never,
  ],
} as never;

const FLEET: FleetDocument = {
  schema: "orca.fleet/1",
  node: "vm1",
  realm: "prod",
  healthy: false,
  at: "2026-11-21T12:00:00Z",
  nodes: [
    {
      node: "vm2",
      reachability: "dead",
      heardSecondsAgo: 90,
      revision: "abc",
      unknown: "not heard",
      why: "dead",
      services: [{ name: "db", state: "failed", why: "it ended", waitingFor: ["vm1/x"], startSeconds: null }],
    },
  ],
  rings: [["vm1/a", "vm2/b"]],
  refused: { "its key is not in fleet.toml": 3 },
  notes: ["a note"],
} as never;

describe.each([
  ["plain", {}],
  ["in colour", { paint }],
])("%s", (_how, options) => {
  const text = { width: 100, ...options };

  test("status", () => {
    const status = buildStatus(buildState(), {
      node: "vm1",
      version: "1.2.3",
      socket: undefined,
      nowMs: NOW_MS,
      notes: [],
    });
    const disk = { path: "/mnt", totalBytes: 10, freeBytes: 5, freePercent: 50, inodesFreePercent: 50 };
    const host = {
      memoryTotalBytes: 10,
      memoryAvailableBytes: 5,
      cpus: 1,
      cpuLoadPercent: 1,
      uptimeSeconds: 1,
      disks: [disk],
    };
    expectClean(printStatus(poison({ ...status, host }) as never, { ...text, width: 2_000 }));
  });

  test("why, with what a container and a probe printed", () => {
    const why = buildWhy(buildState(), "web", {
      node: "vm1",
      nowMs: NOW_MS,
      releases: [],
      trusted: true,
      exits: [buildExit("web", { logTail: [EVIL, "\u001B[31mcoloured by itself\u001B[0m"] })],
    });
    const printed = printWhy(poison(why) as never, options);
    expectClean(printed);
    expect(printed).toContain("coloured by itself");
  });

  test("the fleet and a cold start", () => {
    expectClean(printFleet(poison(FLEET) as FleetDocument, { ...text, width: 2_000 }));
    expectClean(printColdStart(poison(COLD) as ColdStartDocument, { ...text, width: 2_000 }));
  });
});

test("the plan, a comparison, lint in its forms", () => {
  const operation = {
    lane: "web",
    fingerprint: "f",
    cause: { kind: "commit", why: { code: "said", said: { message: "d" } }, detail: "d" },
    steps: [],
  };
  const step = { kind: "ensure-image", service: "web", image: "app:1" };
  const preview = {
    node: "vm1",
    revision: "abc",
    operations: [{ ...operation, steps: [step] }],
    services: [],
    notes: ["n"],
  };
  expectClean(printPreview(poison(preview) as never));
  const change = {
    node: "vm1",
    presence: "both",
    budget: { before: 1, after: 2, limit: 3 },
    starts: [["web"]],
    held: "h",
    refused: "r",
    notes: ["n"],
    fleet: [{ key: "k", kind: "changed", from: "a", to: "b" }],
    services: [
      { service: "web", action: "create", effects: ["e"], fields: [{ key: "k", kind: "changed", from: "a", to: "b" }] },
    ],
  };
  const keep = poison(change) as typeof change;
  const comparison = {
    against: EVIL,
    sha: "abc",
    nodes: 1,
    fleet: [],
    changes: [{ ...keep, presence: "both", services: [{ ...keep.services[0], action: "create" }] }],
  };
  expectClean(describeComparison(comparison as never, "text"));
  expectClean(describeComparison(comparison as never, "markdown"));
  const problem = { code: "x", file: "f.toml", line: 1, column: 1, key: "k", message: "m", hint: "h" };
  const problems = [{ ...(poison(problem) as typeof problem), severity: "error" as const }];
  for (const format of ["text", "github"] as const)
    expectClean(describeReport({ problems, manifests: 1, nodes: 1 }, format, (file) => file));
});

test("orca up, on a terminal and not", () => {
  for (const isTTY of [true, false]) {
    let written = "";
    const progress = new UpProgress({ isTTY, columns: 2_000, write: (piece) => (written += piece) });
    const views = [
      buildView(`web${EVIL}`, { state: "pulling", reason: EVIL }),
      buildView("db", { reason: EVIL, notes: [EVIL] }),
    ];
    progress.hear({ kind: "turn", atMs: NOW_MS, turn: buildTurn({ views, notes: [EVIL] }) });
    progress.hear({ kind: "turn-failed", atMs: NOW_MS, message: EVIL, nextMs: 0 });
    // Its own: colours, and going back to the start of the line that shows pulls.
    expectClean(written.replaceAll(/\r {2,}\r/g, ""));
  }
});

test("what the agent answers to curl, as text and as JSON", () => {
  expectClean(answerText(404, `there is no service ${EVIL}`).body);
  const { body } = answerJson(200, { reason: EVIL });
  expectClean(body);
  expect(JSON.parse(body)).toEqual({ reason: EVIL });
});

test("the log: no field and no message, nested ones too", () => {
  let log = "";
  const logger = createLogger("info", { write: (line) => (log += line) });
  logger.warn({ reason: EVIL, pushes: [EVIL], deep: { [`k${EVIL}`]: EVIL }, count: 3 }, `trouble ${EVIL}`);
  logger.info(EVIL);
  expectClean(log);
  expect(log.split("\n", 2).flatMap((line) => (line === "" ? [] : [JSON.parse(line) as object]))).toMatchObject([
    { level: "warn", count: 3, deep: {} },
    { level: "info" },
  ]);
  // Neither the characters nor their escapes: a journal prints text from these fields.
  expect(log).not.toMatch(/\\u00(?:0|1|7f|8|9)/i);
});

describe("what the commands print", () => {
  afterEach(() => vi.restoreAllMocks());

  function capture(): { text: () => string } {
    let text = "";
    const take = (piece: string | Uint8Array): boolean => {
      text += piece.toString();
      return true;
    };
    vi.spyOn(process.stdout, "write").mockImplementation(take);
    vi.spyOn(process.stderr, "write").mockImplementation(take);
    return { text: () => text };
  }

  test("texts, documents, an agent's JSON as it came, and faults", async () => {
    const printed = capture();
    printText(`a ${EVIL}`);
    printDocument({ a: EVIL });
    printJsonText(JSON.stringify({ a: EVIL }));
    await run(() => Promise.reject(new Error(`the agent said ${EVIL}`)))();
    process.exitCode = 0;
    const text = printed.text();
    vi.restoreAllMocks();
    expectClean(text);
    expect(text.match(/pwned/g)).toHaveLength(4);
  });

  test("logs: a terminal gets what can be read, a file gets the bytes", () => {
    for (const [isTTY, raw] of [
      [true, false],
      [false, false],
      [true, true],
    ] as const) {
      const written: (string | Buffer)[] = [];
      const stream = { isTTY, write: (piece: string | Buffer) => written.push(piece) > 0 };
      const sink = openSink(stream as never, raw);
      const bytes = Buffer.from(`\u001B[32mINFO\u001B[0m ready\r\n\t${EVIL}é`);
      // In the middle of a colour, of a line's end and of a character.
      for (const [from, to] of [
        [0, 2],
        [2, 16],
        [16, bytes.length - 1],
        [bytes.length - 1, bytes.length],
      ])
        sink.write(bytes.subarray(from, to));
      sink.end();
      const text = written.map(String).join("");
      if (isTTY && !raw) {
        expectClean(text);
        expect(text).toMatch(/^INFO ready\n\t .*pwned.*é$/);
      } else expect(Buffer.concat(written as Buffer[])).toEqual(bytes);
    }
  });

  test("nothing prints past them", () => {
    const files = readdirSync("agent", { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
    expect(files.length).toBeGreaterThan(200);
    const printing = files.filter((file) =>
      /console\.|std(?:out|err)\.write\(/.test(readFileSync(join("agent", file), "utf8")),
    );
    expect(printing.toSorted()).toEqual([
      // The children answer their parent, and never a person.
      "cli/frame/terminal.ts",
      "gossip/open-gossip.ts",
      // The log, whose fields are clean when they come in.
      "host/os/child-request.ts",
      "report/log/logger.ts",
      "sources/git/store/git-fetch.ts",
    ]);
  });
});

describe("cleaning", () => {
  const hostile = fc.array(
    fc.oneof(
      fc.constantFrom(...Array.from(EVIL), "\u001B[1;31m", "\u009B0m", "\r\n", "\n", "\t", "é", "👩‍👩‍👧"),
      fc.string({ unit: "binary" }),
    ),
  );

  test("lines and streams hold nothing that is obeyed, in whatever pieces they come", () => {
    fc.assert(
      fc.property(hostile, fc.array(fc.nat(60)), (parts, cuts) => {
        const text = parts.join("").toWellFormed();
        expect(OBEYED.test(cleanLines(text))).toBe(false);
        expect(/[\n\t]/.test(cutControlCharacters(text)) || OBEYED.test(cutControlCharacters(text))).toBe(false);
        const bytes = Buffer.from(text);
        const cleaner = new OutputCleaner();
        let [shown, at] = ["", 0];
        for (const length of cuts) {
          shown += cleaner.push(bytes.subarray(at, at + length));
          at += length;
        }
        shown += cleaner.push(bytes.subarray(at)) + cleaner.end();
        expect(OBEYED.test(shown)).toBe(false);
        // Runs of what was cut may be cut in two: each leaves a space.
        expect(shown.replaceAll(/ +/g, " ")).toBe(cleanLines(text).replaceAll(/ +/g, " "));
      }),
    );
  });

  test("JSON says the same as before", () => {
    fc.assert(
      fc.property(hostile, fc.boolean(), (parts, laidOut) => {
        const value = { [parts.join("")]: parts };
        const json = printJson(value, laidOut ? 2 : undefined);
        expect(OBEYED.test(json)).toBe(false);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("what people write stays: accents, pictures with joiners, other scripts, tabs and lines in a log", () => {
    const text = "naïve 👩‍👩‍👧 עברית فارسی‌ها\tx\n";
    expect(cleanLines(text)).toBe(text);
  });
});
