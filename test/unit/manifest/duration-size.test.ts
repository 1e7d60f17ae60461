// Durations and sizes: what is printed parses back to the same number, and printing is canonical.

import { assert, constantFrom, integer, maxSafeInteger, nat, oneof, property, string, tuple } from "fast-check";
import { describe, expect, it } from "vitest";

import { describeDuration, formatDuration, parseDuration, suggestDuration } from "../../../shared/text/duration.ts";
import { describeSize, formatSize, parseSize, suggestSize } from "../../../shared/text/size.ts";
import { durationText, sizeText } from "../../builders/data/manifest-arbitrary.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

const CENTURY_MS = 36_525 * 86_400_000;

describe("a duration", () => {
  it("parses back from what it is printed as", () => {
    assert(
      property(integer({ min: 0, max: CENTURY_MS }), (durationMs) => {
        expect(parseDuration(formatDuration(durationMs))).toBe(durationMs);
      }),
    );
  });

  it("is printed in one way: printing what was printed changes nothing", () => {
    assert(
      property(durationText, (text) => {
        const parsed = parseDuration(text);
        expect(parsed).toBeTypeOf("number");
        const canonical = formatDuration(parsed ?? 0);
        expect(formatDuration(parseDuration(canonical) ?? -1)).toBe(canonical);
        expect(canonical.length).toBeLessThanOrEqual(text.length);
      }),
    );
  });

  it.each([
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["5m", 300_000],
    ["6h", 21_600_000],
    ["7d", 604_800_000],
    ["36525d", CENTURY_MS],
  ])("%s is %d ms", (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs);
  });

  it.each(["", "10", "s", "1.5h", "-1s", "01s", "1 s", "1h30m", "36526d", "9999999999999d", "1S", "١s", "1s\n"])(
    "is not %j",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  it("has a suggestion for every text, in bounded time, and what it suggests parses", () => {
    const texts = oneof(
      string(),
      tuple(nat(), constantFrom(" min", "sec", "w", "h30m", "", "Days")).map((parts) => parts.join("")),
    );
    assert(
      property(texts, (text) => {
        const hint = suggestDuration(text);
        expect(hint.length).toBeGreaterThan(5);
        const written = /^(?:write|write it in one unit:) "([^"]*)"$/.exec(hint)?.[1];
        expect(parseDuration(written ?? "1s")).toBeTypeOf("number");
      }),
    );
    const started = readCpuMs();
    for (const unit of ["1", "1 ", "1h", " "]) suggestDuration(`${unit.repeat(2 ** 20 / unit.length)}x`);
    expect(readCpuMs() - started).toBeLessThan(200);
  });

  it("is described in at most two units", () => {
    expect([0, 850, 12_000, 200_000, 18_720_000, 273_600_000].map(describeDuration)).toEqual([
      "0ms",
      "850ms",
      "12s",
      "3m 20s",
      "5h 12m",
      "3d 4h",
    ]);
  });
});

describe("a size", () => {
  it("parses back from what it is printed as", () => {
    assert(
      property(
        oneof(
          maxSafeInteger().map(Math.abs),
          nat(),
          nat().map((count) => count * 1024),
        ),
        (sizeBytes) => {
          expect(parseSize(formatSize(sizeBytes))).toBe(sizeBytes);
        },
      ),
    );
  });

  it("is printed in one way: printing what was printed changes nothing", () => {
    assert(
      property(sizeText, (text) => {
        const canonical = formatSize(parseSize(text) ?? -1);
        expect(formatSize(parseSize(canonical) ?? -2)).toBe(canonical);
      }),
    );
  });

  it("with decimals comes to whole bytes exactly, or is refused", () => {
    const units = { B: 1n, kB: 1_000n, KiB: 1_024n, MB: 10n ** 6n, MiB: 2n ** 20n, GB: 10n ** 9n, GiB: 2n ** 30n };
    const unit = constantFrom(...(Object.keys(units) as (keyof typeof units)[]));
    assert(
      property(nat({ max: 99_999 }), nat({ max: 999 }), unit, (whole, thousandths, word) => {
        const exact = (BigInt(whole) * 1_000n + BigInt(thousandths)) * units[word];
        const parsed = parseSize(`${whole}.${String(thousandths).padStart(3, "0")}${word}`);
        expect(parsed).toBe(exact % 1_000n === 0n ? Number(exact / 1_000n) : undefined);
      }),
    );
  });

  it.each([
    ["0B", 0],
    ["512MiB", 2 ** 29],
    ["2GiB", 2 ** 31],
    ["1GB", 1e9],
    ["1.5GiB", 1.5 * 2 ** 30],
    ["0.1GB", 1e8],
    ["8191TiB", 8191 * 2 ** 40],
  ])("%s is %d bytes", (text, sizeBytes) => {
    expect(parseSize(text)).toBe(sizeBytes);
  });

  it.each(["", "5", "2G", "0.0001kB", "1.0001GiB", "8192TiB", "-1B", "1e3B", "1 GiB", "1gib", "0.0005kB"])(
    "is not %j",
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  it("has a suggestion for every text, and what it suggests parses", () => {
    const texts = oneof(
      string(),
      tuple(nat(), constantFrom("G", "g", "Mb", "kb", "", " GiB", "MIB")).map((parts) => parts.join("")),
    );
    assert(
      property(texts, (text) => {
        const hint = suggestSize(text);
        expect(hint.length).toBeGreaterThan(5);
        const written = /^write "([^"]*)"$/.exec(hint)?.[1];
        expect(parseSize(written ?? "1B")).toBeTypeOf("number");
      }),
    );
  });

  it("is described with three digits", () => {
    expect([912, 2 ** 29, 1.864 * 2 ** 30, 1000 * 2 ** 20].map(describeSize)).toEqual([
      "912 B",
      "512 MiB",
      "1.86 GiB",
      "1000 MiB",
    ]);
  });
});
