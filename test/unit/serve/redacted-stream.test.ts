// Values taken out of a stream: found wherever it is cut, never held longer than need be, each of two streams by itself.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { DockerReader, FollowOptions } from "../../../agent/docker/reader.ts";
import { redactExec, redactReader } from "../../../agent/secrets/redacted-engine.ts";
import { RedactedStream, Redactor } from "../../../shared/secret/redactor.ts";
import { listForms } from "../../builders/data/secret-forms.ts";
import { FakeClock } from "../../fakes/fake-clock.ts";

const VALUE = "canary-Ü-9f&7/long value";
const PEM = `-----BEGIN KEY-----\n${"canaryMC4CAQAwBQYDK2VwBCIEIJDYvh6".repeat(4)}\nshort\n-----END KEY-----\n`;
const NESTED = "canary-Ü";
const VALUES = [VALUE, PEM, NESTED, "canary-12345"];

function learn(values: readonly string[] = VALUES): Redactor {
  const redactor = new Redactor();
  redactor.learn(values);
  return redactor;
}

/** Cuts bytes into pieces of these lengths, again and again. */
function cut(data: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, index = 0; at < data.length; index += 1) {
    const length = lengths[index % lengths.length] ?? 1;
    pieces.push(data.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

function stream(redactor: Redactor, pieces: readonly Buffer[]): string {
  const redacted = new RedactedStream(redactor);
  return Buffer.concat([...pieces.map((piece) => redacted.push(piece)), redacted.end()]).toString("latin1");
}

/** Text with values in every form in it, their beginnings and near misses among it, and bytes that are no text. */
const forms = [...VALUES.flatMap(listForms), Buffer.from(VALUE).toString("base64url")];
const piece = fc.oneof(
  fc.constantFrom(...forms).map((form) => Buffer.from(form)),
  fc.tuple(fc.constantFrom(...forms), fc.nat()).map(([form, at]) => Buffer.from(form).subarray(0, at % form.length)),
  fc.string({ unit: "grapheme", maxLength: 12 }).map((text) => Buffer.from(text)),
  fc.constantFrom("\n", " ", "canary", "cana").map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
);
const output = fc.array(piece, { maxLength: 12 }).map((pieces) => Buffer.concat(pieces));
const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 });

describe("cut anywhere", () => {
  test("the same comes out as of the whole, and no form of a value", () => {
    const redactor = learn();
    fc.assert(
      fc.property(output, lengths, (data, cuts) => {
        const whole = stream(redactor, [data]);
        expect(stream(redactor, cut(data, cuts))).toBe(whole);
        expect(stream(redactor, cut(data, [1]))).toBe(whole);
        for (const form of forms) expect(whole).not.toContain(Buffer.from(form).toString("latin1"));
      }),
      { numRuns: 1_000 },
    );
  });

  test("what holds no value comes through byte by byte as it is", () => {
    const redactor = learn();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), lengths, (bytes, cuts) => {
        const data = Buffer.from(bytes);
        expect(stream(redactor, cut(data, cuts))).toBe(data.toString("latin1"));
      }),
    );
  });

  test("with pauses anywhere no value is whole, and whatever is no value is complete", () => {
    const redactor = learn(["canary-12345-of-the-app"]);
    const part = fc.constantFrom("canary-12345-of-the-app", "can", "canary-1", "x", "\n", " ");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), lengths, fc.infiniteStream(fc.boolean()), (parts, cuts, pauses) => {
        const redacted = new RedactedStream(redactor);
        const shown: Buffer[] = [];
        const data = Buffer.from(parts.join(""));
        for (const bytes of cut(data, cuts)) {
          shown.push(redacted.push(bytes));
          if (pauses.next().value === true) shown.push(redacted.rest());
        }
        shown.push(redacted.end());
        const text = Buffer.concat(shown).toString();
        // Of a value at most five characters were shown before it was known for one.
        expect(text).not.toMatch(/canary-12345-o/);
        if (!data.toString().includes("canary")) expect(text).toBe(data.toString());
      }),
    );
  });
});

describe("what is kept back", () => {
  test("is only what could be the beginning of a value", () => {
    const redacted = new RedactedStream(learn());
    expect(redacted.push(Buffer.from("a line\nand can")).toString()).toBe("a line\nand ");
    expect(redacted.push(Buffer.from("dles\n")).toString()).toBe("candles\n");
    expect(redacted.isHolding).toBe(false);
  });

  test("a whole line never waits: after a pause it is shown, also where a longer value begins like it", () => {
    const redacted = new RedactedStream(learn());
    expect(redacted.push(Buffer.from("-----BEGIN KEY-----\n")).toString()).toBe("");
    expect(redacted.rest().toString()).toBe("[REDACTED]\n");
    expect(redacted.isHolding).toBe(false);
    expect(redacted.push(Buffer.from(PEM.slice(20))).toString()).not.toContain("canary");
  });

  test("of an unfinished line a few characters are shown after a pause; a value that they begin is taken out all the same", () => {
    const redacted = new RedactedStream(learn());
    expect(redacted.push(Buffer.from("password: canar")).toString()).toBe("password: ");
    expect(redacted.rest().toString()).toBe("canar");
    expect(redacted.isHolding).toBe(false);
    expect(redacted.push(Buffer.from("y-12")).toString()).toBe("");
    // More than that would tell something: it waits for what comes.
    expect(redacted.rest().toString()).toBe("");
    expect(redacted.push(Buffer.from("345 ok\n")).toString()).toBe("[REDACTED] ok\n");
  });

  test("and what turns out to be none is completed", () => {
    const redacted = new RedactedStream(learn());
    redacted.push(Buffer.from("a canar"));
    expect(redacted.rest().toString()).toBe("canar");
    expect(redacted.push(Buffer.from("y-bird!")).toString()).toBe("y-bird!");
  });

  test("the greater part of a value at the end is taken out", () => {
    for (const end of ["canary-Ü-9f&7/long", "canary-", "Y2FuYXJ5LTEyMzQ"])
      expect(stream(learn(), [Buffer.from(`x ${end}`)])).toBe("x [REDACTED]");
    expect(stream(learn(), [Buffer.from("x can")])).toBe("x can");
  });

  test("is no more than the longest value, however long the stream is", () => {
    const value = "canary".repeat(5_000);
    const redacted = new RedactedStream(learn([value]));
    const chunk = Buffer.from("canary".repeat(1_000));
    let shown = 0;
    for (let count = 0; count < 200; count += 1) shown += redacted.push(chunk).length;
    shown += redacted.end().length;
    // Each whole value is one word; what is left over is the beginning of one more.
    expect(shown).toBe("[REDACTED]".length * 40);
  });
});

