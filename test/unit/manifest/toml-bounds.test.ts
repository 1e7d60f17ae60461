// Texts that would spend a parser's stack or time are refused before one sees them, with their place; nothing is thrown.

import { array, assert, constantFrom, property } from "fast-check";
import { describe, expect, it } from "vitest";

import { compareToml } from "../../../agent/desired/repository/toml-diff.ts";
import { readFleetValues } from "../../../agent/sources/git/trust/git-scopes.ts";
import { fleetSchema } from "../../../shared/fleet/fleet.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";
import { readManifest } from "../../../shared/manifest/parse-manifest.ts";
import { parseToml } from "../../../shared/text/parse-toml.ts";
import { readToml } from "../../../shared/text/read-toml.ts";
import { findBoundsFault } from "../../../shared/text/toml-bounds.ts";

const MIB = 2 ** 20;

/** Each once broke the stack, or took seconds. */
const BOMBS: Readonly<Record<string, string>> = {
  "dotted keys and an escape": `"\\u0061"${".a".repeat(4_000)} = 1\n`,
  "dotted keys and a reserved name": `__proto__${".a".repeat(4_000)} = 1\n`,
  "dotted keys below a table": `image = "x"\n[env]\n"\\u0061"${".a".repeat(4_000)} = 1\n`,
  "a dotted header": `[a${".a".repeat(4_000)}]\n`,
  "a dotted key in an inline table": `x = { a${".a".repeat(4_000)} = 1 }\n`,
  "dotted keys behind a string with five quotes": `x = ["""a""""", { a${".a".repeat(4_000)} = 1 }]\n`,
  lists: `x = ${"[".repeat(4_000)}`,
  "a megabyte of one key": `a${".a".repeat(MIB / 2)} = 1\n`,
  "a megabyte of keys": "a.a.a.a = 1\n".repeat(MIB / 12),
  "a megabyte of numbers": `x = [${"1,".repeat(MIB / 2)}]`,
  "a megabyte of headers": "[[a]]\n".repeat(MIB / 6),
  "a megabyte of text": `"\\u0061" = "${"x".repeat(MIB)}"`,
};

describe("a text that no decoder of UTF-8 gives", () => {
  it.each(["\uD801", "x\uDD02", "\uDD02\uD801"])("is refused at its half of a character: %j", async (half) => {
    const text = `image = "app:1"\nentrypoint = ["\u{1F433}${half}"]\n[resources]\nmemory = "64MiB"\n[health]\nnone = "a test"\n`;
    const column = 18 + half.search(/\p{Surrogate}/u);
    const problem = { code: "syntax", line: 2, column, message: "this is no UTF-8: half of a character stands here" };
    expect(await parseToml(manifestSchema, text, "f.toml")).toMatchObject({ ok: false, problems: [problem] });
    expect(readManifest(text)).toBeUndefined();
  });
});

describe("a text that is too deep or holds too much", () => {
  it.each(Object.entries(BOMBS))("is a finding of its file and no exception: %s", async (_what, text) => {
    for (const schema of [manifestSchema, fleetSchema]) {
      const { user, system } = process.cpuUsage();
      const parsed = await parseToml<unknown>(schema, text, "vm-b/bomb.toml");
      const spent = process.cpuUsage({ user, system });
      const problems = parsed.ok ? [] : parsed.problems;
      expect(problems[0]).toMatchObject({ severity: "error", file: "vm-b/bomb.toml" });
      expect((spent.user + spent.system) / 1_000).toBeLessThan(1_500);
    }
    expect(readManifest(text)).toBeUndefined();
  });

  it("is told with the place where it leaves its bounds", async () => {
    const text = `image = "app:1"\nenv.${"a.".repeat(40)}b = 1\n`;
    const parsed = await parseToml(manifestSchema, text, "vm-b/bomb.toml");
    expect(parsed).toMatchObject({ ok: false, problems: [{ code: "depth", line: 2, column: 66 }] });
  });

  it("is compared as one that cannot be read, by who compares texts of commits", () => {
    const text = BOMBS["dotted keys below a table"];
    expect(compareToml(undefined, text)).toEqual(compareToml(undefined, ""));
    expect([...readFleetValues(text).values()]).toEqual([expect.stringMatching(/^unreadable /)]);
  });

  it("is told from one that is as deep as it may be", () => {
    const bounds = { depth: 4, values: 1_000 };
    const fits = [
      "a.b.c = 1",
      "[a]\nb.c = 1",
      "x = [[[1]]]",
      "x = { a = { b = 1 } }",
      '"a.b.c.d.e.f" = 1',
      "# a.b.c.d.e.f",
    ];
    const beyond = ["a.b.c.d.e = 1", "[a.b.c]\nd.e = 1", "x = [[[[1]]]]", "x = { a.b.c.d = 1 }", "[a.b.c.d.e]"];
    expect(fits.filter((text) => findBoundsFault(text, bounds) !== undefined)).toEqual([]);
    expect(beyond.filter((text) => findBoundsFault(text, bounds)?.bound !== "depth")).toEqual([]);
  });

  it("is never taken for a flat one, however its quotes and brackets are written", () => {
    const piece = constantFrom(
      "a",
      "b",
      ".",
      ".",
      ".",
      " = ",
      "1",
      "\n",
      "\n",
      "[",
      "]",
      "{",
      "}",
      ", ",
      '"',
      "'",
      '"""',
      "'''",
      "#",
      "\\",
      "\\n",
      "a.b.c",
      "a = 1\n",
      "[t]\n",
      "[[t]]\n",
      '"""x""""',
      "'''x'''''",
      "{ a = 1 }",
      "x = [",
      "x = { a = ",
      '"q" = 1\n',
    );
    let parsed = 0;
    const check = property(array(piece, { minLength: 1, maxLength: 14 }), (pieces) => {
      const bounds = { depth: 4, values: 10_000 };
      const text = pieces.join("");
      if (findBoundsFault(text, bounds) !== undefined) return;
      const read = readToml(text);
      if (!read.ok) return;
      parsed += 1;
      expect(measureDepth(read.raw), JSON.stringify(text)).toBeLessThanOrEqual(bounds.depth);
    });
    assert(check, { numRuns: process.env["ORCA_SLOW"] === "1" ? 3_000_000 : 60_000 });
    expect(parsed).toBeGreaterThan(100);
  });
});

function measureDepth(value: unknown): number {
  if (typeof value !== "object" || value === null || value instanceof Date) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(measureDepth));
}
