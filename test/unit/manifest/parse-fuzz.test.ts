// Whatever stands in a manifest: an answer in bounded time, with a place for every problem, and never a crash. 2,000 texts
// here, 100,000 with ORCA_SLOW=1. A failing run prints its seed: `assert(…, { seed, path })` plays it again.

import {
  type Arbitrary,
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  double,
  infiniteStream,
  integer,
  nat,
  oneof,
  record,
  string,
  tuple,
  uint8Array,
} from "fast-check";
import { describe, expect, it } from "vitest";

import { checkRepository } from "../../../agent/desired/checks/all.ts";
import { viewRepository } from "../../../agent/desired/checks/view/repository-view.ts";
import { compileService } from "../../../agent/desired/build/compile.ts";
import { type Fleet, fleetSchema } from "../../../shared/fleet/fleet.ts";
import { type Manifest, manifestSchema } from "../../../shared/manifest/manifest.ts";
import { parseManifest } from "../../../shared/manifest/parse-manifest.ts";
import { locateFindings, type Parsed, parseToml } from "../../../shared/text/parse-toml.ts";
import { buildStrictPolicy, policySchema } from "../../../shared/policy/policy.ts";
import { describeProblem, type Problem } from "../../../shared/text/problem.ts";
import { templates } from "../../../shared/text/template.ts";
import { manifestInput, writeToml } from "../../builders/data/manifest-arbitrary.ts";
import { FLEET } from "../../builders/git/repository.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

const SLOW = process.env["ORCA_SLOW"] === "1";
/** Three kinds: valid, mutated and hostile. */
const RUNS = { numRuns: Math.ceil((SLOW ? 100_000 : 2_000) / 3) };
const TIMEOUT_MS = SLOW ? 3_600_000 : 240_000;

/** What one text may take of a core: most take less than a millisecond. */
const LONGEST_MS = 3_000;

const fleet: Fleet = await parseToml(fleetSchema, FLEET, "fleet.toml").then((parsed) => {
  if (!parsed.ok) throw new Error("the fleet of the builders is valid");
  return parsed.value;
});

async function parseTimed<T>(schema: Parameters<typeof parseToml<T>>[0], text: string): Promise<Parsed<T>> {
  const startedMs = readCpuMs();
  const parsed = await parseToml(schema, text, "vm-a/fuzz.toml");
  expect(readCpuMs() - startedMs).toBeLessThan(LONGEST_MS);
  const problems = parsed.ok ? [] : parsed.problems;
  expect(parsed.ok || problems.length > 0).toBe(true);
  checkPlaces(problems, text);
  return parsed;
}

/** One assertion for all of them: a hundred thousand runs would spend their time in expect. */
function checkPlaces(problems: readonly Problem[], text: string): void {
  const lines = text.split("\n").length;
  const wrong = problems.filter(
    ({ line, column, message, code, file }) =>
      !(Number.isInteger(line) && line >= 1 && line <= lines) ||
      !(Number.isInteger(column) && column >= 1) ||
      message.trim() === "" ||
      code === "" ||
      file === "",
  );
  expect(wrong).toEqual([]);
  expect(problems.map(describeProblem).filter((line) => line.includes("\n") || line.length > 2_000)).toEqual([]);
}

