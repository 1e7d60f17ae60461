// Every error names line, column, key, what is wrong and what to write instead.

import { describe, expect, it } from "vitest";

import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { policySchema } from "../../../shared/policy/policy.ts";
import { describeProblem, suggestWord } from "../../../shared/text/problem.ts";
import { buildPlaces } from "../../../shared/text/toml-places.ts";

async function explain(text: string, schema: Parameters<typeof parseToml>[0] = manifestSchema): Promise<string[]> {
  const parsed = await parseToml(schema, text, "f");
  return parsed.ok ? [] : parsed.problems.map((problem) => `${problem.code} ${describeProblem(problem).slice(2)}`);
}

/** Valid in four lines; what a test adds stands from line 5. */
const BASE = 'image = "a:1"\nhealth.tcp.port = 1\n[resources]\nmemory = "64MiB"\n';

describe("a misspelt key", () => {
  it.each([
    ["memroy = 1", 'unknown-key 5:1: resources.memroy: there is no such key (did you mean "memory"?)'],
    ["[restat]\npolicy = 1", 'unknown-key 5:2: restat: there is no such key (did you mean "restart"?)'],
    [
      "[update]\nhealthy-within = 1",
      'unknown-key 6:1: update.healthy-within: there is no such key (did you mean "healthy_within"?)',
    ],
    [
      '[[routes]]\nhost = "a.b"\nport = 1\nallows = []',
      'unknown-key 8:1: routes[0].allows: there is no such key (did you mean "allow"?)',
    ],
    [
      '[secrets]\non_rotate = { signl = "SIGHUP", signal = "SIGHUP" }',
      'unknown-key 6:15: secrets.on_rotate.signl: there is no such key (did you mean "signal"?)',
    ],
    ["[log]\nzzzzzzzz = 1", "unknown-key 6:1: log.zzzzzzzz: there is no such key (known here: driver, options)"],
    [
      "[update]\nconstructor = 1",
      "unknown-key 6:1: update.constructor: there is no such key (known here: backup_first, drain, healthy_within, order, rollback, settle)",
    ],
  ])("%j gets a suggestion", async (text, expected) => {
    expect(await explain(BASE + text)).toEqual([expected]);
  });

  it("in requires gets the one of the table form", async () => {
    expect(await explain(`requires = [{ on = "a", expire = "5m" }]\n${BASE}`)).toEqual([
      'unknown-key 1:25: requires[0].expire: there is no such key (did you mean "expires"?)',
    ]);
  });

  it("of JavaScript's own is refused where any key may stand", async () => {
    for (const table of ["env", "labels", "secrets.env", "ulimits", "log.options"]) {
      expect(await explain(`${BASE}[${table}]\n__proto__ = "x"`)).toEqual([
        `unknown-key 6:1: ${table}.__proto__: this name cannot be used (choose another name)`,
      ]);
      expect(await explain(`${BASE}[${table}]\n"__pro\\u0074o__" = "x"`)).toHaveLength(1);
    }
    expect(await explain(`${BASE}[env]\nconstructor = "x"\ntoString = "y"\nNOTE = "__proto__"`)).toEqual([]);
  });
});

