// What a newcomer reads first when something is missing: it names what is in the way and what to do, and claims nothing that is not so.

import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { buildProgram } from "../../../agent/cli/frame/program.ts";
import { call } from "../../../agent/docker/call.ts";
import { openEngine } from "../../../agent/docker/engine.ts";
import { isRefused, mayExist } from "../../../agent/host/files/host-files.ts";
import { TestReport } from "../../builders/node/report.ts";

let directory: string;
beforeAll(() => (directory = mkdtempSync(join(tmpdir(), "orca-words-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the engine's socket", () => {
  test("one that this user may not use says which group to join", async () => {
    const refused = { syscall: "connect", code: "EACCES", address: "/var/run/docker.sock" };
    const asked = call("list containers", () => Promise.reject(Object.assign(new Error("connect EACCES"), refused)));
    await expect(asked).rejects.toThrow(
      /^list containers: this user may not use \/var\/run\/docker\.sock \(EACCES\): use sudo, or join the group docker/,
    );
  });

  test("one where nobody listens says how the engine is started", async () => {
    const engine = openEngine(join(directory, "no.sock"));
    await expect(engine.reader.listContainers()).rejects.toThrow(
      /no engine listens at .*no\.sock \(ENOENT\): start it \(systemctl start docker\)/,
    );
    engine.close();
  });

  test("the words of an engine that answers stay as they are", async () => {
    const answered = Object.assign(new Error("(HTTP code 500)"), { statusCode: 500, json: { message: "no space" } });
    await expect(call("create container", () => Promise.reject(answered))).rejects.toThrow(
      "create container: no space",
    );
  });
});

test("a file in a directory that may not be looked into is not called absent", () => {
  const closed = join(directory, "closed");
  mkdirSync(closed);
  writeFileSync(join(closed, "agent.toml"), "");
  expect([mayExist(join(closed, "agent.toml")), mayExist(join(closed, "other.toml"))]).toEqual([true, false]);
  expect(isRefused(Object.assign(new Error("x"), { code: "EACCES" }))).toBe(true);
  chmodSync(closed, 0o000);
  // Root may look into everything; anybody else is told that it may be there.
  const isRoot = process.getuid?.() === 0;
  expect(mayExist(join(closed, "other.toml"))).toBe(!isRoot);
});

test("before the first good reading nothing is said to be in force", async () => {
  const report = await new TestReport().start();
  const trouble = "read https://git.example.com: 401";
  report.turn({ views: [], state: "none", source: { revision: undefined, readMs: undefined, trouble } });
  const text = (await report.get("/")).body;
  expect(text).toContain(`the source was never read: ${trouble}; nothing is in force yet`);
  report.turn({ views: [], source: { trouble } });
  expect((await report.get("/")).body).toContain("what is in force stays in force");
  await report.dispose();
});

describe("scripts", () => {
  const place = (name: string): string => fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url));

  test.each(["bench", "prepare", "quickstart", "test"])("%s --help says what it does, and does nothing", (name) => {
    const text = execFileSync(place(name), ["--help"], { encoding: "utf8" });
    expect(text).toContain(`scripts/${name}`);
    expect(text).not.toMatch(/^\s+at /m);
  });

  test.each(["prepare", "quickstart", "test"])(
    "%s refuses an option that it has not, before it installs anything",
    (name) => {
      const { status, stderr } = spawnSync(place(name), ["--no-such-option"], { encoding: "utf8" });
      expect([status, stderr]).toEqual([2, expect.stringMatching(/^usage: scripts\//)]);
    },
  );

  test.each([["--rounds", "3", "--help"], ["-h"]])(
    "bench %s %s %s prints the options, and does nothing",
    (...words) => {
      const text = execFileSync(place("bench"), words, { encoding: "utf8" });
      expect(text).toMatch(/--only .*\n.*\n.*--rounds .*\n.*--json .*\n.*--smoke /);
    },
  );

  test("bench names the options that it has, in one line and without a stack", () => {
    const main = place("benchmarks/bench-main.ts");
    const { status, stderr } = spawnSync(process.execPath, [main, "--no-such-option"], { encoding: "utf8" });
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/^bench: .*--no-such-option.*\nusage: scripts\/bench .*\n$/),
    ]);
  });
});

/** The help of a command and of all below it, whole, as it is printed where no terminal says how wide it is. */
function listHelps(command: Command, name: string): (readonly [name: string, help: string])[] {
  let help = "";
  command.configureOutput({ writeOut: (text) => void (help += text), getOutHelpWidth: () => 80 }).outputHelp();
  return [[name, help], ...command.commands.flatMap((below) => listHelps(below, `${name} ${below.name()}`))];
}

test.each(listHelps(buildProgram(), "orca"))("%s --help fits 80 columns", (_name, help) => {
  expect(help).not.toBe("");
  expect(help.split("\n").filter((line) => line.length > 80)).toEqual([]);
});
