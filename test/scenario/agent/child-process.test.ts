// The short-lived process: however it ends, the agent hears of it, and nothing of it is left.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ChildSlots } from "../../../agent/host/os/child-slots.ts";
import { type ChildEnd, type ChildRun, runChild } from "../../../agent/host/os/child-process.ts";
import { PROGRAM } from "../../../scripts/lab/engine/started-program.ts";
import { buildPlatform } from "../../builders/git/git-node.ts";
import { GitServer } from "../../../scripts/lab/git/git-server.ts";
import { buildManifest } from "../../builders/node/manifest.ts";

const root = mkdtempSync(join(tmpdir(), "orca-child-"));
const program = join(root, "child.mjs");

const BEHAVIOURS = `
  import { writeSync } from "node:fs";
  const request = await new Promise((resolve) => process.stdin.once("data", resolve));
  switch (process.argv[2]) {
    case "answer": process.stdout.write("heard " + request, () => process.exit(0)); break;
    case "large": for (;;) writeSync(1, "x".repeat(60_000)); break;
    case "memory": { const kept = []; for (;;) { kept.push(Buffer.alloc(2 ** 22, 1)); await new Promise((go) => setTimeout(go, 5)); } }
    case "heap": { const kept = []; for (;;) kept.push("x".repeat(100) + kept.length); }
    case "fail": console.error("at line 1\\nthe last word"); process.exit(3); break;
    case "held": { const { spawn } = await import("node:child_process");
      spawn("sleep", ["60"], { detached: true, stdio: ["ignore", "inherit", "inherit"] }); setInterval(() => {}, 1_000); break; }
    case "hang": setInterval(() => {}, 1_000); break;
    case "priority": { const { getPriority } = await import("node:os"); const { readFileSync } = await import("node:fs");
      await new Promise((go) => setTimeout(go, 100));
      process.stdout.write(getPriority() + " " + readFileSync("/proc/self/oom_score_adj", "utf8"), () => process.exit(0)); }
  }
`;

beforeAll(() => writeFileSync(program, BEHAVIOURS));
afterAll(() => rmSync(root, { recursive: true }));

function run(command: string, parts: Partial<ChildRun> = {}): Promise<ChildEnd> {
  const limits = { deadlineMs: 30_000, answerLimitBytes: 1_000_000, memoryLimitBytes: 2 ** 30 };
  return runChild({ program, command, request: "ping", ...limits, signal: new AbortController().signal, ...parts });
}

test("answers what it was asked, as the first to go when memory or CPU is short", async () => {
  expect(await run("answer")).toEqual({ kind: "answered", answer: Buffer.from("heard ping\n") });
  expect(await run("priority")).toEqual({ kind: "answered", answer: Buffer.from("10 500\n") });
});

test("one that services wait for is not behind all that the host runs", async () => {
  const own = getPriority();
  expect(await run("priority", { isAwaited: true })).toEqual({
    kind: "answered",
    answer: Buffer.from(`${own} 500\n`),
  });
});

test.each<[string, Partial<ChildRun>, Partial<ChildEnd>]>([
  ["large", {}, { reason: "its answer is larger than 977 KiB", tooLarge: true }],
  ["memory", { memoryLimitBytes: 2 ** 27 }, { reason: "it took more than 128 MiB of memory", tooLarge: true }],
  ["heap", {}, { reason: expect.stringContaining("it ran out of memory") as string, tooLarge: false }],
  ["fail", {}, { reason: "it ended with 3: the last word", tooLarge: false }],
  ["hang", { deadlineMs: 300 }, { reason: "it took longer than 0.3 s", tooLarge: false }],
  ["held", { deadlineMs: 2_000 }, { reason: "it took longer than 2 s, and has not ended since", tooLarge: false }],
])("%s is told by its reason", async (command, parts, end) => {
  expect(await run(command, parts)).toEqual({ kind: "failed", ...end });
});

test("an agent that ends takes it along, also before it has begun", async () => {
  const ending = new AbortController();
  const running = run("hang", { signal: ending.signal });
  ending.abort();
  const ended = { kind: "failed", reason: "the agent ends", tooLarge: false };
  expect(await running).toEqual(ended);
  expect(await run("hang", { signal: ending.signal })).toEqual(ended);
});

test("on a small host one waits for the other, and its deadline begins when it does", async () => {
  const slots = new ChildSlots(1);
  const limits = { deadlineMs: 1_500, answerLimitBytes: 1_000, memoryLimitBytes: 2 ** 30 };
  const ask = (command: string, signal = new AbortController().signal): Promise<ChildEnd> =>
    runChild({ program, command, request: "ping", ...limits, signal }, slots);
  const order: string[] = [];
  const note = async (name: string, end: Promise<ChildEnd>): Promise<ChildEnd> => {
    const ended = await end;
    order.push(name);
    return ended;
  };
  const gone = new AbortController();
  const first = note("first", ask("hang"));
  const second = note("second", ask("hang"));
  const waiting = note("gone", ask("answer", gone.signal));
  const third = note("third", ask("answer"));
  setTimeout(() => gone.abort(), 300);
  expect(await waiting).toEqual({ kind: "failed", reason: "the agent ends", tooLarge: false });
  expect(await third).toMatchObject({ kind: "answered" });
  expect([await first, await second].map((end) => end.kind)).toEqual(["failed", "failed"]);
  expect(order).toEqual(["gone", "first", "second", "third"]);
});

test("a program that is not there is told", async () => {
  expect(await run("answer", { program: join(root, "none.mjs") })).toMatchObject({ kind: "failed", tooLarge: false });
});

test("the one that fetches ends when the agent is gone, in the middle of a request too", async () => {
  const server = await new GitServer().start();
  const tip = server.repository.commit({ files: buildPlatform({ a: buildManifest() }) });
  server.fault = { kind: "pack-hang" };
  const child = spawn(process.execPath, [PROGRAM, "git-fetch"], { stdio: ["pipe", "ignore", "ignore"] });
  const place = { path: "orca", node: "vm1", directory: join(root, "state"), tip };
  const request = { location: { url: server.url, branch: "main" }, ...place, deadlineMs: 60_000, limitBytes: 1e7 };
  child.stdin.write(`${JSON.stringify(request)}\n`);
  while (server.count("pack") === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  child.stdin.end();
  expect(await once(child, "exit")).toEqual([1, null]);
  await server.dispose();
});