describe("a wrong value", () => {
  it.each([
    ["memory = 5", 'type 4:1: resources.memory: this is a number, not a text (add a unit, for example "5MiB")'],
    ['memory = "64"', 'value 4:1: resources.memory: "64" is not a size (add a unit, for example "64MiB")'],
    ['memory = "2G"', 'value 4:1: resources.memory: "2G" is not a size (write "2GiB")'],
    ['memory = "1MiB"', 'value 4:1: resources.memory: Docker takes no cap below 6MiB (write "6MiB" or more)'],
    ['memory = ["64MiB"]', 'type 4:1: resources.memory: this is a list, not a text (write "…")'],
    ["memory = 1979-05-27", 'type 4:1: resources.memory: this is a date, not a text (write "…")'],
    ["memory = {}", 'type 4:1: resources.memory: this is a table, not a text (write "…")'],
  ])("of a size: %s", async (memory, expected) => {
    expect(await explain(BASE.replace('memory = "64MiB"', memory))).toEqual([expected]);
  });

  it.each([
    ['stop_timeout = "10"', '"10" is not a duration (add a unit, for example "10s")'],
    ['stop_timeout = "1h30m"', '"1h30m" is not a duration (write it in one unit: "90m")'],
    ['stop_timeout = "5 minutes"', '"5 minutes" is not a duration (write "5m")'],
    ['stop_timeout = "2 weeks"', '"2 weeks" is not a duration (write "14d")'],
    ['stop_timeout = "500 millis"', '"500 millis" is not a duration (write "500ms")'],
    ['stop_timeout = "99999999999d"', '"99999999999d" is not a duration (write at most 36525d)'],
    [
      'stop_timeout = "soon"',
      '"soon" is not a duration (write a whole number and a unit: "500ms", "10s", "5m", "6h" or "7d")',
    ],
  ])("of a duration: %s", async (line, expected) => {
    expect(await explain(`${line}\n${BASE}`)).toEqual([`value 1:1: stop_timeout: ${expected}`]);
  });

  it.each([
    ['state = "on"', 'value 1:1: state: "on" is not one of the values (write "running" or "stopped")'],
    ['privileged = "yes"', "type 1:1: privileged: this is a text, not true or false (write true, without quotes)"],
    ['requires = "db"', "type 1:1: requires: this is a text, not a list (write […])"],
    ["requires = [5]", "value 1:13: requires[0]: 5 does not fit here (write a text or a table)"],
    [
      'requires = ["a/b/c"]',
      'value 1:13: requires[0]: "a/b/c" names no service, node/service or endpoint (write "service", "node/service", "https://host/path" or "tcp://host:port")',
    ],
    ['ports = ["80"]', 'value 1:10: ports[0]: "80" is not a published port (the host port is missing: write "80:80")'],
    [
      'ports = ["80-90:80-90"]',
      'value 1:10: ports[0]: "80-90:80-90" is not a published port (port ranges are not supported: write each port on its own)',
    ],
    ["command = []", "range 1:1: command: a list of 0 is too little (write at least 1 entry)"],
    ["resources.cpus = 5000", "range 1:11: resources.cpus: 5000 is too much (write at most 1024)"],
    ["slo.availability = 100", "range 1:5: slo.availability: 100 is too much (write less than 100)"],
    ["slo.availability = nan", "type 1:5: slo.availability: this is nan, not a number (write 1)"],
    ["slo.availability = -inf", "type 1:5: slo.availability: this is inf, not a number (write 1)"],
    ["resources.pids = 1.5", "type 1:11: resources.pids: this is a number, not a whole number (write 1)"],
    ['user = ""', "range 1:1: user: a text of 0 is too little (write at least 1 character)"],
    [
      'schedule = "0 3 * *"',
      'value 1:1: schedule: "0 3 * *" is not a schedule: a cron has five fields: minute, hour, day, month, weekday (write "every 5h" or a UTC cron such as "0 3 * * *")',
    ],
    [
      'labels = { "orca.node" = "x" }',
      'value 1:12: labels."orca.node": labels that begin with orca. belong to the agent (choose another name)',
    ],
  ])("elsewhere: %s", async (line, expected) => {
    const rest = line.startsWith("resources.") ? `${BASE.slice(0, 34)}resources.memory = "64MiB"\n` : BASE;
    expect(await explain(`${line}\n${rest}`)).toEqual([expected]);
  });

  it("of a variable is not shown", async () => {
    expect(await explain(`${BASE}[env]\nDB_PASSWORD = 12345\nB = [1]`)).toEqual([
      "type 6:1: env.DB_PASSWORD: this is a number, not a text (put it in quotes)",
      'type 7:1: env.B: this is a list, not a text (write "…")',
    ]);
  });

  it("that is long is cut", async () => {
    const [problem = ""] = await explain(`${BASE}[update]\norder = "${"x".repeat(10_000)}"\n`);
    expect(problem.length).toBeLessThan(250);
    const [key = ""] = await explain(`${BASE}["${"k".repeat(10_000)}"]\n`);
    expect(key.length).toBeLessThan(900);
  });
});

describe("what is missing", () => {
  it("is the cap before all", async () => {
    const missing = "the memory cap is missing";
    expect(await explain('image = "a:1"\nhealth.tcp.port = 1\n')).toEqual([
      `no-memory-cap 1:1: resources: ${missing} (write [resources] with memory = "512MiB", or what it really needs)`,
    ]);
    expect(await explain('image = "a:1"\nhealth.tcp.port = 1\n[resources]\ncpus = 1\n')).toEqual([
      `no-memory-cap 3:2: resources.memory: ${missing} (write memory = "512MiB", or what it really needs)`,
    ]);
  });

  it("is not told where its key is misspelt in the same table: that is one mistake, and the remedy comes first", async () => {
    const text = 'image = "a:1"\nschedule = "@once"\n[resources]\nmemroy = "16MiB"\n';
    expect(await explain(text)).toEqual([
      'unknown-key 4:1: resources.memroy: there is no such key (did you mean "memory"?)',
    ]);
  });

  it("is told beside other faults, health checks and backups too", async () => {
    const text = 'imge = "a:1"\nports = ["80"]\n[resources]\nmemory = 5\n[[volumes]]\nname = "a"\ntarget = "/a"\n';
    expect((await explain(text)).map((line) => line.split(" ", 2).join(" "))).toEqual([
      "unknown-key 1:1:",
      "value 2:10:",
      "type 4:1:",
      "no-health 1:1:",
      "no-backup 5:3:",
    ]);
  });

  it("is not asked of a job, nor a backup where a reason is given", async () => {
    const job = 'image = "a:1"\nschedule = "@once"\nbackup = { none = "a cache" }\n[resources]\nmemory = "6MiB"\n';
    expect(await explain(`${job}[[volumes]]\nname = "a"\ntarget = "/a"\n`)).toEqual([]);
  });

  it("is what a table of fleet.toml needs", async () => {
    expect(await explain("", fleetSchema)).toEqual(["missing-key 1:1: nodes: nodes is missing (write nodes = { … })"]);
    expect(await explain('[nodes.a]\nenv = "x"\naddress = "10.0.0.1"', fleetSchema)).toEqual([
      'missing-key 1:8: nodes.a.memory: memory is missing (write memory = "…")',
    ]);
  });

  it("of a union by a key is that key", async () => {
    const fleet = '[nodes.a]\nenv = "x"\naddress = "10.0.0.1"\nmemory = "1GiB"\n[repositories.r]\n';
    expect(await explain(`${fleet}kind = "s4"`, fleetSchema)).toEqual([
      'value 6:1: repositories.r.kind: "s4" does not fit here (write "s3" or "directory")',
    ]);
    expect(await explain(fleet, fleetSchema)).toEqual([
      "missing-key 5:15: repositories.r.kind: kind is missing (write kind = …)",
    ]);
  });
});

