// Waiting for what must not keep the agent from ending: in a real process, which ends by itself only when no timer is left.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const MODULE = fileURLToPath(new URL("../../../agent/host/os/clock.ts", import.meta.url));
const MINUTE_MS = 60_000;

function runProgram(work: string, limitMs: number): string {
  const program = `
    const { systemClock, waitAtMost } = await import(${JSON.stringify(MODULE)});
    await waitAtMost(${work}, ${limitMs}, systemClock);
    console.log("waited");`;
  const words = ["--input-type=module", "--eval", program];
  // Ended by force it throws.
  return execFileSync(process.execPath, words, { encoding: "utf8", timeout: MINUTE_MS / 2 });
}

test("work that is done leaves no timer behind: the process ends at once", () => {
  expect(runProgram("Promise.resolve()", MINUTE_MS)).toBe("waited\n");
});

test("work that never ends is waited for no longer than that", () => {
  expect(runProgram("new Promise(() => undefined)", 10)).toBe("waited\n");
});
