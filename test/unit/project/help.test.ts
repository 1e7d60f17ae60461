// The topic pages as people meet them: `orca help TOPIC`, /help/TOPIC, and the names of pages in what the program says of trouble.

import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { readPage } from "../../../agent/help/read-page.ts";
import { renderPage } from "../../../agent/help/render-page.ts";
import { listConditions } from "../../../agent/report/notify/alert-judge.ts";
import { beginState, type ReportState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import { listTroublePages } from "../../../agent/report/status/trouble-pages.ts";
import { HELP_TOPICS, type HelpTopic, isHelpTopic } from "../../../shared/text/help-topic.ts";
import { SERVICE_STATES } from "../../../shared/state/status.ts";
import { listPages, readPage as readParsed, ROOT } from "../../builders/data/readme.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildTurn, buildView, NOW_MS, type TurnParts } from "../../builders/node/turns.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";

const TOPICS = Object.keys(HELP_TOPICS) as HelpTopic[];

/** The words of a text without any of Markdown's marks, nor what breaks and aligns lines. */
function listWords(text: string): string[] {
  const plain = text.replaceAll(/[`|─#[\]-]/g, " ").replaceAll(/orca help (?=\w)/g, " ");
  return plain
    .split(/\s+/)
    .filter((word) => word !== "")
    .toSorted();
}

function widthOf(line: string): number {
  return Array.from(line).length;
}

describe("the pages", () => {
  test("are those that the program lists, each with its line", () => {
    expect(listPages()).toEqual(TOPICS.toSorted());
    const first = TOPICS.map((topic) => readParsed(topic).text.split("\n")[0]);
    expect(first).toEqual(TOPICS.map((topic) => `# ${topic}: ${HELP_TOPICS[topic]}`));
  });

  test.each(TOPICS)("%s fits 80 columns, and what is to be copied 100", async (topic) => {
    const lines = renderPage(await readPage(topic), { width: 80 }).split("\n");
    // A path, a key or a command stays whole.
    expect(lines.filter((line) => widthOf(line) > 80 && !line.startsWith("    "))).toEqual([]);
    expect(lines.filter((line) => widthOf(line) > 100)).toEqual([]);
  });

  test.each(TOPICS)("%s loses no word on its way to the terminal", async (topic) => {
    const markdown = await readPage(topic);
    const said = markdown.replaceAll(/^(<!-- .* -->|```\w*)$/gm, "").replaceAll(/\]\([^)]+\)/g, " ");
    expect(listWords(renderPage(markdown, { width: 80 }))).toEqual(listWords(said));
  });

  test("are held in no memory: what the daemon loads reaches none of them", () => {
    const routes = readFileSync(join(ROOT, "agent/serve/read-routes.ts"), "utf8");
    expect(routes).toContain('import("../help/read-page.ts")');
    expect(routes).not.toMatch(/from "\.\.\/help\//);
  });

  test("name each state, hold and alert that somebody may look up", async () => {
    const runbook = await readPage("runbook");
    expect(SERVICE_STATES.filter((state) => !runbook.includes(`\`${state}\``))).toEqual([]);
    const source = readFileSync(join(ROOT, "shared/state/hold.ts"), "utf8");
    const kinds = [...(/type HoldKind =([^;]*);/.exec(source)?.[1] ?? "").matchAll(/"(\w+)"/g)].map(([, kind]) => kind);
    expect(kinds.length).toBeGreaterThan(5);
    const holds = await readPage("holds");
    expect(kinds.filter((kind) => !holds.includes(`| \`${kind}\` |`))).toEqual([]);
    for (const word of ["engine", "loop", "audit log", "disk", "secrets"])
      expect((await readPage("config")).split("## Alerts")[1]).toContain(word);
  });

  test("what the runbook looks up is what the program prints, and leads to a heading", () => {
    const { text, rows } = readParsed("runbook");
    const headings = new Set([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading));
    // The table by scenario has a fourth column.
    const lookups = rows.filter(
      ([symptom = "", , to = "", more]) =>
        more === undefined && to !== "" && to !== "go to" && !symptom.startsWith("-"),
    );
    expect(lookups.length).toBeGreaterThan(18);
    expect(lookups.map(([, , to]) => to).filter((to) => !headings.has(to ?? ""))).toEqual([]);
    const program = readdirSync(join(ROOT, "agent"), { recursive: true, encoding: "utf8" })
      .concat(
        readdirSync(join(ROOT, "shared"), { recursive: true, encoding: "utf8" }).map((name) => `../shared/${name}`),
      )
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(ROOT, "agent", name), "utf8"))
      .join("\n");
    const symptoms = lookups.flatMap(([symptom = ""]) =>
      [...symptom.matchAll(/`([^`]+)`/g)].map(([, said]) => said ?? ""),
    );
    expect(
      symptoms.filter(
        (said) => !program.includes(said) && said !== "held, see notes" && said !== "not in force, see notes",
      ),
    ).toEqual([]);
    // These two are put together.
    expect(program).toMatch(/"held" : "not in force"\}, see notes/);
  });

  test("every page that the program names in its words is there", () => {
    const named = execFileSync("grep", ["-rhoE", "orca help [a-z-]+", "agent", "shared", "host-config"], {
      cwd: ROOT,
      encoding: "utf8",
    });
    // `orca help lists them` is a sentence.
    const others = new Set(["status", "lists"]);
    const names = [
      ...new Set(
        named
          .trim()
          .split("\n")
          .map((said) => said.replace("orca help ", "")),
      ),
    ];
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !isHelpTopic(name) && !others.has(name))).toEqual([]);
  });
});

describe("laying out", () => {
  const page =
    "# a: b\n\nsee [holds](holds.md) and `orca up`\n\n- one `two\n  three` four\n  - five\n\n1. six\n\n| a | b |\n|---|---|\n| c | d e |\n\n```sh\norca x   # y\n```\n";

  test("headings stand at the edge, text and lists are set in, code more, a link is a command", () => {
    expect(renderPage(page, { width: 80 })).toBe(
      "a: b\n\n  see `orca help holds` and `orca up`\n\n  - one `two three` four\n    - five\n\n  1. six\n\n" +
        "  a  b\n  ─  ───\n  c  d e\n\n    orca x   # y\n",
    );
  });

  test("only a painter paints, and what is painted takes no room", () => {
    const painted = renderPage(page, { width: 80, paint: (text, style) => `<${style}>${text}</>` });
    expect(painted).toContain("<bold>a: b</>");
    expect(painted).toContain("see <cyan>orca help holds</> and <cyan>orca up</>");
    expect(renderPage(page, { width: 80 })).not.toContain("<");
    expect(painted).not.toContain("`");
    const broken = renderPage(`\`${"word ".repeat(30)}end\``, { width: 40, paint: (text) => `<${text}>` });
    for (const line of broken.trimEnd().split("\n")) expect(line).toMatch(/^ {2}<[^<>]{1,38}>$/);
  });

  test("a cell wraps inside its column, and the first column stays whole", () => {
    const table = `| key | says |\n|---|---|\n| \`a key of two words\` | ${"much ".repeat(40)}|\n| b | c |\n`;
    const lines = renderPage(table, { width: 60 }).split("\n");
    expect(lines.filter((line) => widthOf(line) > 60)).toEqual([]);
    expect(lines[2]).toMatch(/^ {2}`a key of two words` {2}much/);
    expect(lines[3]).toMatch(/^ {24}much/);
  });
});

