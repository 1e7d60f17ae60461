// What must not stay behind at a terminal is gone however a command ends: by itself, by a signal while a program runs, and by one
// while none does. Real processes and signals.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { afterAll, expect, test } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "orca-foreground-"));
const MODULE = pathToFileURL(join(import.meta.dirname, "../../../agent/host/os/foreground.ts")).href;
let count = 0;

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  output: string;
  isTidy: boolean;
}

/** Runs something over a copy, and sends a signal once it says that it is at work. */
async function runOver(act: string, signal?: NodeJS.Signals): Promise<Ended> {
  count += 1;
  const copy = join(directory, `copy-${count}`);
  const program = `
    import { rmSync, writeFileSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    import { tidyAfter } from ${JSON.stringify(MODULE)};
    const copy = ${JSON.stringify(copy)};
    const code = await tidyAfter(() => rmSync(copy, { force: true }), async (run) => {
      writeFileSync(copy, "secret");
      ${act}
    });
    console.log("answered", code);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let isSent = false;
  const take = (piece: Buffer): void => {
    output += piece.toString();
    if (isSent || signal === undefined || !output.includes("at work")) return;
    isSent = true;
    child.kill(signal);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output, isTidy: !existsSync(copy) };
}

const IDLE = 'console.log("at work"); await sleep(20_000);';
const PROGRAM =
  'return await run("sh", ["-c", "trap \\"exit 7\\" TERM HUP; echo at work; for i in 1 2 3 4 5 6; do sleep 0.1; done; exit 3"]);';

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "%s while no program runs: it ends, and nothing is left",
  async (signal) => {
    expect(await runOver(IDLE, signal)).toEqual({
      code: 128 + constants.signals[signal],
      output: "at work\n",
      isTidy: true,
    });
  },
);

test("Ctrl-C belongs to the program: it goes on, and its end is heard", async () => {
  expect(await runOver(PROGRAM, "SIGINT")).toEqual({ code: 0, output: "at work\nanswered 3\n", isTidy: true });
});

test.each(["SIGTERM", "SIGHUP"] as const)("%s ends the program first", async (signal) => {
  expect(await runOver(PROGRAM, signal)).toEqual({ code: 0, output: "at work\nanswered 7\n", isTidy: true });
});

test("a program that signals at once finds somebody who listens", async () => {
  const act = 'return await run("sh", ["-c", "kill -INT $PPID; exit 5"]);';
  const runs = await Promise.all(Array.from({ length: 12 }, () => runOver(act)));
  expect(runs).toEqual(runs.map(() => ({ code: 0, output: "answered 5\n", isTidy: true })));
});

test("a program that is not there, and a mistake: thrown, and nothing is left", async () => {
  const missing = await runOver('return await run("/no/such/editor", []);');
  expect(missing).toMatchObject({ code: 1, isTidy: true });
  expect(missing.output).toContain("/no/such/editor cannot be started: ENOENT");
  expect(await runOver('throw new Error("mistake");')).toMatchObject({ code: 1, isTidy: true });
});
