// Sealed values, the host's key, and taking secrets out of text: what must never open, and what must never show.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { HostKey, readHostKey } from "../../../agent/secrets/keeper/host-key.ts";
import { type KeptSecret, SealedFile } from "../../../agent/secrets/keeper/seal.ts";
import { parseBootstrap } from "../../../shared/secret/bootstrap.ts";
import { Redactor } from "../../../shared/secret/redactor.ts";
import { Secret } from "../../../shared/secret/secret.ts";
import { readCpuMs } from "../../builders/data/cpu-time.ts";

const directory = mkdtempSync(join(tmpdir(), "orca-kept-"));
const KEY = new HostKey(Buffer.alloc(32, 1), "a test");
const PLACE = { node: "vm1", provider: "file:/etc/orca/secrets.age" };
let files = 0;

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function newFile(): string {
  files += 1;
  return join(directory, `sealed-${files}`);
}

const ENTRY: KeptSecret = { path: "/prod/A", version: "v1", readMs: 5, value: new Secret("canary value") };

describe("sealed values", () => {
  test("come back as they were, on the same node with the same key", async () => {
    const file = newFile();
    await new SealedFile(file, KEY, PLACE).save([ENTRY]);
    expect(readFileSync(file, "latin1")).not.toContain("canary");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { kept, lost } = await new SealedFile(file, KEY, PLACE).load();
    expect(lost).toBe(0);
    expect(kept.map((entry) => ({ ...entry, value: entry.value.expose() }))).toEqual([
      { ...ENTRY, value: "canary value" },
    ]);
  });

  test.each([
    ["another key", new HostKey(Buffer.alloc(32, 2), "x"), PLACE],
    ["another node", KEY, { ...PLACE, node: "vm2" }],
    ["another provider", KEY, { ...PLACE, provider: "infisical:https://x" }],
  ])("do not open with %s", async (_name, key, place) => {
    const file = newFile();
    await new SealedFile(file, KEY, PLACE).save([ENTRY]);
    expect(await new SealedFile(file, key, place).load()).toEqual({ kept: [], lost: 1 });
  });

  test.each(["path", "version", "readMs"] as const)("do not open under another %s", async (field) => {
    const file = newFile();
    await new SealedFile(file, KEY, PLACE).save([ENTRY]);
    const content = JSON.parse(readFileSync(file, "utf8")) as { entries: Record<string, unknown>[] };
    Object.assign(content.entries[0] ?? {}, { [field]: field === "readMs" ? 6 : "/prod/B" });
    writeFileSync(file, JSON.stringify(content));
    expect(await new SealedFile(file, KEY, PLACE).load()).toEqual({ kept: [], lost: 1 });
  });

  test("any damage loses values and never gives wrong ones", async () => {
    const file = newFile();
    await new SealedFile(file, KEY, PLACE).save([ENTRY, { ...ENTRY, path: "/prod/B" }]);
    const whole = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
        const damaged = Buffer.from(whole);
        damaged[at] = (damaged[at] ?? 0) ^ bits;
        writeFileSync(file, damaged);
        const { kept } = await new SealedFile(file, KEY, PLACE).load();
        for (const entry of kept) expect(entry.value.expose()).toBe("canary value");
      }),
    );
  });
});

describe("the host's key", () => {
  test("is made once where there is none, for its user alone", () => {
    const stateDir = mkdtempSync(join(directory, "state-"));
    const first = readHostKey(undefined, stateDir, undefined);
    expect(readHostKey(undefined, stateDir, undefined).derive("x")).toEqual(first.derive("x"));
    expect(statSync(join(stateDir, "host.key")).mode & 0o777).toBe(0o600);
    expect(first.derive("x")).not.toEqual(first.derive("y"));
    expect(inspect(first, { depth: 9 })).not.toContain("bytes");
  });

  test("is systemd's credential where there is one, and a named file before both", () => {
    const stateDir = mkdtempSync(join(directory, "state-"));
    writeFileSync(join(stateDir, "orca-host-key"), Buffer.alloc(32, 3));
    writeFileSync(join(stateDir, "named"), Buffer.alloc(32, 4), { mode: 0o600 });
    expect(readHostKey(undefined, stateDir, stateDir).location).toContain("credential");
    expect(readHostKey(join(stateDir, "named"), stateDir, stateDir).location).toContain("named");
  });

  test("that is too short, readable by others or missing is refused with what to do", () => {
    const stateDir = mkdtempSync(join(directory, "state-"));
    const file = join(stateDir, "named");
    expect(() => readHostKey(file, stateDir, undefined)).toThrow(/does not exist: make it with/);
    writeFileSync(file, "short", { mode: 0o600 });
    expect(() => readHostKey(file, stateDir, undefined)).toThrow(/less than 32 bytes/);
    rmSync(file);
    writeFileSync(file, Buffer.alloc(32, 4), { mode: 0o644 });
    expect(() => readHostKey(file, stateDir, undefined)).toThrow(/chmod 600/);
  });
});