describe("what the engine says", () => {
  const clock = new FakeClock();

  function follow(play: (options: FollowOptions) => Promise<void>): { seen: string[]; ended: Promise<void> } {
    const seen: string[] = [];
    const reader = redactReader(
      { followLogs: (_id: string, options: FollowOptions) => play(options) } as DockerReader,
      learn(),
      clock,
    );
    const ended = reader.followLogs("id", {
      tail: 10,
      follow: true,
      signal: new AbortController().signal,
      onChunk: (chunk, name) => seen.push(`${name} ${chunk.toString()}`),
    });
    return { seen, ended };
  }

  test("each stream is by itself, and the end gives all", async () => {
    const { seen, ended } = follow(async ({ onChunk }) => {
      onChunk(Buffer.from("out canary-1"), "stdout");
      onChunk(Buffer.from("err canary-1"), "stderr");
      onChunk(Buffer.from("2345 end!"), "stdout");
      onChunk(Buffer.from("99 end, can"), "stderr");
    });
    await ended;
    expect(seen).toEqual([
      "stdout out ",
      "stderr err ",
      "stdout [REDACTED] end!",
      "stderr canary-199 end, ",
      "stderr can",
    ]);
  });

  test("a pause shows what is left of an unfinished line, and no timer is left behind", async () => {
    let finish = (): void => undefined;
    const { seen, ended } = follow(async ({ onChunk }) => {
      onChunk(Buffer.from("name: can"), "stdout");
      await new Promise<void>((resolve) => (finish = resolve));
      onChunk(Buffer.from("y"), "stdout");
    });
    await clock.advance(150);
    expect(seen).toEqual(["stdout name: "]);
    await clock.advance(100);
    expect(seen).toEqual(["stdout name: ", "stdout can"]);
    finish();
    await ended;
    expect(seen).toEqual(["stdout name: ", "stdout can", "stdout y"]);
  });

  test("an engine that fails in the middle is said as before", async () => {
    const { ended } = follow(() => Promise.reject(new Error("gone")));
    await expect(ended).rejects.toThrow("gone");
  });

  test("a line or an output that was cut in the middle of a value does not end with the greater part of it", async () => {
    const line = `${"x".repeat(990)}canary-123`;
    const reader = redactReader({ tailLogs: async () => [line, "canary-1"] } as never, learn(), clock);
    expect(await reader.tailLogs("id", 2)).toEqual([`${"x".repeat(990)}[REDACTED]`, "canary-1"]);
    const text = `${"x".repeat(1_992)}canary-1`;
    const exec = redactExec({ run: async () => ({ exitCode: 0, output: text }) } as never, learn());
    expect((await exec.run("id", ["a"], 1)).output).toBe(`${"x".repeat(1_992)}[REDACTED]`);
  });
});

test("values that change while a stream is open count from then on", () => {
  const redactor = learn(["first-value"]);
  const redacted = new RedactedStream(redactor);
  expect(redacted.push(Buffer.from("second-value first-value\n")).toString()).toBe("second-value [REDACTED]\n");
  redactor.learn(["second-value"]);
  expect(redacted.push(Buffer.from("second-value first-value\n")).toString()).toBe("[REDACTED] first-value\n");
});

test("base64 that a program has broken into lines is found wherever a line ends, also inside a longer text", () => {
  const value = "canary-77c0ffee-token-of-the-app";
  const redactor = learn([value]);
  for (let before = 0; before < 90; before += 1) {
    const encoded = Buffer.from(`${"x".repeat(before)}${value}=after`).toString("base64");
    for (const width of [64, 76]) {
      const text = redactor.redact((encoded.match(new RegExp(`.{1,${width}}`, "g")) ?? []).join("\n"));
      const left = Buffer.from(text.replaceAll("[REDACTED]", "").replaceAll("\n", ""), "base64").toString("latin1");
      expect(text).toContain("[REDACTED]");
      for (const part of ["token", "c0ffee", "the-app"]) expect(left).not.toContain(part);
    }
  }
});

test("base64 of a long value in lines is found whole", () => {
  const value = "canary".repeat(30);
  for (const width of [64, 76]) {
    const lines =
      Buffer.from(value)
        .toString("base64")
        .match(new RegExp(`.{1,${width}}`, "g")) ?? [];
    const text = learn([value]).redact(lines.join("\n"));
    expect(text.replaceAll(/\[REDACTED\]=*/g, "").trim()).toBe("");
  }
});