describe("orca help", () => {
  const help = (...words: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [PROGRAM, "help", ...words], { encoding: "utf8" });

  test("lists commands and topics", () => {
    const { status, stdout } = help();
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ {2}status {2,}shows every service/m);
    for (const topic of TOPICS) expect(stdout).toContain(`  ${topic.padEnd(14)}${HELP_TOPICS[topic]}`);
  });

  test("prints a page without colour where no terminal is", () => {
    const { status, stdout } = help("runbook");
    expect([status, stdout.split("\n")[0]]).toEqual([0, `runbook: ${HELP_TOPICS.runbook}`]);
    expect(stdout).not.toContain("\u001B");
  });

  test.each([
    [["status"], "Usage: orca status"],
    [["fleet", "plan"], "Usage: orca fleet plan"],
    [["secrets", "set"], "Usage: orca secrets set"],
  ])("%j prints the command's options", (words, usage) => {
    expect(help(...words)).toMatchObject({ status: 0, stdout: expect.stringMatching(new RegExp(`^${usage}`)) });
  });

  test("a page that is a command too has the command's options at its end", () => {
    const { stdout } = help("doctor");
    expect(stdout).toMatch(/^doctor: what it looks at[^]*\nUsage: orca doctor/);
  });

  test.each([
    ["runbok", "did you mean orca help runbook?"],
    ["stats", "did you mean orca help status?"],
    ["zzzzzz", "orca help lists them"],
    ["git-fetch", "there is no topic"],
    ["toString", "there is no topic"],
  ])("%s is unknown: %s", (word, said) => {
    const { status, stdout, stderr } = help(word);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(said);
  });
});