/** Runs everything that comes after parsing: checks over a repository that holds nothing else, and compiling. */
async function useManifest(manifest: Manifest, text: string): Promise<string | undefined> {
  const files = new Map(
    manifest.files.map(({ source }) => [source, { path: source, kind: "file" as const, sizeBytes: 9 }]),
  );
  const content = new TextEncoder().encode("{{ node }}");
  const view = viewRepository({
    fleet: { file: "fleet.toml", text: FLEET, fleet, problems: [] },
    nodes: ["vm-a"],
    manifests: [{ node: "vm-a", service: "fuzz", file: "vm-a/fuzz.toml", text, manifest, problems: [] }],
    strays: [],
    files: { list: () => files, read: () => content, describe: (_node, path) => path },
    templates,
  });
  const startedMs = readCpuMs();
  const findings = checkRepository(view).filter(({ file }) => file === "vm-a/fuzz.toml");
  expect(readCpuMs() - startedMs).toBeLessThan(LONGEST_MS);
  checkPlaces(await locateFindings(findings, text, "vm-a/fuzz.toml"), text);
  const compiled = compileService("fuzz", manifest, {
    secrets: { versions: {}, blocked: undefined, notes: [] },
    settings: {
      node: "vm-a",
      policy: buildStrictPolicy(),
      standIns: undefined,
      address: undefined,
      ports: "as-written",
      budget: "warn",
      hostNotes: [],
      assumeDataMounted: true,
      frontImage: undefined,
      agentPorts: [],
      templates,
    },
    fleet,
    services: [{ node: "vm-a", service: "fuzz", manifest }],
    readFile: () => content,
    revision: "r",
  });
  return compiled.ok ? compiled.service.specHash : undefined;
}

type Writer = readonly [order: (keys: string[]) => string[], inline: () => boolean];

/** A way of writing: an order of keys and a choice of tables, both drawn from a stream of numbers. */
const writer: Arbitrary<Writer> = infiniteStream(nat({ max: 1_000_000 })).map((numbers) => {
  const draw = (): number => numbers.next().value;
  const order = (keys: string[]): string[] => {
    const left = [...keys];
    return keys.map(() => left.splice(draw() % left.length, 1)[0] ?? "");
  };
  return [order, () => draw() % 2 === 0];
});

describe("valid manifests", () => {
  it(
    "parse and compile, and to the same spec hash in any order of keys",
    async () => {
      await assert(
        asyncProperty(manifestInput, writer, writer, async (input, first, second) => {
          const hashes: (string | undefined)[] = [];
          for (const [order, inline] of [first, second]) {
            const text = writeToml(input, order, inline);
            const parsed = await parseTimed(manifestSchema, text);
            expect(parsed.ok ? [] : parsed.problems.map(describeProblem)).toEqual([]);
            hashes.push(parsed.ok ? await useManifest(parsed.value, text) : undefined);
          }
          expect(hashes[0]).toMatch(/^v1:[0-9a-f]{64}$/);
          expect(hashes[1]).toBe(hashes[0]);
        }),
        RUNS,
      );
    },
    TIMEOUT_MS,
  );
});

/** Pieces that break parsers, and pieces that are nearly right. */
const piece: Arbitrary<string> = oneof(
  constantFrom(
    "\0",
    "\uFEFF",
    "\r",
    "\r\n",
    "\t",
    "\u2028",
    "\uD800",
    "\u202E",
    "'''",
    '"""',
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "#",
    "\\u0000",
    "__proto__",
    "constructor",
    "__proto__ = 1\n",
    "[__proto__]\n",
    '"__pro\\u0074o__" = { a = 1 }\n',
    "toString.valueOf = 1\n",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "nan",
    "-inf",
    "1e999",
    "9223372036854775808",
    "0x7fffffffffffffff",
    "-0",
    "1_0",
    "[resources]\n",
    "[[volumes]]\n",
    "requires = []\n",
    'memory = "1GiB"\n',
    "ports = [1, [2, [3]]]\n",
    "env = { A = [] }\n",
    "schedule = '0 0 30 2 *'\n",
    "health.http.port = 1e3\n",
    "a.b.c.d = 1\n",
    "\u00E9 = 1\n",
    '"\u00E9\u{1F433}" = 1\n',
  ),
  string({ maxLength: 12 }),
  string({ maxLength: 6, unit: "binary" }),
);

interface Mutation {
  kind: "insert" | "delete" | "repeat" | "swap";
  at: number;
  length: number;
  piece: string;
}

const mutation: Arbitrary<Mutation> = record({
  kind: constantFrom("insert", "delete", "repeat", "swap"),
  at: double({ min: 0, max: 1, noNaN: true }),
  length: integer({ min: 1, max: 40 }),
  piece,
});