describe("taking secrets out of text", () => {
  test("in every form that programs print, wherever they stand", () => {
    const forms: ((value: string) => string)[] = [
      (value) => value,
      (value) => JSON.stringify({ password: value }),
      (value) => encodeURIComponent(value),
      (value) => `postgres://user:${encodeURIComponent(value)}@db/app`,
      (value) => new URLSearchParams({ password: value }).toString(),
      (value) => Buffer.from(value).toString("base64"),
      (value) => Buffer.from(value).toString("base64url"),
      (value) => Buffer.from(value).toString("hex"),
    ];
    const value = fc
      .string({ minLength: 8, maxLength: 60, unit: "grapheme-ascii" })
      .filter((text) => text.trim().length >= 8);
    fc.assert(
      fc.property(value, fc.nat(forms.length - 1), fc.string(), (secret, index, noise) => {
        const redactor = new Redactor();
        redactor.learn(["another secret value", secret]);
        const shown = forms[index]?.(secret) ?? "";
        const text = redactor.redact(`${noise} ${shown} ${noise}`);
        for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString("base64")])
          if (!noise.includes(form) && form.length >= 8) expect(text).not.toContain(form);
        expect(text).toContain("[REDACTED]");
      }),
      { numRuns: 500 },
    );
  });

  test("inside a longer base64 text, at each place", () => {
    const redactor = new Redactor();
    const secret = "correct horse battery staple";
    redactor.learn([secret]);
    for (const before of ["", "x", "xy", "user:"]) {
      const text = redactor.redact(`Authorization: Basic ${Buffer.from(`${before}${secret}!`).toString("base64")}`);
      expect(text).toContain("[REDACTED]");
      expect(Buffer.from(text.split(" ").at(-1) ?? "", "base64").toString()).not.toContain("battery");
    }
  });

  test("a line of a key in PEM alone", () => {
    const redactor = new Redactor();
    const lines = [
      "-----BEGIN KEY-----",
      "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF",
      "-----END KEY-----",
    ];
    redactor.learn([lines.join("\n")]);
    expect(redactor.redact(`cannot parse ${lines[1]}`)).toBe("cannot parse [REDACTED]");
  });

  test("what is too short to be told apart is left, and a text without any is the same text", () => {
    const redactor = new Redactor();
    redactor.learn(["abc", "a long secret value"]);
    expect(redactor.redact("abc and a long story")).toBe("abc and a long story");
  });

  test("a thousand secrets cost a line of 200 characters less than a millisecond", () => {
    const redactor = new Redactor();
    redactor.learn(Array.from({ length: 1_000 }, (_, index) => `secret-${index}-${"x".repeat(20)}`));
    const line = "the quick brown fox jumps over the lazy dog ".repeat(5).slice(0, 200);
    redactor.redact(line);
    const startedMs = readCpuMs();
    for (let count = 0; count < 100; count += 1) redactor.redact(line);
    expect((readCpuMs() - startedMs) / 100).toBeLessThan(1);
  });
});

describe("a bootstrap file", () => {
  test("is lines of NAME=value", () => {
    expect(parseBootstrap('# comment\nexport A=1\nB="two words"\n\nC=x=y\n')).toEqual({
      A: "1",
      B: "two words",
      C: "x=y",
    });
  });

  test("what is wrong is said without showing the line", () => {
    expect(() => parseBootstrap("A=1\ncanary")).toThrow(/line 2/);
    expect(() => parseBootstrap("A=1\ncanary")).not.toThrow(/canary/);
  });
});