describe("/help", () => {
  let report: TestReport;
  beforeAll(async () => (report = await new TestReport().start()));
  afterAll(() => report.dispose());

  test("lists the pages, and serves each as orca help prints it", async () => {
    expect((await report.get("/help")).body).toContain(`  runbook       ${HELP_TOPICS.runbook}`);
    for (const topic of TOPICS)
      expect((await report.get(`/help/${topic}`)).body).toBe(renderPage(await readPage(topic), { width: 80 }));
    expect((await report.onSocket({ path: "/help/holds" })).status).toBe(200);
    expect((await report.get("/help/runbook?columns=60")).body.split("\n").every((line) => widthOf(line) <= 90)).toBe(
      true,
    );
  });

  test("a browser gets a page that stands still", async () => {
    const { body, headers } = await report.get({ path: "/help/runbook", headers: { accept: "text/html" } });
    expect(headers["content-type"]).toContain("text/html");
    expect(body).toContain("<pre>runbook: ");
    expect(body).not.toContain("refresh");
  });

  test.each(["/help/runbok", "/help/..%2F..%2FREADME", "/help/__proto__", "/help/%00"])(
    "%s is no page",
    async (path) => {
      const { status, body } = await report.get(path);
      expect([status, body]).toEqual([404, expect.stringContaining("there is no page")]);
    },
  );

  test("an unknown page names the near one", async () => {
    expect((await report.get("/help/secret")).body).toContain("did you mean /help/secrets?");
  });
});

describe("trouble names its page", () => {
  const reduceTurn = (parts: TurnParts): ReportState =>
    reduceStatus(beginState(NOW_MS), { kind: "turn", atMs: NOW_MS, turn: buildTurn(parts) });
  const build = (turn: TurnParts): HelpTopic[] =>
    listTroublePages(
      buildStatus(reduceTurn(turn), {
        node: "vm1",
        version: "0",
        socket: undefined,
        nowMs: NOW_MS,
        notes: [],
      }),
    );

  test("in status: nothing where all is well, else the runbook and what is about it", () => {
    expect(build({ views: [buildView("web")] })).toEqual([]);
    expect(build({ views: [buildView("web", { state: "backoff" })] })).toEqual(["runbook"]);
    expect(build({ views: [buildView("web", { state: "rolled-back" })] })).toEqual(["runbook", "rollout"]);
    expect(build({ views: [], source: { trouble: "HTTP 500" } })).toEqual(["runbook", "git"]);
    const holds = [{ kind: "trust", reason: "x" } as const];
    expect(build({ views: [], source: { trouble: "x", holds } })).toEqual(["runbook", "trust"]);
  });

  test.each([
    ["an agent.toml that is not there", ["agent", "--config", "/nowhere/agent.toml"], "(orca help config)"],
    ["an agent.toml with a mistake", ["agent", "--config", join(ROOT, "knip.json")], "(orca help config)"],
    [
      "a policy with a mistake",
      ["lint", join(ROOT, "test/topologies/breakpilot"), "--policy", join(ROOT, "knip.json")],
      "(orca help policy)",
    ],
    ["no agent", ["status", "--socket", "/nowhere/agent.sock"], "orca help runbook)"],
  ])("in errors: %s", (_what, words, page) => {
    const { stderr } = spawnSync(process.execPath, [PROGRAM, ...words], { encoding: "utf8" });
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(new RegExp(`${page.replaceAll(/[()]/g, "\\$&")}$`));
  });

  test("in alerts: every condition in trouble", () => {
    const state = reduceTurn({ views: [buildView("web", { state: "failed" })], source: { trouble: "x" } });
    const troubled = listConditions(state, NOW_MS, "no space").filter(({ severity }) => severity !== undefined);
    expect(troubled.map(({ subject, page }) => [subject, page])).toEqual(
      expect.arrayContaining([
        ["web", "runbook"],
        ["@source", "git"],
        ["@audit", "runbook"],
      ]),
    );
    expect(troubled.filter(({ page }) => page === undefined)).toEqual([]);
  });
});