function mutate(text: string, mutations: readonly Mutation[]): string {
  return mutations.reduce((current, { kind, at, length, piece: inserted }) => {
    const start = Math.floor(at * current.length);
    const [before, middle, after] = [
      current.slice(0, start),
      current.slice(start, start + length),
      current.slice(start + length),
    ];
    if (kind === "insert") return before + inserted + middle + after;
    if (kind === "delete") return before + after;
    return kind === "repeat"
      ? before + middle + middle + after
      : before + after.slice(0, length) + middle + after.slice(length);
  }, text);
}

/** Values of every type, in TOML: most of them are wrong at most keys. */
const rawValue = constantFrom(
  "1",
  "-1",
  "0.5",
  "nan",
  "9007199254740991",
  "true",
  '""',
  '"x"',
  '"\\u0000"',
  '"10s"',
  "1979-05-27",
  "07:32:00",
  "[]",
  "[[]]",
  '[1, "a", {}]',
  "{}",
  "{ a = 1 }",
  "{ constructor = {} }",
  '["\uFEFF"]',
  "[{ on = 5 }]",
  "{ memory = [] }",
);

/** A manifest with another value at one of its keys. */
const confused = tuple(manifestInput, writer, rawValue).map(([input, [order, inline], value]) => {
  const [key = "image"] = order(Object.keys(input));
  const { [key]: _dropped, ...rest } = input;
  return `${key} = ${value}\n${writeToml(rest, order, inline)}`;
});

const mutated = tuple(manifestInput, writer, array(mutation, { minLength: 1, maxLength: 4 })).map(
  ([input, [order, inline], mutations]) => mutate(writeToml(input, order, inline), mutations),
);

describe("mutated manifests", () => {
  it(
    "parse, or say where they do not",
    async () => {
      await assert(
        asyncProperty(oneof(mutated, confused), async (text) => {
          const parsed = await parseTimed(manifestSchema, text);
          if (parsed.ok) await useManifest(parsed.value, text);
        }),
        RUNS,
      );
    },
    TIMEOUT_MS,
  );
});

const BASE = 'image = "app:1"\nhealth = { tcp = { port = 1 } }\nresources = { memory = "64MiB" }\n';

/** Large in one direction each; most of a megabyte is the agent's limit for a file, and a tenth of it shows what grows. */
const large: Arbitrary<string> = tuple(
  constantFrom<(count: number) => string>(
    (count) => `x = ${"[".repeat(count)}${"]".repeat(count)}`,
    (count) => `requires = ${"[".repeat(count)}`,
    (count) => `x = ${"{ a = ".repeat(count)}1${" }".repeat(count)}`,
    (count) => `${"a.".repeat(count)}b = 1`,
    (count) => `[${"a.".repeat(count)}b]`,
    (count) => `requires = [${'"db", '.repeat(count)}]`,
    (count) => `ports = [${"5, ".repeat(count)}]`,
    (count) => `env = { ${Array.from({ length: count }, (_value, index) => `V${index} = ${index}`).join(", ")} }`,
    (count) => `labels = { ${Array.from({ length: count }, (_value, index) => `"orca.${index}" = "x"`).join(", ")} }`,
    (count) => Array.from({ length: count }, (_value, index) => `key${index} = 1`).join("\n"),
    (count) => `"${"k".repeat(count * 10)}" = 1`,
    (count) => `stop_timeout = "${"1".repeat(count * 10)}"`,
    (count) => `stop_timeout = "${"1 ".repeat(count * 5)}"`,
    (count) => `shm_size = "${"1".repeat(count * 10)}k"`,
    (count) => `schedule = "${"0,".repeat(count)}0 * * * *"`,
    (count) => `hostname = "${"a".repeat(count * 10)}!"`,
    (count) => `env = { A = "${"eyJ-".repeat(count)}" }`,
    (count) => `env = { A = "${"://u:".repeat(count)}" }`,
    (count) => `env = { A = "${"aB1".repeat(count)}" }`,
    (count) => `command = ["sh", "-c", "${"--token=$x ".repeat(count)}"]`,
    (count) => `command = [${'"--password", '.repeat(count)}"x"]`,
    (count) =>
      `volumes = [${`{ name = "v", target = "${"/a".repeat(20)}" },`.repeat(Math.ceil(count / 20))}]\nbackup = { none = "nothing" }`,
    (count) => `files = [${'{ source = "f", target = "/a" },'.repeat(Math.ceil(count / 10))}]`,
    (count) => `routes = [${'{ host = "a.b", port = 1 },'.repeat(Math.ceil(count / 10))}]`,
    (count) => `image = "${"a/".repeat(count)}a:1"`,
    (count) => `image = "${"a-".repeat(count)}_"`,
    (count) => `tmpfs = ["${"/a".repeat(count)}"]`,
    (count) => `sysctls = { "${"a.".repeat(count)}" = "1" }`,
    (count) => `# ${"ghp_".repeat(count)}\n${"#\n".repeat(count)}`,
    (count) => `x = """${"\\\n".repeat(count)}"""`,
  ),
  oneof(
    { weight: 9, arbitrary: integer({ min: 1, max: 200 }) },
    { weight: 1, arbitrary: integer({ min: 1_000, max: 10_000 }) },
  ),
).map(([make, count]) => make(count));