describe("many problems", () => {
  it("are told up to 200, and then counted", async () => {
    const lines = Array.from({ length: 500 }, (_value, index) => `V${index} = 1`).join("\n");
    const problems = await explain(`${BASE}[env]\n${lines}`);
    expect(problems).toHaveLength(201);
    expect(problems.at(-1)).toBe("more 1:1: this file has 300 more problems or above (mend the ones above first)");
    const keys = Array.from({ length: 500 }, (_value, index) => `v${index} = 1`).join("\n");
    expect(await explain(`${BASE}[log]\n${keys}`)).toHaveLength(201);
  });
});

describe("text that is no TOML", () => {
  it.each([
    ["a = ", "syntax 1:5:"],
    ["[a]\n[a]", "syntax 2:2:"],
    ['a = "1"\na = "2"', "syntax 2:1:"],
    ["a = 9223372036854775807", "syntax 1:5:"],
    [`a = ${"[".repeat(2_000)}`, "depth 1:36:"],
  ])("%j has a place, and never its source", async (text, start) => {
    const [problem = ""] = await explain(text);
    expect(problem.slice(0, start.length)).toBe(start);
    expect(problem).not.toContain("\n");
  });
});

describe("places", () => {
  const text = [
    "a.b = 1",
    "[health]",
    'http = { port = 1, "pa th" = "x" }',
    "[[volumes]]",
    'name = "x"',
    "[[volumes]]",
    'list = [ "é", { k = 1 } ]',
    "[deep.er]",
    "x = 1",
    "[deep]",
    "y = 1",
  ];
  it.each([
    [["a"], 1, 1],
    [["a", "b"], 1, 3],
    [["health"], 2, 2],
    [["health", "http", "pa th"], 3, 20],
    [["health", "nope"], 2, 2],
    [["volumes"], 4, 3],
    [["volumes", 1], 6, 3],
    [["volumes", 1, "list", 1, "k"], 7, 17],
    [["volumes", 7], 4, 3],
    [["deep"], 10, 2],
    [["deep", "er", "x"], 9, 1],
    [["nope"], 1, 1],
    [[], 1, 1],
  ] as [(string | number)[], number, number][])("%j stands at %d:%d", (path, line, column) => {
    for (const ending of ["\n", "\r\n"]) expect(buildPlaces(text.join(ending))(path)).toEqual({ line, column });
  });
});

describe("a byte order mark", () => {
  it("is passed over, and moves no place", async () => {
    expect(await explain(`\uFEFF${BASE}`)).toEqual([]);
    expect(await explain(`\uFEFFimge = "b"\n${BASE}stat = "x"`)).toEqual([
      "unknown-key 6:1: resources.stat: there is no such key (known here: cpus, cpus_reserved, memory, pids)",
      'unknown-key 1:1: imge: there is no such key (did you mean "image"?)',
    ]);
  });
});

describe("suggestions", () => {
  it("are near, and hyphens count as underscores on both sides", () => {
    expect(suggestWord("postgres_app", ["postgres-app", "postgres-ap"])).toBe("postgres-app");
    expect(suggestWord("reqires", ["requires", "wants"])).toBe("requires");
    expect(suggestWord("x", ["requires", "y"])).toBe("y");
    expect(suggestWord("entirely", ["different"])).toBeUndefined();
  });

  it("come with every schema", async () => {
    expect(await explain("[imges]", policySchema)).toEqual([
      'unknown-key 1:2: imges: there is no such key (did you mean "images"?)',
    ]);
  });
});