const hostile: Arbitrary<string> = oneof(
  array(piece, { maxLength: 30 }).map((pieces) => pieces.join("")),
  array(piece, { maxLength: 10 }).map((pieces) => BASE + pieces.join("")),
  large,
  large.map((text) => (text.startsWith("image") ? text + BASE.slice(16) : `${text}\n${BASE}`)),
  large.map((text) => `${BASE}${text}\n`.replaceAll("\n", "\r\n")),
  uint8Array({ maxLength: 300 }).map((bytes) => new TextDecoder().decode(bytes)),
  tuple(constant(BASE), uint8Array({ maxLength: 60 })).map(
    ([text, bytes]) => text + new TextDecoder("latin1").decode(bytes),
  ),
);

describe("hostile texts", () => {
  it(
    "are refused with a place by every schema, and crash nothing",
    async () => {
      await assert(
        asyncProperty(hostile, nat({ max: 9 }), async (text, choice) => {
          if (choice === 0) await parseTimed(fleetSchema, text);
          else if (choice === 1) await parseTimed(policySchema, text);
          else {
            const parsed = await parseTimed(manifestSchema, text);
            if (parsed.ok) await useManifest(parsed.value, text);
          }
        }),
        RUNS,
      );
    },
    TIMEOUT_MS,
  );

  it("of the largest size that the agent reads are answered in bounded time", async () => {
    const count = SLOW ? 90_000 : 18_000;
    const texts = [
      `env = { ${Array.from({ length: count / 2 }, (_value, index) => `V${index} = 1`).join(", ")} }\n${BASE}`,
      `${BASE}${Array.from({ length: count / 2 }, (_value, index) => `key${index} = 1`).join("\n")}`,
      `env = { ${Array.from({ length: 2_400 }, (_value, index) => `V${index} = "x"`).join(", ")} }\n${BASE}`,
      `requires = [${'"db", '.repeat(count)}]\n${BASE}`,
      `a${".a".repeat(count * 5)} = 1\n${BASE}`,
      `env = { A = "${"x".repeat(130_000)}" }\n${BASE}`,
      `requires = [${`[${"0,".repeat(400)}],`.repeat(count / 900)}]\n${BASE}`,
      `x = ${"[".repeat(990)}${"1,".repeat(count)}${"]".repeat(990)}\n${BASE}`,
      "[[volumes]]\nname = 'v'\ntarget = '/a'\n".repeat(count / 6),
    ];
    const valid: boolean[] = [];
    for (const text of texts) {
      const parsed = await parseManifest(text, "vm-a/fuzz.toml");
      if (parsed.ok) await useManifest(parsed.value, text);
      await parseTimed(manifestSchema, text);
      valid.push(parsed.ok);
    }
    expect(valid).toEqual([false, false, true, false, false, true, false, false, false]);
  });
});
